import datetime as dt
import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal

import pytest
import sqlalchemy as sa
import sqlglot
from faker import Faker

from askguru_lib.data.synthesis import synthesize
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.samples import building, server
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.errors import DatabaseError

every_database = pytest.mark.parametrize("name", samples.NAMES)

HASHES = {
    "plant": "5daa4b7ee92ea1e4684e5919dfdfa14454bdebfd25aea1bda89f858eb6691793",
    "claims": "89e457e9265b224c2a84bb4768f1e0edb78a280c8a6adfe3c80b0baf84668e9d",
}
"""Content of the target databases; a new value means that every figure of the book moves."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("databases")
    samples.build_all(path)
    return path


def connect(folder, name):
    return closing(sqlite3.connect(f"{(folder / f'{name}.sqlite').as_uri()}?mode=ro", uri=True))


def normal(sql):
    return sqlglot.parse_one(sql, read="sqlite").sql("sqlite", normalize=True)


def cut_keys(connection, sql):
    """The sort keys of the last row that the outermost LIMIT keeps and of the first that it drops."""
    tree = sqlglot.parse_one(sql, read="sqlite")
    order, limit, offset = (tree.args.get(part) for part in ("order", "limit", "offset"))
    if not limit or not order:
        return None
    aliases = {e.alias: e.this for e in tree.expressions if e.alias}
    keys = [
        aliases.get(o.this.name, o.this) if isinstance(o.this, sqlglot.exp.Column) else o.this
        for o in order.expressions
    ]
    last = int(limit.expression.name) + (int(offset.expression.name) if offset else 0)
    distinct = tree.args.get("distinct") is not None
    tree.set("limit", None)
    tree.set("offset", None)
    if not distinct:
        tree.set("expressions", [key.copy() for key in keys])
    rows = connection.execute(tree.sql("sqlite")).fetchall()
    return rows[last - 1], rows[last] if len(rows) > last else None


@every_database
def test_two_builds_have_the_same_content(name, folder, tmp_path):
    again = samples.build(name, tmp_path)
    assert samples.content_hash(again) == samples.content_hash(folder / f"{name}.sqlite")


@pytest.mark.parametrize("name", HASHES)
def test_content_is_the_one_the_book_was_made_with(name, folder):
    assert samples.content_hash(folder / f"{name}.sqlite") == HASHES[name]


def test_chance_comes_from_the_seed_alone(folder):
    rows = []
    for _ in range(2):
        fake = Faker("en_US")
        fake.seed_instance(1)
        rows.append(list(samples.definition("claims").populate(random.Random(1), fake)))
    assert rows[0] == rows[1]


@every_database
def test_schema_is_small_and_rows_are_realistic_in_number(name, folder):
    tables = samples.definition(name).metadata.tables.values()
    assert 5 <= len(tables) <= 10
    assert sum(len(t.columns) for t in tables) <= 36
    with connect(folder, name) as db:
        rows = [db.execute(f'SELECT COUNT(*) FROM "{t.name}"').fetchone()[0] for t in tables]
        assert 500 <= sum(rows) <= 20_000
        assert all(rows)


@every_database
def test_foreign_keys_hold_and_connect_every_table(name, folder):
    metadata = samples.definition(name).metadata
    with connect(folder, name) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    linked = {t.name for t in metadata.sorted_tables if t.foreign_keys}
    linked |= {key.column.table.name for t in metadata.sorted_tables for key in t.foreign_keys}
    assert linked == set(metadata.tables)


@every_database
def test_dates_stay_inside_the_period_of_the_data(name, folder):
    with connect(folder, name) as db:
        for table in samples.definition(name).metadata.sorted_tables:
            for column in (c.name for c in table.columns if isinstance(c.type, sa.Date)):
                broken = f'SUM("{column}" IS NOT NULL AND date("{column}") IS NOT "{column}")'
                query = f'SELECT MAX("{column}"), {broken} FROM "{table.name}"'
                latest, malformed = db.execute(query).fetchone()
                assert latest < "2026", (table.name, column)
                assert not malformed


@every_database
def test_comments_lie_beside_the_file(name, folder):
    comments = json.loads((folder / f"{name}.comments.json").read_text(encoding="utf-8"))
    metadata = samples.definition(name).metadata
    columns = {f"{t.name}.{c.name}" for t in metadata.sorted_tables for c in t.columns}
    assert set(comments["tables"]) <= set(metadata.tables)
    assert set(comments["columns"]) <= columns
    assert len(comments["columns"]) > len(columns) / 2
    assert len(comments["columns"]) < len(columns), "a practitioner's database is never fully documented"


@every_database
def test_every_gold_returns_the_same_rows_whatever_the_scan_order(name, folder):
    with connect(folder, name) as db:
        for entry in samples.bank(name) + samples.training_bank(name):
            answers = []
            for flag in ("OFF", "ON"):
                db.execute(f"PRAGMA reverse_unordered_selects = {flag}")
                answers.append(
                    Counter(
                        tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in row)
                        for row in db.execute(entry["SQL"])
                    )
                )
            assert answers[0], entry["question"]
            assert answers[0] == answers[1], entry["question"]
            assert any(v is not None for row in answers[0] for v in row), entry["question"]


@every_database
def test_no_limit_cuts_through_a_tie(name, folder):
    with connect(folder, name) as db:
        for entry in samples.bank(name) + samples.training_bank(name):
            if keys := cut_keys(db, entry["SQL"]):
                assert keys[0] != keys[1], entry["question"]


@every_database
def test_bank_is_in_the_raw_format_without_repeats(name):
    bank = samples.bank(name)
    assert len(bank) >= 44
    for entry in bank:
        assert list(entry) == ["db_id", "question", "evidence", "SQL", "difficulty"]
        assert entry["db_id"] == name
        assert not entry["SQL"].rstrip().endswith(";")
    assert len({" ".join(e["question"].lower().split()).rstrip("?.") for e in bank}) == len(bank)
    assert len({normal(e["SQL"]) for e in bank}) == len(bank)


@every_database
def test_training_bank_asks_for_each_query_in_several_ways(name):
    bank = samples.training_bank(name)
    assert bool(bank) == (name in ("plant", "claims"))
    for entry in bank:
        assert list(entry) == ["db_id", "question", "evidence", "SQL", "difficulty"]
        assert entry["db_id"] == name
    assert len({" ".join(e["question"].lower().split()).rstrip("?.") for e in bank}) == len(bank)
    assert all(ways >= 2 for ways in Counter(e["SQL"] for e in bank).values())
    other = {normal(e["SQL"]) for e in samples.bank(name)}
    assert sum(normal(e["SQL"]) in other for e in bank) <= len(bank) / 10, "written after the same questions"


def test_there_are_as_many_questions_as_promised():
    assert sum(len(samples.bank(name)) for name in samples.NAMES) >= 600


@every_database
def test_difficulties_are_mixed(name):
    counts = Counter(e["difficulty"] for e in samples.bank(name))
    total = sum(counts.values())
    assert set(counts) == {"simple", "moderate", "challenging"}
    assert 0.2 <= counts["simple"] / total <= 0.45
    assert 0.35 <= counts["moderate"] / total <= 0.6
    assert 0.1 <= counts["challenging"] / total <= 0.3


@every_database
def test_gold_names_whole_tables_and_qualifies_columns_of_joins(name):
    tables = samples.definition(name).metadata.tables
    asked = samples.bank(name)
    for entry in asked + samples.training_bank(name):
        for select in sqlglot.parse_one(entry["SQL"], read="sqlite").find_all(sqlglot.exp.Select):
            read = [source.this for source in (select.args["from_"], *(select.args.get("joins") or ()))]
            # To learn from, a table that is read twice may be given two names of its own.
            twice = [t.name for t in read] if entry not in asked else []
            assert not any(t.alias for t in read if t.name in tables and twice.count(t.name) < 2), entry["SQL"]
            if len(read) > 1:
                inner = [
                    c for c in select.find_all(sqlglot.exp.Column) if c.find_ancestor(sqlglot.exp.Select) is select
                ]
                assert all(c.table for c in inner), entry["SQL"]


def outline(engine, name):
    """What must be the same on every engine: names, comments, keys, nullability; types have other names."""
    schema = SchemaEngine(engine, name).mschema
    tables = {
        table: (
            info["comment"],
            {c: (f["comment"], f["primary_key"], f["nullable"], f["category"]) for c, f in info["fields"].items()},
        )
        for table, info in schema.tables.items()
    }
    return tables, sorted(schema.foreign_keys, key=repr)


def plain(rows):
    """Rows as a bag; dates as text, as SQLite keeps them."""
    return Counter(
        tuple(v.isoformat(" ") if isinstance(v, dt.datetime) else v.isoformat() if isinstance(v, dt.date)
              else float(v) if isinstance(v, Decimal) else v for v in row)
        for row in rows
    )  # fmt: skip


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def others(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    connections = load_connections(samples.build_all(path, engine=request.param))
    yield connections
    connections.dispose()
    samples.stop(path / "postgresql")


@pytest.mark.slow
@every_database
def test_one_definition_builds_on_every_engine(name, folder, others):
    lite = load_connections(folder / "db_conn.json").engine(name)
    other = others.engine(name)
    assert outline(other, name) == outline(lite, name)
    for table in samples.definition(name).metadata.sorted_tables:
        query = sa.select(*(sa.column(c.name) for c in table.columns)).select_from(sa.table(table.name))
        with lite.connect() as a, other.connect() as b:
            assert plain(a.execute(query)) == plain(b.execute(query))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plant", "retail", "airline"])
def test_what_the_grammar_writes_runs_on_every_engine(name, others):
    about = SchemaEngine(others.engine(name), name, max_examples=20)
    dialect = {"duckdb": "duckdb", "postgresql": "postgresql"}[others.engine(name).dialect.name]
    pairs = synthesize(about.mschema, 150, seed=5, meanings=about.meanings, dialect=dialect)
    with Executor(others, workers=1) as executor:
        results = executor.run_many([(name, p["SQL"]) for p in pairs])
    assert [(p["SQL"], r.failure) for p, r in zip(pairs, results, strict=True) if r.failure] == []
    assert any("TO_CHAR" in p["SQL"] or "STRFTIME" in p["SQL"] for p in pairs)


@pytest.mark.slow
def test_meanings_of_codes_are_there_on_every_engine(others):
    found = SchemaEngine(others.engine("plant"), "plant")
    assert found.meanings == samples.definition("plant").meanings
    assert found.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_what_is_up_to_date_is_not_built_again(engine, tmp_path, monkeypatch):
    samples.build_all(tmp_path, ("library",), engine)
    monkeypatch.setattr(building, "load", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(server, "load", lambda *_: pytest.fail("built again"))
    samples.build_all(tmp_path, ("library",), engine)
    samples.stop(tmp_path / "postgresql")


@every_database
def test_codes_that_have_a_meaning_stand_in_the_data(name, folder):
    with connect(folder, name) as db:
        for place, meanings in samples.definition(name).meanings.items():
            table, column = place.split(".", 1)
            query = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'
            assert set(meanings) <= {str(row[0]) for row in db.execute(query)}, place


def test_an_up_to_date_file_is_left_alone_and_force_builds_again(tmp_path):
    path = samples.build("library", tmp_path)
    before = path.stat().st_ino, path.stat().st_mtime_ns
    assert samples.build("library", tmp_path) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    samples.build("library", tmp_path, force=True)
    assert path.stat().st_mtime_ns != before[1]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to look like one" * 20])
def test_a_damaged_file_is_built_again(damage, tmp_path):
    path = samples.build("library", tmp_path)
    right = samples.content_hash(path)
    path.write_bytes(damage)
    assert samples.content_hash(samples.build("library", tmp_path)) == right


def test_build_all_writes_a_connection_file_with_relative_paths(folder):
    connection = json.loads((folder / "db_conn.json").read_text())
    assert connection == {"dialect": "sqlite", "databases": {n: f"{n}.sqlite" for n in samples.NAMES}}
    assert not list(folder.glob(".*.part"))


def test_unknown_names_and_engines_are_errors_that_help(tmp_path):
    with pytest.raises(DatabaseError, match="did you mean 'claims'"):
        samples.build("claim", tmp_path)
    with pytest.raises(DatabaseError, match="build_all"):
        samples.build("claims", tmp_path, engine="postgresql")
    assert not list(tmp_path.iterdir())


def test_a_failed_build_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building, "load", full)
    with pytest.raises(DatabaseError, match="No space left"):
        samples.build("library", tmp_path)
    assert not list(tmp_path.iterdir())
