"""Schema and executor on a real MySQL-compatible server (MariaDB), where one is installed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import attacks
import pytest
import sqlalchemy as sa

from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.schema_engine import SchemaEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(attacks.missing("mysql")), reason=attacks.missing("mysql")),
]
DATABASES = ("plant", "hr", "music")
STRUCTURE = """
CREATE DATABASE crm; CREATE TABLE crm.people (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL);
CREATE DATABASE shop; USE shop;
CREATE TABLE regions (country CHAR(2), code CHAR(2), PRIMARY KEY (country, code));
CREATE TABLE `order` (id INT PRIMARY KEY AUTO_INCREMENT, person INT COMMENT 'who, if known', country CHAR(2),
    code CHAR(2),
    `unit price` DECIMAL(10, 2) DEFAULT 1.5, temper ENUM('calm', 'cross'), ref VARCHAR(9) UNIQUE, paid TINYINT(1),
    FOREIGN KEY (person) REFERENCES crm.people (id),
    FOREIGN KEY (country, code) REFERENCES regions (country, code)) COMMENT 'what was asked for';
CREATE VIEW totals AS SELECT person, SUM(`unit price`) AS total FROM `order` GROUP BY person;
INSERT INTO crm.people VALUES (1, 'Ada'); INSERT INTO regions VALUES ('DE', 'BY');
INSERT INTO `order` (person, country, code, temper, ref, paid) VALUES (1, 'DE', 'BY', 'calm', 'R1', 1);
CREATE TABLE t (a INT, b VARCHAR(9));
"""


@pytest.fixture(scope="module")
def url() -> Iterator[sa.URL]:
    with attacks.mariadb() as url:
        yield url


@pytest.fixture(scope="module")
def conn(url: sa.URL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The structure above and three embedded databases on the server, and a db_conn.json for them."""
    admin = sa.create_engine(url)
    with admin.begin() as connection:
        for statement in filter(str.strip, STRUCTURE.split(";")):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"INSERT INTO t VALUES {', '.join(f'({i}, {i % 7!r})' for i in range(500))}")
        for name in DATABASES:
            connection.exec_driver_sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    admin.dispose()
    for name in DATABASES:
        engine = sa.create_engine(url.set(database=name))
        samples.load(name, engine)
        engine.dispose()
    path = tmp_path_factory.mktemp("mysql") / "db_conn.json"
    databases = {name: name for name in ("shop", *DATABASES)}
    settings = {"dialect": "mysql", "host": url.query["unix_socket"], "user": "root", "databases": databases}
    path.write_text(json.dumps(settings))
    return path


def test_mysql_is_read_whole(conn: Path):
    connections = load_connections(conn)
    engine = SchemaEngine(connections.engine("shop"), "shop")
    connections.dispose()
    assert engine.warnings == []
    text = engine.mschema.to_mschema(show_type_detail=True)
    assert "# Table: order, what was asked for\n[\n(id:INTEGER(11), Primary Key, Examples: [1])," in text
    assert '(person:INTEGER(11), "who, if known", Examples: [1])' in text
    assert "(temper:ENUM('calm','cross'), Examples: [calm, cross])" in text
    assert "# Table: totals, view" in text
    assert engine.mschema.foreign_keys == [
        ["order", "person", "crm", "people", "id"],
        ["order", "country", None, "regions", "country"],
        ["order", "code", None, "regions", "code"],
    ]
    fields = engine.mschema.tables["order"]["fields"]
    assert (fields["unit price"]["default"], fields["paid"]["category"]) == ("1.50", "Enum")
    assert engine.mschema.tables["order"]["unique"] == [["ref"]]


@pytest.mark.parametrize("name", DATABASES)
def test_one_definition_builds_on_mysql(name: str, conn: Path, tmp_path: Path):
    theirs = load_connections(conn).engine(name)
    ours = sa.create_engine(f"sqlite:///{samples.build(name, tmp_path)}")
    one, two = SchemaEngine(theirs, name).mschema, SchemaEngine(ours, name).mschema
    assert one.foreign_keys == two.foreign_keys
    for (table, column, field), (*place, other) in zip(one.columns(), two.columns(), strict=True):
        assert [table, column] == place
        same = ("comment", "primary_key", "nullable", "category")
        assert [field[k] for k in same] == [other[k] for k in same]
    for table in samples.definition(name).metadata.sorted_tables:
        query = sa.select(*(sa.column(c.name) for c in table.columns)).select_from(sa.table(table.name))
        with theirs.connect() as a, ours.connect() as b:
            assert plain(a.execute(query)) == plain(b.execute(query))


