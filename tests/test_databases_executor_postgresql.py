"""The executor on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import attacks
import pytest
import sqlalchemy as sa

from askguru_lib.databases.executor import Executor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql")),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Executor]:
    with attacks.postgresql() as url:
        with sa.create_engine(url).begin() as db:
            db.exec_driver_sql("CREATE TABLE t AS SELECT i AS a, 'row ' || i AS b FROM generate_series(1, 500) i")
        connections = attacks.connect(url, {"t": url.database or ""})
        with Executor(connections, timeout_s=0.6, max_rows=100, workers=1) as executor:
            yield executor


CASES = [
    ("SELECT a, b FROM t WHERE b LIKE '%5%' ORDER BY a LIMIT 2;", "ok"),
    ("SELECT ':a', '{\"k\": [1]}'::jsonb, ARRAY[1, 2], 1.5::numeric, '\\x00'::bytea", "ok"),
    ("EXPLAIN SELECT 1", "ok"),
    ("SHOW server_version", "ok"),
    ("SELEC 1", "syntax"),
    ("SELECT FROM WHERE", "syntax"),
    ("SELECT b, count(*) FROM t", "syntax"),
    ("", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT nope(1)", "unknown_name"),
    ("SELECT a + b FROM t", "type"),
    ("SELECT 'x'::int", "type"),
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
