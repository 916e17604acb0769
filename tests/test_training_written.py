"""Hand-written questions to train on: every query runs, new clothes change no answer, and none is one of the book's."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from askguru_lib.data.synthesis import normalize_question
from askguru_lib.data.trees import parse, render
from askguru_lib.databases.samples import NAMES, bank
from askguru_lib.errors import DataError
from askguru_lib.training import written
from askguru_lib.training.corpus import PaperDatabase
from askguru_lib.training.curriculum import CURRICULUM, BaseRecipe, stream
from askguru_lib.training.written import (
    Names,
    new_names,
    other_values,
    read_written,
    reworked,
    written_databases,
    written_document,
)

ROOT = Path(__file__).parent.parent
DATABASES = written_databases()
each_database = pytest.mark.parametrize("database", DATABASES, ids=lambda d: d.schema.db_id)


def rows_of(paper: PaperDatabase, sql: str) -> list[tuple]:
    """In one order, without the last digits of a sum, which depend on the order in which rows were read."""
    rows = paper.connection.execute(sql).fetchall()
    return sorted((tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in row) for row in rows), key=repr)


@each_database
def test_queries_run_and_questions_differ(database):
    paper = PaperDatabase(database.schema, database.rows)
    assert not paper.connection.execute("PRAGMA foreign_key_check").fetchall()
    found = sum(bool(rows_of(paper, pair.sql)) for pair in database.pairs)
    assert found >= 0.85 * len(database.pairs), "too many queries that find nothing"
    said = Counter(normalize_question(q) for pair in database.pairs for q in pair.questions)
    assert said.most_common(1)[0][1] == 1
    assert all(parse(pair.sql, "sqlite") for pair in database.pairs)


@each_database
@pytest.mark.parametrize("seed", range(6))
def test_other_names_and_fewer_columns_change_no_answer(database, seed, monkeypatch):
    monkeypatch.setattr(written, "SWAPPED", 0.0)
    monkeypatch.setattr(written, "KEPT", 0.2)
    monkeypatch.setattr(written, "BESIDE", 0.0)
    monkeypatch.setattr(written, "WISHES", 0.0)
    before = PaperDatabase(database.schema, database.rows)
    known = {question: pair.sql for pair in database.pairs for question in pair.questions}
    schema, rows, pairs = reworked(database, random.Random(seed), 12)
    after = PaperDatabase(schema, rows)
    assert len(pairs) == 12
    for pair, sql in pairs:
        if "SELECT *" not in sql:  # the columns have another order
            assert rows_of(after, sql) == rows_of(before, known[pair.question]), sql


@each_database
def test_other_values_still_make_queries(database):
    for seed in range(6):
        schema, rows, pairs = reworked(database, random.Random(seed), 12)
        paper = PaperDatabase(schema, rows)
        for _, sql in pairs:
            rows_of(paper, sql)


def test_values_change_alike_in_words_and_query():
    database = DATABASES[0]
    table, column, field = next(
        (t, c, f) for t, c, f in database.schema.columns() if len(f["examples"]) > 6 and "VARCHAR" in f["type"]
    )
    value = field["examples"][0]
    tree = parse(
        f'SELECT COUNT(*) FROM "{table}" WHERE "{column}" = \'{value.replace(chr(39), chr(39) * 2)}\'', "sqlite"
    )
    changed = 0
    for seed in range(20):
        new, question, _ = other_values(tree, f"How many for {value} there?", "", database.schema, random.Random(seed))
        said = question.removeprefix("How many for ").removesuffix(" there?")
        assert said in field["examples"]
        assert f"'{said.replace(chr(39), chr(39) * 2)}'" in new.sql("sqlite")
        changed += said != value
    assert 4 < changed < 16


def test_a_year_changes_in_question_evidence_and_query_or_nowhere():
    schema = DATABASES[0].schema
    tree = parse("SELECT COUNT(*) FROM t WHERE strftime('%Y', day) = '2023' AND other < '2023-05-01'", "sqlite")
    years = set()
    for seed in range(20):
        new, question, evidence = other_values(
            tree, "How many in 2023?", "2023 ends in May", schema, random.Random(seed)
        )
        told = re.findall(r"20\d\d", f"{question} {evidence} {new.sql('sqlite')}")
        assert len(told) == 4
        assert len(set(told)) == 1
        years |= set(told)
    assert len(years) > 2
    tree = parse("SELECT COUNT(*) FROM t WHERE a >= '2023-01-01' AND a < '2024-01-01'", "sqlite")
    for seed in range(20):  # a year that only the query says cannot be shifted alone
        assert other_values(tree, "How many in 2023?", "", schema, random.Random(seed))[1] == "How many in 2023?"


def test_a_list_of_what_is_there_leaves_out_nulls():
    database = next(d for d in DATABASES if d.schema.db_id == "amusementpark")
    tree = parse("SELECT ride_name FROM ride WHERE ride_id NOT IN (SELECT ride_id FROM inspection)", "sqlite")
    written._leave_out_nulls(tree, database.schema)
    assert "NOT IN (SELECT ride_id FROM inspection WHERE ride_id IS NOT NULL)" in render(tree)
    before = render(tree)
    written._leave_out_nulls(tree, database.schema)
    assert render(tree) == before
    other = parse(
        "SELECT ride_name FROM ride WHERE ride_id NOT IN (SELECT ride_id FROM inspection WHERE note IS NULL)", "sqlite"
    )
    written._leave_out_nulls(other, database.schema)
    assert "WHERE note IS NULL AND ride_id IS NOT NULL" in render(other)
    key = parse("SELECT ride_name FROM ride WHERE ride_id NOT IN (SELECT ride_id FROM ride_operator)", "sqlite")
    written._leave_out_nulls(key, database.schema)
    assert "NULL" not in render(key)


def test_what_only_looks_like_a_value_or_a_year_stays():
    database = next(d for d in DATABASES if d.schema.db_id == "zoo")
    tree = parse("SELECT COUNT(*) FROM animals WHERE sex = 'F' AND id < 12023 AND born_on < '2023-05-01'", "sqlite")
    for seed in range(20):
        new, question, _ = other_values(tree, "F is here. Born before May 2023, below 12023?", "", database.schema,
                                        random.Random(seed))  # fmt: skip
        assert "sex = 'F'" in new.sql("sqlite")
        assert question.startswith("F is here.")
        number = re.search(r"below (\d+)", question)[1]
        assert f"id < {number} " in new.sql("sqlite")
        assert number == "12023" or len(number) == 5


def test_a_unit_or_what_the_evidence_says_stays():
    tree = parse("SELECT a FROM t WHERE b > 1234 AND c * 100 / 365 > 56", "sqlite")
    said = set()
    for seed in range(30):
        _, question, _ = other_values(tree, "Over 1234, and 56 of 100 in 365 days?", "56 is much", DATABASES[0].schema,
                                      random.Random(seed))  # fmt: skip
        said.add(question)
    assert any("1234" not in question for question in said)
    assert all("56 of 100 in 365 days?" in question for question in said)


def test_an_evidence_gets_the_new_names_where_it_has_the_old_ones():
    names = Names({"orders": "ORD"}, {"paid_on": "PD", "status": "ST", "unitPrice": "UP"})
    assert names.in_text("open orders: paid_on IS NULL") == "open orders: PD IS NULL"
    assert names.in_text("Status of orders means status = 'X'; show the status") == (
        "Status of orders means ST = 'X'; show the status"
    )
    assert names.in_text("worth is unitPrice * quantity") == "worth is UP * quantity"


@each_database
def test_names_stay_apart(database):
    for seed in range(20):
        names = new_names(database, random.Random(seed))
        for renamed in (names.tables, names.columns):
            assert len({n.lower() for n in renamed.values()}) == len(renamed)


def test_none_is_a_question_or_a_database_of_the_book():
    assert not {d.schema.db_id for d in DATABASES} & set(NAMES)
    asked = {normalize_question(item["question"]) for name in NAMES for item in bank(name)}
    phrasings = json.loads((ROOT / "benchmarks/phrasings.json").read_text(encoding="utf-8"))
    asked |= {normalize_question(item["question"]) for item in phrasings}
    said = {normalize_question(q) for d in DATABASES for pair in d.pairs for q in pair.questions}
    assert not asked & said


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda record: record.pop("tables"), "the top"),
        (lambda record: record["tables"][0].pop("rows"), "table "),
        (lambda record: record["tables"][0]["rows"][0].clear(), "table "),
        (lambda record: record["pairs"][2].pop("SQL"), "pair 2"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(change, place):
    file = next(iter((resources.files("askguru_lib.training") / "questions").iterdir()))
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    with pytest.raises(DataError, match=f"some.json, {place}"):
        read_written("some.json", json.dumps(record))


def test_documents_fit_and_come_again():
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/askguru-tiny")
    sizes = set()
    for seed in range(8):
        one, again = (written_document(tokenizer, random.Random(seed), max_tokens=2200) for _ in range(2))
        assert (one.ids == again.ids).all()
        assert len(one.ids) <= 2200
        assert written.FEWEST <= one.segments.max() <= 12
        sizes.add(int(one.segments.max()))
    assert len(sizes) > 2, "a document that is too long loses questions and is not drawn again"
    assert written_document(tokenizer, random.Random(1), questions=2).segments.max() <= 2
    text = tokenizer.decode(one.ids)
    assert text.count("[/INST]") == one.segments.max()
    assert "【Links】" in text


def test_their_share_of_the_documents(monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/askguru-tiny")
    made = []
    monkeypatch.setattr("askguru_lib.training.curriculum.written_document", lambda *_, **__: made.append(1))
    monkeypatch.setattr("askguru_lib.training.curriculum.random_document", lambda *_, **__: None)
    for step in range(400):
        stream(BaseRecipe(start="a model"), tokenizer, step, 0)
    assert abs(len(made) / 400 - CURRICULUM[-1].written) < 0.08
