import json
import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from askguru_lib.databases import samples
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.schema_engine import SAMPLE_ROWS, SchemaEngine
from askguru_lib.errors import DatabaseError, DataError

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, phone TEXT, contact TEXT, site TEXT,
    note TEXT, photo BLOB, born DATE, tier VARCHAR(10) DEFAULT 'basic', password TEXT);
CREATE TABLE "order lines" (order_id INTEGER, line_no INTEGER, "unit price" NUMERIC(10, 2), customer INTEGER
    REFERENCES Customers(ID), PRIMARY KEY (order_id, line_no));
CREATE TABLE returns (id INTEGER PRIMARY KEY, order_id INTEGER, line_no INTEGER, why TEXT,
    FOREIGN KEY (order_id, line_no) REFERENCES "order lines" (order_id, line_no));
CREATE VIEW spending AS SELECT customer, SUM("unit price") AS total FROM "order lines" GROUP BY customer;
"""
CUSTOMERS = [
    (
        1,
        "Ada",
        "ada@x.org",
        "555-0101",
        "call 030 / 123 45 67",
        "www.ada.org",
        "n" * 60,
        b"\x00",
        "1990/05/01",
        "gold",
        "s",
    ),
    (2, "Bob", None, "+49 30 1234567", "(030) 123-4567", None, "", None, "1991-02-03", "basic", "t"),
    (3, "Cem", None, None, "030-123-4567", None, None, None, None, "basic", None),
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(SHOP)
        db.executemany(f"INSERT INTO customers VALUES ({','.join('?' * 11)})", CUSTOMERS)
        db.executemany('INSERT INTO "order lines" VALUES (?, ?, ?, ?)', [(1, 1, 9.5, 1), (1, 2, 3, 2), (2, 1, 9.5, 2)])
    return path


def read(path: Path, **options) -> SchemaEngine:
    return SchemaEngine(DatabaseConnections.embedded({path.stem: path}).engine(path.stem), **options)


def test_structure_is_read_whole(shop: Path):
    schema = read(shop).mschema
    assert schema.db_id == "shop"
    assert list(schema.tables) == ["customers", "order lines", "returns", "spending"]
    assert schema.tables["spending"]["comment"] == "view"
    keys = {f"{t}.{c}" for t, c, field in schema.columns() if field["primary_key"]}
    assert keys == {"customers.id", "order lines.order_id", "order lines.line_no", "returns.id"}
    fields = schema.tables["customers"]["fields"]
    assert not fields["name"]["nullable"]
    assert fields["tier"]["default"] == "'basic'"
    assert fields["tier"]["type"] == "VARCHAR(10)"


def test_composite_keys_and_keys_typed_in_another_case_are_followed(shop: Path):
    assert read(shop).mschema.foreign_keys == [
        ["order lines", "customer", None, "customers", "id"],
        ["returns", "order_id", None, "order lines", "order_id"],
        ["returns", "line_no", None, "order lines", "line_no"],
    ]


def test_private_long_and_binary_values_are_never_shown(shop: Path):
    fields = read(shop).mschema.tables["customers"]["fields"]
    shown = {name: field["examples"] for name, field in fields.items() if field["examples"]}
    assert shown == {
        "id": ["1", "2", "3"],
        "name": ["Ada", "Bob", "Cem"],
        "born": ["1990/05/01", "1991-02-03"],  # a DATE that SQLAlchemy's own type refuses to read
        "tier": ["basic", "gold"],
    }


@pytest.mark.parametrize(
    "value", ["+1 (555) 010-2345", "0301234567 ext 12", "030/1234567", "call me: x@y.de", "http://a.b"]
)
def test_one_private_value_hides_the_column(tmp_path: Path, value: str):
    path = tmp_path / "p.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (c TEXT)")
        db.executemany("INSERT INTO t VALUES (?)", [("plain",), (value,)])
    assert read(path).mschema.tables["t"]["fields"]["c"]["examples"] == []


@pytest.mark.parametrize(
    "value", ["2024-01-31", "2024-01-31 10:15:00", "31.12.2024", "10001234", "12345.678", "978-3-16-148410-0"]
)
def test_dates_codes_and_numbers_are_no_phone_numbers(tmp_path: Path, value: str):
    path = tmp_path / "p.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (c TEXT)")
        db.execute("INSERT INTO t VALUES (?)", (value,))
    assert read(path).mschema.tables["t"]["fields"]["c"]["examples"] == [value]


def test_comments_come_from_the_file_beside_and_from_the_caller(shop: Path):
    sidecar = {"tables": {"returns": "sent back"}, "columns": {"customers.tier": "level", "customers.teir": "?"}}
    shop.with_suffix(".comments.json").write_text(json.dumps(sidecar))
    engine = read(shop, comments={"columns": {"customers.tier": "loyalty level"}})
    assert engine.mschema.tables["returns"]["comment"] == "sent back"
    assert engine.mschema.tables["customers"]["fields"]["tier"]["comment"] == "loyalty level"
    assert engine.warnings == [
        "a comment describes the column customers.teir, which is not there; did you mean customers.tier?"
    ]


def test_meanings_of_codes_are_kept_out_of_the_schema_text(shop: Path):
    values = {"customers.tier": {"gold": "spends a lot"}}
    engine = read(shop, comments={"values": values})
    assert engine.meanings == values
    assert "spends" not in engine.mschema.to_mschema()


@pytest.mark.parametrize(
    ("text", "place"),
    [('{"tables": {\n', ":2"), ('{"colums": {}}', ""), ('{"tables": {"t": 1}}', ""), ('{"values": {"t.c": "x"}}', "")],
)
def test_a_malformed_comments_file_is_named(shop: Path, text: str, place: str):
    sidecar = shop.with_suffix(".comments.json")
    sidecar.write_text(text)
    with pytest.raises(DataError) as error:
        read(shop)
    assert error.value.where == f"{sidecar}{place}"


def test_two_readings_are_the_same(shop: Path):
    assert read(shop).mschema == read(shop).mschema


def test_cost_does_not_grow_with_rows(tmp_path: Path):
    path = tmp_path / "big.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, empty TEXT)")
        db.executemany("INSERT INTO t (word) VALUES (?)", ((f"w{i}",) for i in range(200_000)))
    engine = DatabaseConnections.embedded({"big": path}).engine("big")
    queries: list[tuple] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: queries.append(args[2:4]))
    started = time.perf_counter()
    schema = SchemaEngine(engine).mschema
    assert time.perf_counter() - started < 0.5
    assert schema.tables["t"]["fields"]["empty"]["examples"] == []
    selects = [(sql, parameters) for sql, parameters in queries if "FROM t" in sql]
    assert len(selects) == 1
    assert SAMPLE_ROWS in selects[0][1]


def test_a_table_that_cannot_be_read_is_reported_and_the_rest_goes_on(shop: Path, monkeypatch: pytest.MonkeyPatch):
    engine = DatabaseConnections.embedded({"shop": shop}).engine("shop")

    def refuse(connection, cursor, sql, parameters, context, executemany):
        if "FROM customers" in sql:
            raise sqlite3.OperationalError("permission denied")

    sa.event.listen(engine, "before_cursor_execute", refuse)
    found = SchemaEngine(engine)
    assert found.warnings == ["customers: no example values (permission denied)"]
    assert found.mschema.tables["order lines"]["fields"]["order_id"]["examples"] == ["1", "2"]


def test_an_unreachable_database_is_named_without_its_password():
    engine = sa.create_engine("postgresql+psycopg://me:secret@127.0.0.1:1/shop", connect_args={"connect_timeout": 2})
    with pytest.raises(DatabaseError) as error:
        SchemaEngine(engine)
    assert "shop" in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["plant", "claims"])
def test_the_codes_of_the_embedded_databases_are_explained(tmp_path: Path, name: str):
    path = samples.build(name, tmp_path)
    engine = SchemaEngine(DatabaseConnections.embedded({name: path}).engine(name), max_examples=20)
    assert engine.warnings == []
    with sqlite3.connect(path) as db:
        for place, meanings in engine.meanings.items():
            table, column = place.split(".")
            found = {v for (v,) in db.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")}
            assert found == set(meanings), place
