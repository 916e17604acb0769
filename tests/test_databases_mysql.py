"""Schema and executor on a real MySQL-compatible server (MariaDB), where one is installed."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.schema_engine import SchemaEngine

pytest.importorskip("pymysql")
SERVER = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
INSTALL = shutil.which("mariadb-install-db")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SERVER and INSTALL), reason="no MariaDB server is installed (apt install mariadb-server)"),
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
    # A socket's path may have 107 characters at most, which pytest's own folders use up.
    with tempfile.TemporaryDirectory(prefix="my") as folder:
        user = "mysql" if os.geteuid() == 0 else getpass.getuser()
        if os.geteuid() == 0:
            shutil.chown(folder, "mysql")
        data, socket = f"{folder}/data", f"{folder}/s"
        common = ["--no-defaults", f"--user={user}", f"--datadir={data}"]
        subprocess.run(
            [str(INSTALL), *common, "--auth-root-authentication-method=normal"], check=True, capture_output=True
        )
        server = subprocess.Popen(
            [str(SERVER), *common, f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = sa.URL.create("mysql+pymysql", username="root", query={"unix_socket": socket})
        try:
            wait_for(address)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def wait_for(address: sa.URL) -> None:
    engine = sa.create_engine(address)
    until = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            break
        except sa.exc.OperationalError:
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.2)
    engine.dispose()


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


ENDLESS = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n, t a, t b, t c"
CASES = [
    ("SELECT a, b FROM t WHERE b LIKE '%5%' ORDER BY a LIMIT 2;", "ok"),
    ("WITH x AS (SELECT a FROM t) SELECT COUNT(*) FROM x", "ok"),
    ("SELECT '%s', 'a:b', NOW()", "ok"),
    ("INSERT INTO t VALUES (1, 'x')", "denied"),
    ("DELETE FROM t", "denied"),
    ("DROP TABLE t", "denied"),
    ("CREATE TABLE u (a INT)", "denied"),
    ("CREATE TEMPORARY TABLE u (a INT)", "denied"),
    ("SET SESSION TRANSACTION READ WRITE", "denied"),
    ("SELECT 1; DROP TABLE t", "denied"),
    ("SELECT a FROM t INTO OUTFILE '/tmp/stolen_by_test'", "denied"),
    ("SELECT LOAD_FILE('/etc/hostname')", "denied"),
    ("LOAD DATA INFILE '/etc/hostname' INTO TABLE t", "denied"),
    ("SELECT GET_LOCK('l', 1)", "denied"),
    ("SELECT a FROM t /*!50000 INTO OUTFILE '/tmp/stolen_by_test' */", "denied"),
    ("SELECT a FROM t INTO/**/DUMPFILE '/tmp/stolen_by_test'", "denied"),
    ("CALL p()", "denied"),
    ("SELEC 1", "syntax"),
    ("SELECT FROM WHERE", "syntax"),
    ("", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT nope(1)", "unknown_name"),
    ("SELECT SLEEP(30)", "timeout"),
    (ENDLESS, "timeout"),
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
    assert not Path("/tmp/stolen_by_test").exists()
