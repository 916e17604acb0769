"""One more wish to a written question: the query runs, does no less than before, and says what the words say."""

from __future__ import annotations

import random
import re

import pytest
from sqlglot import exp

from askguru_lib.data.trees import conjuncts, is_plain, parse, render
from askguru_lib.training import written
from askguru_lib.training.corpus import PaperDatabase
from askguru_lib.training.wishes import HIGHEST, LOWEST, _order, _said, with_a_wish
from askguru_lib.training.written import reworked, written_databases

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
    assert len(many) > 0.1 * len(database.pairs)
    for old, question, evidence, new, now, noted in many:
        assert question in now
        assert evidence.rstrip(".").lower() in noted.lower()
        said, wanted = f"{now} {noted}".lower(), len(old.expressions)
        before, after = (paper.execute(render(tree)).fetchall() for tree in (old, new))
        tests, more = ([] if (w := tree.args.get("where")) is None else conjuncts(w.this) for tree in (old, new))
        if len(new.expressions) > wanted:
            assert sorted(repr(row[:wanted]) for row in after) == sorted(map(repr, before))
            added = new.expressions[-1].name
            fields = [f for t, c, f in database.schema.columns() if c == added]
            assert any((name := _said(added, field)) and name.lower() in said for field in fields)
        elif "ORDER BY" in render(new) and "ORDER BY" not in render(old):
            assert sorted(map(repr, after)) == sorted(map(repr, before))
            values = [row[-1] for row in after if row[-1] is not None]
            assert values == sorted(values, reverse=" DESC" in render(new))
            assert any(words.lower().rstrip(".") in said for words in (HIGHEST if " DESC" in render(new) else LOWEST))
        else:
            assert len(more) == (
                1 if not tests else 2 if isinstance(old.args["where"].this, exp.Or) else len(tests) + 1
            )
            if is_plain(old):
                assert set(map(repr, after)) <= set(map(repr, before)), render(new)


@each_database
def test_a_made_up_word_is_explained_and_no_row_without_a_value_is_lost(database):
    explained = 0
    for old, _, _, new, now, noted in wished(database, 2):
        if len(new.expressions) > len(old.expressions) or new.args.get("order") != old.args.get("order"):
            continue
        condition = conjuncts(new.args["where"].this)[-1]
        reference, value = condition.find(exp.Column), condition.find(exp.Literal)
        table = reference.table or new.args["from_"].this.name
        field = database.schema.tables[table]["fields"][reference.name]
        if render(condition).replace("<>", "=") in noted:
            explained += 1
        else:
            meaning = re.search(rf"(?<!\w){re.escape(value.name)} = ([^,;()]*?)(?:[,;)]|$| or )", field["comment"])
            known = {value.name.lower(), *([meaning[1].strip().lower()] if meaning else [])}
            assert any(word in now.lower() for word in known), (now, noted, render(condition))
        if isinstance(condition, exp.NEQ):
            place = list(database.schema.tables[table]["fields"]).index(reference.name)
            assert all(row[place] is not None for row in database.rows[table])
    assert explained


def test_what_a_wish_says_comes_under_the_new_names(monkeypatch):
    monkeypatch.setattr(written, "WISHES", 1.0)
    monkeypatch.setattr(written, "KEPT", 0.0)
    said = 0
    for seed, database in enumerate(DATABASES):
        schema, _, pairs = reworked(database, random.Random(seed), 12)
        columns = {c for _, c, _ in schema.columns()}
        olds = {t for t in database.schema.tables if t not in schema.tables}
        olds |= {c for _, c, _ in database.schema.columns() if c not in columns}
        for pair, _ in pairs:
            for name in re.findall(
                r"(?<![\w.'])\"?(\w+)\"?(?:\.\"?\w| (?:=|<|>|<=|>=|IS) (?!\w+ \w+ \w))", pair.evidence
            ):
                said += 1
                assert name not in olds or name in written_words(database, name), (pair.evidence, name)
    assert said > 200


def written_words(database, name):
    """The name, if an evidence has it as it was written, where it may be a word like any other."""
    return {name} if any(re.search(rf"(?<!\w){name}(?!\w)", p.evidence) for p in database.pairs) else set()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT kind, COUNT(*), SUM(x) FROM t GROUP BY kind", "how many, and what sum"),
        ("SELECT kind, MAX(day) FROM t GROUP BY kind", "last day of each kind"),
        ("SELECT kind, COUNT(*) FROM t GROUP BY kind", "kinds in alphabetical order, with their number"),
    ],
)
def test_an_order_is_asked_for_only_where_one_measure_has_none(sql, said):
    tree = parse(sql, "sqlite")
    assert all(_order(tree.copy(), said, "", random.Random(seed)) is None for seed in range(10))
    assert _order(parse("SELECT kind, COUNT(*) FROM t GROUP BY kind", "sqlite"), "kinds", "", random.Random(1))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [("is_open", "INTEGER", None), ("opened_on", "DATE", None), ("rented", "BOOLEAN", None),
     ("valid_from", "DATE", None), ("order", "INTEGER", None), ("monthly_rent", "REAL", "monthly rent"),
     ("KZ", "TEXT", None)],
)  # fmt: skip
def test_what_is_no_noun_is_not_asked_for_as_one(name, kind, said):
    assert _said(name, {"type": kind, "comment": ""}) == said


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
