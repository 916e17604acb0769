"""Throw-away copies: what runs on one may write, and can harm neither the original nor anything beside it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attacks
import pytest
import sqlalchemy as sa

from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.samples import content_hash
from askguru_lib.databases.sandbox import GRACE_S, Copy, Outcome, Sandboxes, run_isolated
from askguru_lib.errors import DatabaseError

TIMEOUT_S = 1.0
POSTGRES = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql")),
]
OK = "def test_case(*_): pass"
Run = Callable[..., Outcome]


TASK: dict[str, Any] = {
    **{"preprocess_sql": [], "clean_up_sql": [], "issue_sql": [], "sol_sql": [], "pred_sqls": ["SELECT 1"]},
    **{"conditions": {}, "efficiency": False, "dialect": "sqlite", "db_name": "shop"},
    **{"timeout_s": TIMEOUT_S, "max_rows": 100, "memory_mb": 256, "file_mb": 32, "total_s": 30},
}


def run(copy: Copy, *sqls: str, test: str = OK, memory_mb: int = 256) -> Outcome:
    """What the judging process says of ``sqls``, and then of a test in Python."""
    place = {"dialect": copy.dialect, "location": copy.location, "db_name": copy.name, "memory_mb": memory_mb}
    task = {**TASK, **place, "pred_sqls": list(sqls), "test_cases": [test]}
    return run_isolated("askguru_lib.evaluation.judge", task, copy.folder, TIMEOUT_S)


def verdict(outcome: Outcome) -> tuple[str, str]:
    """Status and message; how the process ended when it had no time to say one."""
    said = next((m for m in outcome.messages if "status" in m), None)
    return (said["status"], said["message"]) if said else (outcome.ended, "")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');")
    return path


@pytest.fixture
def copies(original: Path) -> Iterator[Sandboxes]:
    before = content_hash(original), original.read_bytes()
    with Sandboxes(DatabaseConnections.embedded({"shop": original})) as made:
        yield made
    assert (content_hash(original), original.read_bytes()) == before


ALLOWED = [
    "UPDATE t SET b = 'z'",
    "INSERT INTO t VALUES (1, 'w') ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = NEW.a; END",
    "ALTER TABLE t ADD COLUMN c REAL DEFAULT 0",
    "CREATE TEMP TABLE u AS SELECT * FROM t",
    "CREATE VIRTUAL TABLE f USING fts5(b)",
    "DROP TABLE t",
    "PRAGMA foreign_keys = ON",
    "VACUUM",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
]
REFUSED = [
    ("ATTACH '{stolen}' AS other", "another file"),
    ("ATTACH '{original}' AS other", "another file"),
    ("VACUUM INTO '{stolen}'", "another file"),
    ("SELECT load_extension('{stolen}')", "load_extension"),
    ("SELECT writefile('{stolen}', 'x')", "no such function"),
    ("PRAGMA writable_schema = ON", "PRAGMA writable_schema"),
    ("PRAGMA temp_store_directory = '/'", "PRAGMA temp_store_directory"),
    ("PRAGMA journal_mode = OFF", "PRAGMA journal_mode"),
    ("PRAGMA hard_heap_limit = 0", "PRAGMA hard_heap_limit"),
    ("UPDATE t SET b = 'z'; DROP TABLE t", "one statement at a time"),
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_copy_may_be_changed_in_any_way(copies: Sandboxes, sql: str) -> None:
    with copies.copy("shop") as copy:
        assert verdict(run(copy, sql)) == ("pass", "")


@pytest.mark.parametrize(("sql", "message"), REFUSED, ids=[s[:30] for s, _ in REFUSED])
def test_nothing_beside_the_copy_is_reached(
    copies: Sandboxes, original: Path, tmp_path: Path, sql: str, message: str
) -> None:
    stolen = tmp_path / "stolen"
    with copies.copy("shop") as copy:
        status, said = verdict(run(copy, sql.format(stolen=stolen, original=original)))
    assert (status, message in said) == ("error", True), said
    assert not stolen.exists()


def test_each_copy_is_fresh_and_gone_afterwards(copies: Sandboxes) -> None:
    count = "def test_case(p, s, name, conn): assert execute_queries(['SELECT COUNT(*) FROM t'])[0] == [(2,)]"
    with copies.copy("shop") as first:
        assert verdict(run(first, "DELETE FROM t"))[0] == "pass"
        assert verdict(run(first, "SELECT 1", test=count))[0] == "fail"
    with copies.copy("shop") as second:
        assert verdict(run(second, "SELECT 1", test=count)) == ("pass", "")
    assert not first.folder.exists()
    assert not second.folder.exists()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
LOOP = "def test_case(*_):\n    while True: pass"
ESCAPE = """
import os, time

