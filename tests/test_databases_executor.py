"""The executor: what it lets through, what it refuses, and what it survives."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attacks
import duckdb
import pytest

from askguru_lib.config import ExecutionConfig
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.errors import DatabaseError

TIMEOUT_S = 0.5
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
# one call of one function: nothing inside it asks whether time is up, so only killing the process ends it
DEAF = "SELECT instr(hex(zeroblob(2000000)), hex(zeroblob(1000000)) || '1')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    lite = sqlite3.connect(folder / "t.sqlite")
    lite.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    lite.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"row {i}") for i in range(500)])
    lite.execute("CREATE TABLE bad (x TEXT)")
    lite.execute("INSERT INTO bad VALUES (CAST(X'61FF62' AS TEXT))")
    lite.commit()
    lite.close()
    duck = duckdb.connect(str(folder / "t.duckdb"))
    duck.execute("CREATE TABLE t AS SELECT i AS a, 'row ' || i AS b FROM range(500) r(i)")
    duck.close()
    (folder / "rubbish.sqlite").write_bytes(b"this is no database" * 100)
    return folder


@pytest.fixture(scope="module")
def lite(folder: Path) -> Iterator[Executor]:
    files = {"t": folder / "t.sqlite", "rubbish": folder / "rubbish.sqlite", "gone": folder / "gone.sqlite"}
    with Executor(DatabaseConnections.embedded(files), timeout_s=TIMEOUT_S, max_rows=100, memory_mb=256) as executor:
        yield executor


@pytest.fixture(scope="module")
def duck(folder: Path) -> Iterator[Executor]:
    connections = DatabaseConnections.embedded({"t": folder / "t.duckdb"}, "duckdb")
    with Executor(connections, timeout_s=TIMEOUT_S, max_rows=100, memory_mb=256, workers=1) as executor:
        yield executor


def kind(result: Result) -> str:
    return result.failure.kind if result.failure else "ok"


def test_a_query_gives_columns_and_rows(lite: Executor) -> None:
    result = lite.run("t", "SELECT a, b AS name FROM t WHERE a < 2 ORDER BY a;")
    assert result == Result(("a", "name"), ((0, "row 0"), (1, "row 1")))
    assert result.ok
    assert result.elapsed_ms > 0
    assert pickle.loads(pickle.dumps(result)) == result


READS = [
    "SELECT value FROM json_each('[1, 2]')",
    "WITH x AS (SELECT a FROM t) SELECT max(a) OVER () FROM x LIMIT 1",
    "SELECT strftime('%Y', '2024-05-06')",
    "SELECT name FROM sqlite_master",
    "PRAGMA table_info(t)",
    "EXPLAIN QUERY PLAN SELECT * FROM t",
    "VALUES (1)",
]


@pytest.mark.parametrize("sql", READS)
def test_reading_is_allowed(lite: Executor, sql: str) -> None:
    result = lite.run("t", sql)
    assert result.ok, result.failure


WRONG = [
    ("SELEC 1", "syntax"),
    ("SELECT (", "syntax"),
    ("", "syntax"),
    ("-- nothing", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT nope(1)", "unknown_name"),
    ("SELECT a FROM t x JOIN t y ON 1", "unknown_name"),
    ("SELECT abs(-9223372036854775807 - 1)", "type"),
]


@pytest.mark.parametrize(("sql", "expected"), WRONG, ids=[s[:40] for s, _ in WRONG])
def test_failures_are_typed(lite: Executor, sql: str, expected: str) -> None:
    result = lite.run("t", sql)
    assert kind(result) == expected, result.failure
    assert result.rows == ()
    assert result.failure
    assert 0 < len(result.failure.message) <= 300


def test_not_a_statement(lite: Executor) -> None:
    assert kind(lite.run("t", None)) == "syntax"  # type: ignore[arg-type]


def test_reference_defect_read_write_connection(lite: Executor, folder: Path) -> None:
    def digest() -> str:
        return hashlib.sha256((folder / "t.sqlite").read_bytes()).hexdigest()

    before = digest()
    lite.run_many([("t", attack.sql) for attack in attacks.load("sqlite") if attack.kinds == {"denied"}])
    assert digest() == before
    assert not attacks.stolen()
    assert lite.run("t", "SELECT count(*) FROM t").rows == ((500,),)


@pytest.mark.parametrize("sql", [ENDLESS, DEAF], ids=["asks the clock", "deaf"])
def test_reference_defect_timed_out_query_goes_on_running(folder: Path, sql: str) -> None:
    connections = DatabaseConnections.embedded({"t": folder / "t.sqlite"})
    with Executor(connections, timeout_s=TIMEOUT_S, workers=1) as executor:
        executor.run("t", "SELECT 1")
        started = time.monotonic()
        assert kind(executor.run("t", sql)) == "timeout"
        assert time.monotonic() - started < TIMEOUT_S + 1
        assert executor.run("t", "SELECT 2").rows == ((2,),)


def test_reference_defect_timeout_counts_as_executable(lite: Executor) -> None:
    assert not lite.run("t", ENDLESS).ok


def test_rows_are_capped_and_the_cap_is_told(lite: Executor) -> None:
    assert (len(lite.run("t", "SELECT * FROM t").rows), lite.run("t", "SELECT * FROM t").truncated) == (100, True)
    assert not lite.run("t", "SELECT * FROM t LIMIT 100").truncated
    assert lite.run("t", "SELECT * FROM t LIMIT 101").truncated


def test_bytes_are_capped(lite: Executor) -> None:
    result = lite.run("t", "SELECT hex(zeroblob(2000000)) FROM t")
    assert result.truncated
    assert 1 < len(result.rows) < 20


def test_invalid_utf8_is_replaced_not_raised(lite: Executor) -> None:
    assert lite.run("t", "SELECT x FROM bad").rows == (("a\ufffdb",),)


def test_a_file_that_is_missing_or_no_database(lite: Executor) -> None:
    assert kind(lite.run("gone", "SELECT 1")) == "connection"
    assert kind(lite.run("rubbish", "SELECT 1")) == "connection"
    with pytest.raises(DatabaseError, match="unknown database 'nope'"):
        lite.run("nope", "SELECT 1")


def test_run_many_keeps_order(lite: Executor) -> None:
    items = [("t", f"SELECT {i % 40}" if i % 3 else f"SELECT nope{i}") for i in range(100)]
    results = lite.run_many(items)
    assert [r.rows[0][0] if r.ok else None for r in results] == [i % 40 if i % 3 else None for i in range(100)]


def test_identical_statements_run_once_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"

    def rebuild(value: int) -> None:
        fresh = sqlite3.connect(tmp_path / "new")
        fresh.execute(f"CREATE TABLE n AS SELECT {value} AS v")
        fresh.commit()
        fresh.close()
        os.replace(tmp_path / "new", path)

    rebuild(1)
    with Executor(DatabaseConnections.embedded({"n": path}), workers=1) as executor:
        first = executor.run("n", "SELECT v, random() FROM n")
        assert executor.run("n", "SELECT v, random() FROM n") is first
        rebuild(2)
        assert executor.run("n", "SELECT v, random() FROM n").rows[0][0] == 2


def test_a_killed_worker_is_replaced(folder: Path) -> None:
    connections = DatabaseConnections.embedded({"t": folder / "t.sqlite"})
    others = set(multiprocessing.active_children())
    with Executor(connections, timeout_s=5, workers=2) as executor:
        executor.run("t", "SELECT 1")
        mine = set(multiprocessing.active_children()) - others
        future = executor._submit(executor._target("t"), ENDLESS)
        while not future.running():
            time.sleep(0.02)
        for process in mine:
            process.kill()
        assert kind(executor._await(future, executor._target("t"), ENDLESS)) == "resource"
        assert [r.rows for r in executor.run_many([("t", f"SELECT {i}") for i in range(4)])] == [
            ((i,),) for i in range(4)
        ]
        assert not mine & set(multiprocessing.active_children())


def test_close_ends_the_workers_and_a_later_call_starts_them(folder: Path) -> None:
    executor = Executor.from_config(
        DatabaseConnections.embedded({"t": folder / "t.sqlite"}), ExecutionConfig.model_validate({"workers": 1})
    )
    before = set(multiprocessing.active_children())
    assert executor.run("t", "SELECT 1").ok
    executor.close()
    assert set(multiprocessing.active_children()) <= before
    assert executor.run("t", "SELECT 2").ok
    executor.close()


def test_works_in_a_script_without_a_main_guard(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from askguru_lib.databases.connection import DatabaseConnections\n"
        "from askguru_lib.databases.executor import Executor\n"
        f"e = Executor(DatabaseConnections.embedded({{'t': {str(folder / 't.sqlite')!r}}}), workers=1)\n"
        "print(e.run('t', 'SELECT 41 + 1').rows)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30, env=env)
    assert done.stdout == "((42,),)\n", done.stderr


def test_a_worker_imports_nothing_heavy() -> None:
    code = (
        "import sys, askguru_lib.databases.worker, askguru_lib.databases.sessions_embedded;"
        "print(sorted({'torch', 'pandas', 'numpy', 'sqlalchemy', 'pydantic', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_preview() -> None:
    result = Result(("n", "share"), ((None, 0.123456789), ("a\nb", 2.0)), truncated=False)
    assert result.preview() == "n | share\nNULL | 0.123457\na b | 2.0"
    assert result.preview(1) == "n | share\nNULL | 0.123457\n…"
    assert Result(("n",), ()).preview() == "n\n(no rows)"
    assert Result.failed("syntax", "near x").preview() == "Error: near x"
    assert len(Result(("n",), (("y" * 1000,),)).preview()) < 70


DUCKDB = [
    ("SELECT count(*) FROM t", "ok"),
    ("DESCRIBE t", "ok"),
    ("SELECT [1, 2], {'k': 1}, 1.5::DECIMAL(4, 2), DATE '2024-01-02', uuid(), INTERVAL 1 DAY", "ok"),
    ("SELEC 1", "syntax"),
    ("", "syntax"),
    ("SELECT nope FROM t", "unknown_name"),
    ("SELECT * FROM nope", "unknown_name"),
    ("SELECT a + b FROM t", "type"),
    ("SELECT 'x'::INT", "type"),
]


@pytest.mark.parametrize(("sql", "expected"), DUCKDB, ids=[s[:40] for s, _ in DUCKDB])
def test_duckdb(duck: Executor, sql: str, expected: str) -> None:
    result = duck.run("t", sql)
    assert kind(result) == expected, result.failure
    hash(result.rows)


def test_a_worker_without_memory_is_replaced_before_the_next_statement(folder: Path) -> None:
    connections = DatabaseConnections.embedded({"t": folder / "t.duckdb"}, "duckdb")
    big = "SELECT length(string_agg(repeat(b, 2000), '')) FROM t"
    doubling = "WITH RECURSIVE r(x) AS (SELECT 'x' UNION ALL SELECT x || x FROM r) SELECT count(*) FROM r"
    others = set(multiprocessing.active_children())
    with Executor(connections, timeout_s=5, memory_mb=256, workers=1) as executor:
        assert executor.run("t", big).ok
        (process,) = set(multiprocessing.active_children()) - others
        assert kind(executor.run("t", doubling)) == "resource"
        assert executor.run("t", f"{big} -- again").ok
        assert not process.is_alive()
        assert kind(executor.run("t", f"{doubling} -- again")) == "resource"
        assert isinstance(executor.time("t", [big], 2), list)


def test_duckdb_caps_rows(duck: Executor) -> None:
    result = duck.run("t", "SELECT * FROM range(1000000000000)")
    assert (len(result.rows), result.truncated) == (100, True)
