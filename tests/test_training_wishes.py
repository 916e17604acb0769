"""One more wish to a written question: the query runs, does no less than before, and says what the words say."""

from __future__ import annotations

import random

import pytest
from sqlglot import exp

from askguru_lib.data.trees import conjuncts, is_plain, parse, render
from askguru_lib.training.corpus import PaperDatabase
from askguru_lib.training.wishes import HIGHEST, LOWEST, with_a_wish
from askguru_lib.training.written import written_databases

DATABASES = written_databases()
each_database = pytest.mark.parametrize("database", DATABASES, ids=lambda d: d.schema.db_id)


def wished(database, seed):
    rng = random.Random(seed)
    for pair in database.pairs[::2]:
        tree = parse(pair.sql, "sqlite")
        asked = (tree, pair.questions[0], pair.evidence)
        more = with_a_wish(*asked, database.schema, database.rows, rng)
        assert tree.sql() == parse(pair.sql, "sqlite").sql(), "what was given is left as it was"
        if more[1:] != asked[1:]:
            yield (*asked, *more)
        else:
            assert more[0].sql() == tree.sql()


@each_database
def test_a_wish_is_in_the_words_and_in_the_query(database):
    paper = PaperDatabase(database.schema, database.rows).connection
    many = list(wished(database, 1))
    assert len(many) > 0.12 * len(database.pairs)
    for old, question, evidence, new, now, noted in many:
        assert new.sql() != old.sql()
        assert question in now
        assert evidence.rstrip(".").lower() in noted.lower()
        before, after = (paper.execute(render(tree)).fetchall() for tree in (old, new))
        narrower = len(conjuncts(new.args["where"].this)) if new.args.get("where") else 0
        if is_plain(old) and is_plain(new) and narrower and len(old.expressions) == len(new.expressions):
            assert set(map(repr, after)) <= set(map(repr, before)), render(new)
        if len(new.expressions) > len(old.expressions):
            assert sorted(repr(row[: len(old.expressions)]) for row in after) == sorted(map(repr, before))
            column = new.expressions[-1].name
            assert old.find(exp.Column) is None or column not in [c.name for c in old.expressions]
        if "ORDER BY" in render(new) and "ORDER BY" not in render(old):
            assert sorted(map(repr, after)) == sorted(map(repr, before))
            values = [row[-1] for row in after if row[-1] is not None]
            said = f"{now} {noted}".lower()
            assert any(word.lower().rstrip(".") in said for word in (*HIGHEST, *LOWEST))
            assert values == sorted(values, reverse=" DESC" in render(new))


@each_database
def test_a_made_up_word_is_explained_and_no_value_is_lost(database):
    for old, _, _, new, now, noted in wished(database, 2):
        added = (
            [c for c in conjuncts(new.args["where"].this) if c.sql() not in old.sql()] if new.args.get("where") else []
        )
        if added and len(new.expressions) == len(old.expressions):
            (condition,) = added[-1:]
            told = render(condition).replace("<>", "=")
            value = condition.find(exp.Literal)
            column = condition.find(exp.Column).name
            comments = [f["comment"] for _, c, f in database.schema.columns() if c == column]
            by_name = value is not None and value.is_string and value.name.lower() in now.lower()
            by_comment = value is not None and any(f"{value.name} = " in comment for comment in comments)
            assert told in noted or by_name or by_comment, (now, noted, told)
            if "<>" in render(condition):
                table = next(t for t, c, _ in database.schema.columns() if c == column)
                place = list(database.schema.tables[table]["fields"]).index(column)
                assert all(row[place] is not None for row in database.rows[table])


def test_queries_with_parts_stay_as_they_are():
    database = DATABASES[0]
    for sql in (
        "SELECT COUNT(*) FROM a WHERE x > (SELECT AVG(x) FROM a)",
        "WITH c AS (SELECT 1 AS x) SELECT x FROM c",
        "SELECT x FROM a UNION SELECT y FROM b",
        "SELECT a.x, COUNT(b.y) FROM a LEFT JOIN b ON a.x = b.y GROUP BY a.x",
        "SELECT one.x FROM a AS one JOIN a AS two ON one.x = two.y",
        "SELECT x, RANK() OVER (ORDER BY x) FROM a",
    ):
        tree = parse(sql, "sqlite")
        assert with_a_wish(tree, "q", "", database.schema, database.rows, random.Random(1)) == (tree, "q", "")