def test_case(*_):
    if os.fork() == 0:
        time.sleep(30)
    time.sleep(30)
"""


STUCK = [(ENDLESS, OK), ("SELECT 1", LOOP), ("SELECT 1", ESCAPE)]


@pytest.mark.parametrize(("sql", "test"), STUCK, ids=["sql", "python", "child"])
def test_what_does_not_end_is_stopped_in_time(copies: Sandboxes, sql: str, test: str) -> None:
    with copies.copy("shop") as copy:
        started = time.monotonic()
        status = verdict(run(copy, sql, test=test))[0]
    allowed = {"timeout", "error"} if test is ESCAPE else {"timeout"}  # but for root it may not start a process
    assert status in allowed
    assert time.monotonic() - started < 2 * TIMEOUT_S + GRACE_S + 2


LEAVES = """
import os, time

def test_case(*_):
    try:
        if os.fork() == 0:
            os.setsid()
            os.fork()
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            time.sleep(60)
    except OSError:
        pass
    time.sleep(SECONDS)
"""


def runs_in(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return (process / "cwd").resolve() == folder and (process / "cmdline").read_bytes() != b""
    return False


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="found by what Linux tells of processes")
@pytest.mark.parametrize(("seconds", "status"), [("0.3", "pass"), ("30", "timeout")])
def test_a_child_with_a_session_of_its_own_is_ended_too(copies: Sandboxes, seconds: str, status: str) -> None:
    with copies.copy("shop") as copy:
        assert verdict(run(copy, "SELECT 1", test=LEAVES.replace("SECONDS", seconds)))[0] == status
        until = time.monotonic() + 5
        while left := [p for p in Path("/proc").glob("[0-9]*") if runs_in(p, copy.folder)]:
            assert time.monotonic() < until, left
            time.sleep(0.05)


def test_a_process_that_nobody_is_left_to_kill_ends_by_itself(copies: Sandboxes) -> None:
    with copies.copy("shop") as copy:
        sleeps = ["import time\ndef test_case(*_): time.sleep(60)"]
        task = {**TASK, "location": copy.location, "test_cases": sleeps, "timeout_s": 50, "total_s": 2}
        outcome = run_isolated("askguru_lib.evaluation.judge", task, copy.folder, 50)
    assert (outcome.ended, outcome.exit_code) == ("crashed", -signal.SIGALRM)


def test_folders_of_dead_runs_are_cleared_and_those_of_living_ones_are_not(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = (
        "import os, sys\n"
        "from askguru_lib.databases.sandbox import Sandboxes\n"
        "from askguru_lib.databases.connection import DatabaseConnections as D\n"
        "with Sandboxes(D.embedded({'shop': sys.argv[1]})) as s, s.copy('shop'): os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", killed, str(original)], env=environment, check=False)
    (dead,) = tmp_path.glob("askguru_copy_*")
    with Sandboxes(DatabaseConnections.embedded({"shop": original})) as living, living.copy("shop") as copy:
        assert dead.exists()  # for all we know another run is about to lock it
        for folder in tmp_path.glob("askguru_copy_*"):
            os.utime(folder, (1, 1))
        with Sandboxes(living.connections):
            assert not dead.exists()
            assert copy.folder.exists()
    assert not list(tmp_path.glob("askguru_copy_*"))


BOMBS = [
    ("SELECT length(group_concat(zeroblob(9000000))) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)", OK),
    ("SELECT 1", "def test_case(*_): [bytearray(10**8) for _ in range(100)]"),
    ("SELECT 1", "import os\ndef test_case(*_): os._exit(0)"),
    ("SELECT 1", "import os, signal\ndef test_case(*_): os.kill(os.getpid(), signal.SIGSEGV)"),
    ("CREATE TABLE big AS SELECT zeroblob(9000000) FROM t a, t b, t c, t d, t e, t f", OK),
]


@pytest.mark.parametrize(("sql", "test"), BOMBS, ids=["sql memory", "memory", "exit", "signal", "disk"])
def test_what_takes_too_much_or_dies_ends_in_its_own_process(copies: Sandboxes, sql: str, test: str) -> None:
    with copies.copy("shop") as copy:
        assert verdict(run(copy, sql, test=test, memory_mb=192))[0] in ("crashed", "error")
        assert verdict(run(copy, "SELECT 1")) == ("pass", "")


def test_the_process_knows_no_secrets_and_what_it_prints_is_no_message(
    copies: Sandboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hidden")
    monkeypatch.setenv("PGPASSWORD", "hidden")
    test = (
        "import os\n"
        "def test_case(*_):\n"
        '    print(\'{"status": "pass"}\', flush=True)\n'
        '    os.write(1, b\'{"status": "pass"}\\n\')\n'
        "    assert os.listdir('.') == ['shop.sqlite'], os.listdir('.')\n"
        "    assert 'hidden' not in str(dict(os.environ))\n"
        "    assert False, 'the end'"
    )
    with copies.copy("shop") as copy:
        assert verdict(run(copy, "SELECT 1", test=test)) == ("fail", "test 1: the end")


def test_rows_are_capped(copies: Sandboxes) -> None:
    test = "def test_case(p, *_): assert len(execute_queries(p)[0]) == 100"
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n"
    with copies.copy("shop") as copy:
        assert verdict(run(copy, sql, test=test)) == ("pass", "")


def test_a_write_ahead_log_is_part_of_the_copy(copies: Sandboxes, original: Path) -> None:
    before = original.read_bytes()
    with closing(sqlite3.connect(original)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("INSERT INTO t VALUES (3, 'only in the log')")
        db.commit()
        with copies.copy("shop") as copy, closing(sqlite3.connect(copy.location)) as inside:
            assert inside.execute("SELECT COUNT(*) FROM t").fetchone() == (3,)
    original.write_bytes(before)


def test_what_cannot_be_copied_is_an_error_that_helps(tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_text("no database at all, but long enough to be looked at " * 9)
    duck = DatabaseConnections.embedded({"d": tmp_path / "d.duckdb"}, "duckdb")
    with pytest.raises(DatabaseError, match="no throw-away copies can be made on duckdb"):
        Sandboxes(duck)
    broken = {"broken": tmp_path / "broken.sqlite", "missing": tmp_path / "missing.sqlite"}
    with Sandboxes(DatabaseConnections.embedded(broken)) as copies:
        for name in (*broken, "unknown"):
            with pytest.raises(DatabaseError, match=name), copies.copy(name):
                pass


@pytest.fixture(scope="module")
def server() -> Iterator[sa.URL]:
    with attacks.postgresql() as url:
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as db:
            db.exec_driver_sql("CREATE DATABASE shop")
        admin.dispose()
        inside = sa.create_engine(url.set(database="shop"))
        with inside.begin() as db:
            for sql in (
                "CREATE TYPE mood AS ENUM ('good', 'bad')",
                'CREATE TABLE "T x" (a serial PRIMARY KEY, b text, m mood)',
                "INSERT INTO \"T x\" (b) VALUES ('x'), ('y')",
                'CREATE VIEW v AS SELECT a FROM "T x"',
                "CREATE SCHEMA side",
                "CREATE TABLE side.u (a integer)",
                "CREATE TYPE pair AS (x integer, y integer)",
                "CREATE FOREIGN DATA WRAPPER elsewhere",
                'CREATE SERVER "far %s" FOREIGN DATA WRAPPER elsewhere',
                'CREATE FOREIGN TABLE far (a integer) SERVER "far %s"',
                "CREATE FUNCTION whoami() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user'",
                "CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 + 1'",
            ):
                db.exec_driver_sql(sql.replace("%", "%%"))
        inside.dispose()
        yield url


def names(url: sa.URL) -> list[str]:
    """Databases and roles of the server, and the queries that go on."""
    admin = sa.create_engine(url)
    with admin.connect() as db:
        found = db.exec_driver_sql(
            "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"
        )
        left = sorted(str(row[0]) for row in found)
    left += attacks.running(admin)
    admin.dispose()
    return left


def digest(url: sa.URL) -> list[Any]:
    engine = sa.create_engine(url.set(database="shop"))
    with engine.connect() as db:
        rows = list(db.exec_driver_sql('SELECT * FROM "T x" ORDER BY a').all())
        rows += db.exec_driver_sql("SELECT relname, relowner FROM pg_class ORDER BY 1").all()
    engine.dispose()
    return rows


OWNER = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I %s', current_database()); END $$"
SERVER = [
    (["UPDATE \"T x\" SET b = 'z'", 'DROP TABLE "T x" CASCADE'], "pass", ""),
    (["ALTER TYPE mood ADD VALUE 'so so'", "ALTER TABLE side.u RENAME TO w", "DROP SCHEMA side CASCADE"], "pass", ""),
    (["CREATE OR REPLACE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT 7'"], "pass", ""),
    (['CREATE OR REPLACE VIEW v AS SELECT a, b FROM "T x"', "INSERT INTO \"T x\" (b) VALUES ('%s')"], "pass", ""),
    (["BEGIN", 'DELETE FROM "T x"', "ROLLBACK"], "pass", ""),
    (["UPDATE \"T x\" SET b = 'z'; SELECT 1"], "pass", ""),
    (["COPY \"T x\" TO PROGRAM 'touch {stolen}'"], "error", "permission denied"),
    (["COPY \"T x\" TO '{stolen}'"], "error", "permission denied"),
    (["SELECT pg_read_file('postgresql.conf')"], "error", "permission denied"),
    (["SELECT lo_export(lo_from_bytea(0, 'x'), '{stolen}')"], "error", "permission denied"),
    (["ALTER SYSTEM SET work_mem = '1GB'"], "error", "permission denied"),
    (["CREATE DATABASE other"], "error", "permission denied"),
    (["CREATE ROLE other"], "error", "permission denied"),
    (["DROP DATABASE shop"], "error", "must be owner"),
    (["SET ROLE postgres"], "error", "permission denied"),
    (["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'"], "error", "permission"),
    (["RESET ROLE", "SET SESSION AUTHORIZATION postgres"], "error", "permission denied"),
    (["SELECT 1 / (whoami() <> 'postgres')::int"], "pass", ""),
    (["ALTER TYPE pair ADD ATTRIBUTE z integer"], "pass", ""),
    (["SELECT * FROM far"], "error", "does not exist"),
    ([OWNER % "IS_TEMPLATE true"], "pass", ""),
    ([OWNER % "ALLOW_CONNECTIONS false"], "error", "current database"),
    ([OWNER % "RENAME TO mine"], "error", ""),
    (["ALTER ROLE CURRENT_USER SUPERUSER"], "error", "permission denied"),
    (["CREATE EXTENSION dblink"], "error", ""),
    (["SELECT lo_import('/etc/passwd')"], "error", "permission denied"),
    (["SELECT lo_from_bytea(0, 'x')", "SELECT pg_advisory_lock(1)", "LISTEN x"], "pass", ""),
    (["SET client_connection_check_interval = 0", "SET statement_timeout = 0; SELECT pg_sleep(40)"], "timeout", ""),
    (["SELECT pg_terminate_backend(pg_backend_pid())"], "crashed", "terminat"),
    (["SELECT 1\0; SELECT nonsense"], "error", "NUL"),
    (
        ["CREATE TABLE q (x integer UNIQUE DEFERRABLE INITIALLY DEFERRED)", "BEGIN", "INSERT INTO q VALUES (1), (1)"],
        "error",
        "statement 3: duplicate key",
    ),
    (["SET statement_timeout = 0", "SELECT pg_sleep(30)"], "timeout", "stopped after"),
    (["SELECT count(*) FROM generate_series(1, 1000000000000) i"], "timeout", "stopped after"),
]


@pytest.mark.parametrize(("sqls", "status", "message"), [pytest.param(*c, marks=POSTGRES, id=c[0][0]) for c in SERVER])
def test_postgresql(server: sa.URL, sqls: list[str], status: str, message: str) -> None:
    before, content = names(server), digest(server)
    with Sandboxes(attacks.connect(server, {"shop": "shop"})) as copies, copies.copy("shop") as copy:
        made = [sql.replace("{stolen}", str(attacks.STOLEN)) for sql in sqls]
        found, said = verdict(run(copy, *made))
    assert (found, message in said) == (status, True), said
    assert not attacks.stolen()
    assert (names(server), digest(server)) == (before, content)


@pytest.mark.slow
@pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql"))
def test_postgresql_goes_on_after_a_loop_a_second_copy_and_a_killed_run(server: sa.URL) -> None:
    before = names(server)
    connections = attacks.connect(server, {"shop": "shop"})
    loop = "def test_case(p, s, name, conn): conn.execute('SET statement_timeout = 0; SELECT pg_sleep(60)')"
    with Sandboxes(connections) as copies, copies.copy("shop") as one, copies.copy("shop") as two:
        assert verdict(run(one, "SELECT 1", test=loop))[0] == "timeout"
        assert verdict(run(two, 'SELECT * FROM "T x"')) == ("pass", "")
        with Sandboxes(connections) as others, others.copy("shop"):  # which must leave the running ones alone
            assert verdict(run(two, 'SELECT * FROM "T x"')) == ("pass", "")
    assert names(server) == before
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.exec_driver_sql("CREATE ROLE askguru_copy_dead_1 LOGIN")
        db.exec_driver_sql("CREATE DATABASE askguru_copy_dead_1 OWNER askguru_copy_dead_1")
    admin.dispose()
    with Sandboxes(connections) as copies, copies.copy("shop"):
        pass
    assert names(server) == before


@pytest.mark.slow
@pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql"))
def test_postgresql_measures_one_statement_at_a_time(server: sa.URL) -> None:
    """The plan of another one in the same text, or of a comment, does not stand for it."""
    some = 'SELECT COUNT(*) FROM "T x" a, "T x" b'
    cost = f"def test_case(p, *_): assert performance_compare_by_qep(['{some}'], p) == 1"
    with Sandboxes(attacks.connect(server, {"shop": "shop"})) as copies, copies.copy("shop") as copy:
        assert verdict(run(copy, 'SELECT a FROM "T x"', test=cost)) == ("pass", "")
        assert verdict(run(copy, f'/* */ {some}, "T x" c', test=cost))[0] == "fail"
        found, said = verdict(run(copy, "SELECT 1; EXPLAIN (FORMAT JSON) SELECT 1", test=cost))
        assert (found, "multiple commands" in said) == ("error", True), said


@pytest.mark.slow
@pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql"))
def test_postgresql_the_signature_changes_with_rows_and_definitions_only(server: sa.URL) -> None:
    def signature() -> Any:
        with Sandboxes(attacks.connect(server, {"shop": "shop"})) as copies:
            found = copies.signature("shop")
            with copies.copy("shop"):
                assert copies.signature("shop") == found
            return found

    def change(sql: str) -> None:
        inside = sa.create_engine(server.set(database="shop"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with inside.connect() as db:
            db.exec_driver_sql(sql)

    before = signature()
    for there, back in (
        ("INSERT INTO side.u VALUES (7)", "DELETE FROM side.u"),
        ("UPDATE \"T x\" SET b = 'z' WHERE b = 'x'", "UPDATE \"T x\" SET b = 'x' WHERE b = 'z'"),
        ("ALTER TABLE side.u ADD CONSTRAINT c CHECK (a > 0)", "ALTER TABLE side.u DROP CONSTRAINT c"),
        ("ALTER TABLE side.u RENAME TO w", "ALTER TABLE side.w RENAME TO u"),
    ):
        change(there)
        assert signature() != before, there
        change(back)
        assert signature() == before, back


@pytest.mark.slow
@pytest.mark.skipif(bool(attacks.missing("postgresql")), reason=attacks.missing("postgresql"))
def test_postgresql_wants_an_account_that_may_make_copies(server: sa.URL) -> None:
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.exec_driver_sql("CREATE ROLE weak LOGIN PASSWORD 'w'")
        with (
            Sandboxes(attacks.connect(server.set(username="weak", password="w"), {"shop": "shop"})) as copies,
            pytest.raises(DatabaseError, match=r"cannot copy the database.*permission denied"),
            copies.copy("shop"),
        ):
            pass
        db.exec_driver_sql("DROP ROLE weak")
    admin.dispose()
