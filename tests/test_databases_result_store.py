"""Results that outlive the process."""

from __future__ import annotations

import datetime
import pickle
import sqlite3
import time
import zlib
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from askguru_lib.databases import result_store
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.result_store import ResultStore
from askguru_lib.databases.worker import Failure, Limits, Result, Target
from askguru_lib.errors import DatabaseError

LIMITS = Limits(1.0, 100, 256)
SERVER = Target("postgresql", "postgresql://ann:secret@db/sales")
VALUES = (
    *(None, True, 1, 10**30, 1.5, float("inf"), "é\ud800", b"\0", Decimal("1.50"), (1, ("a",))),
    *(datetime.date(2024, 1, 2), datetime.time(3, 4), datetime.timedelta(5), UUID(int=6)),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript("CREATE TABLE item (id INTEGER); INSERT INTO item VALUES (1), (2);")
    db.close()
    return path


def test_what_was_put_is_found_by_another_process_s_store(tmp_path: Path, shop: Path):
    target = Target("sqlite", str(shop))
    result = Result(tuple(f"c{i}" for i in range(len(VALUES))), (VALUES,), 3.5, True)
    failed = Result.failed("syntax", "near FORM")
    with ResultStore(tmp_path / "r.sqlite") as store:
        assert store.get(target, "SELECT 1", LIMITS) is None
        store.put(target, "SELECT 1", LIMITS, result)
        store.put(target, "SELECT FORM", LIMITS, failed)
    with ResultStore(tmp_path / "r.sqlite") as store:
        found = store.get(target, "SELECT 1", LIMITS)
        assert found == result
        assert [type(v) for v in found.rows[0]] == [type(v) for v in VALUES]
        assert store.get(target, "SELECT FORM", LIMITS) == failed == Result(failure=Failure("syntax", "near FORM"))
        assert store.hits == 2
        assert store.get(target, "SELECT 1", Limits(1.0, 99, 256)) is None
        assert store.get(target, "SELECT 1 ", LIMITS) is None


def test_results_die_with_the_file_that_they_were_read_from(tmp_path: Path, shop: Path):
    target = Target("sqlite", str(shop))
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.put(target, "SELECT 1", LIMITS, Result(("a",), ((1,),)))
        with sqlite3.connect(shop) as db:
            db.execute("INSERT INTO item VALUES (3)")
        db.close()
        assert store.get(target, "SELECT 1", LIMITS) is None


def test_results_of_a_server_live_as_long_as_their_scope(tmp_path: Path):
    path, result = tmp_path / "r.sqlite", Result(("a",), ((1,),))
    with ResultStore(path) as store:
        store.put(SERVER, "SELECT 1", LIMITS, result)
        assert store.get(SERVER, "SELECT 1", LIMITS) is None
    with ResultStore(path, "evaluation 1") as store:
        store.put(SERVER, "SELECT 1", LIMITS, result)
    with ResultStore(path, "evaluation 2") as store:
        assert store.get(SERVER, "SELECT 1", LIMITS) is None
    with ResultStore(path, "evaluation 1") as store:
        assert store.get(SERVER, "SELECT 1", LIMITS) == result
        store.forget_scope()
        assert store.get(SERVER, "SELECT 1", LIMITS) is None
    assert b"secret" not in path.read_bytes()


def test_a_store_is_data_and_never_code(tmp_path: Path, shop: Path):
    target, path = Target("sqlite", str(shop)), tmp_path / "r.sqlite"
    with ResultStore(path) as store:
        store.put(target, "SELECT 1", LIMITS, Result(("a",), ((1,),)))
    harm = zlib.compress(pickle.dumps(print))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE result SET value = ?", (harm,))
    db.close()
    with ResultStore(path) as store, pytest.raises(DatabaseError, match=r"does not hold builtins\.print"):
        store.get(target, "SELECT 1", LIMITS)


def test_a_file_that_is_no_store_is_named_and_kept(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than a header of one " * 4)
    with pytest.raises(DatabaseError, match=r"notes\.txt.*cannot be used"):
        ResultStore(path)
    assert path.read_text().startswith("not a database")


def test_somebody_s_database_is_no_store_and_stays_as_it_is(shop: Path):
    before = shop.read_bytes()
    with pytest.raises(DatabaseError, match=r"shop\.sqlite.*another database"):
        ResultStore(shop)
    assert shop.read_bytes() == before


def test_the_oldest_results_go_when_the_file_is_too_large(tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch):
    target = Target("sqlite", str(shop))
    rows = tuple((f"{i * 7919 % 104729:x}{i}",) for i in range(300))
    with ResultStore(tmp_path / "r.sqlite") as store:
        for i in range(1200):
            store.put(target, f"SELECT {i}", LIMITS, Result(("a",), rows))
        monkeypatch.setattr(result_store, "MAX_BYTES", 1_000_000)
    assert (tmp_path / "r.sqlite").stat().st_size <= 1_000_000
    with ResultStore(tmp_path / "r.sqlite") as store:
        assert store.get(target, "SELECT 0", LIMITS) is None
        assert store.get(target, "SELECT 1199", LIMITS) is not None


def test_an_executor_takes_stored_results_over_and_runs_the_rest(tmp_path: Path, shop: Path):
    connections = DatabaseConnections.embedded({"shop": shop})
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    first = [("shop", "SELECT id FROM item"), ("shop", "SELEC"), ("shop", endless)]
    with (
        ResultStore(tmp_path / "r.sqlite") as store,
        Executor(connections, timeout_s=0.3, workers=1, store=store) as one,
    ):
        before = one.run_many(first)
    with (
        ResultStore(tmp_path / "r.sqlite") as store,
        Executor(connections, timeout_s=0.3, workers=1, store=store) as two,
    ):
        assert two.run_many(first[:2]) == before[:2]
        assert two._pool is None  # nothing had to run
        assert store.hits == 2
        started = time.monotonic()
        assert two.run_many(first)[2].failure == before[2].failure  # a time-out is tried again
        assert time.monotonic() - started > 0.3