def plain(rows: sa.CursorResult) -> Counter:
    return Counter(
        tuple(float(v) if isinstance(v, Decimal | int | float) else v and str(v) for v in row) for row in rows
    )


CASES = [
    ("SELECT a, b FROM t WHERE b LIKE '%5%' ORDER BY a LIMIT 2;", "ok"),
    ("WITH x AS (SELECT a FROM t) SELECT COUNT(*) FROM x", "ok"),
    ("SELECT '%s', 'a:b', NOW()", "ok"),
    ("SELEC 1", "syntax"),
    ("SELECT FROM WHERE", "syntax"),
    ("", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT nope(1)", "unknown_name"),
]


@pytest.fixture(scope="module")
def executor(conn: Path) -> Iterator[Executor]:
    with Executor(load_connections(conn), timeout_s=0.8, max_rows=100, workers=1) as executor:
        yield executor


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[s[:40] for s, _ in CASES])
def test_mysql_executor(executor: Executor, sql: str, expected: str):
    result = executor.run("shop", sql)
    assert (result.failure.kind if result.failure else "ok") == expected, result.failure or result.rows
    check = executor.run("shop", "SELECT COUNT(*), SUM(a) FROM t")
    assert check.rows == ((500, 124750),), check.failure


def test_mysql_fetches_no_more_than_it_keeps(conn: Path, url: sa.URL):
    with Executor(load_connections(conn), timeout_s=20, max_rows=100, workers=1) as executor:
        huge = executor.run("shop", "SELECT x.a, y.b FROM t x, t y, t z, t w")  # 62,500,000,000 rows
        assert (len(huge.rows), huge.truncated) == (100, True), huge.failure
        wide = executor.run("shop", "SELECT REPEAT(b, 1000000) FROM t")
        assert wide.truncated, wide.failure
        assert executor.run("shop", "SELECT COUNT(*) FROM t").rows == ((500,),)
    admin = sa.create_engine(url)
    assert attacks.running(admin) == []
    admin.dispose()


def test_mysql_settings_that_a_stored_function_lifts_are_back_for_the_next_statement(executor: Executor, url: sa.URL):
    admin = sa.create_engine(url.set(database="shop"))
    with admin.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION lift() RETURNS INT "
            "BEGIN SET SESSION max_statement_time = 0, SESSION tx_read_only = 0; RETURN 0; END"
        )
        connection.exec_driver_sql(
            "CREATE FUNCTION writer() RETURNS INT BEGIN INSERT INTO t VALUES (0, ''); RETURN 0; END"
        )
    executor.run("shop", "SELECT lift()")
    limit = executor.run("shop", "SELECT @@max_statement_time")
    assert limit.rows == ((executor.limits.timeout_s,),), limit.failure
    executor.run("shop", "SELECT lift()")
    written = executor.run("shop", "SELECT writer()")
    assert written.failure
    assert written.failure.kind == "denied"
    executor.run("shop", "SELECT lift()")
    slow = executor.run("shop", "SELECT SLEEP(30)")
    assert slow.failure
    assert slow.failure.kind == "timeout"
    assert attacks.running(admin) == []
    admin.dispose()


def test_mysql_connection_that_the_server_closed_is_opened_again(executor: Executor, url: sa.URL):
    number = executor.run("shop", "SELECT CONNECTION_ID()").rows[0][0]
    admin = sa.create_engine(url)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"KILL {number}")
    admin.dispose()
    lost = executor.run("shop", "SELECT COUNT(*) AS lost FROM t")
    assert lost.failure
    assert lost.failure.kind == "connection"
    assert executor.run("shop", "SELECT COUNT(*) FROM t").rows == ((500,),)
