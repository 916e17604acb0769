"""R-VES: rewards by the time that a right query takes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor, Failure
from askguru_lib.evaluation.efficiency import r_ves, reward, time_ratio
from askguru_lib.evaluation.evaluate import evaluate


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (3.0, 1.25),
        (2.0, 1.25),
        (1.99, 1.0),
        (1.0, 1.0),
        (0.99, 0.75),
        (0.5, 0.75),
        (0.49, 0.5),
        (0.25, 0.5),
        (0.1, 0.25),
    ],
)
def test_rewards_are_those_of_bird(ratio: float, expected: float):
    assert reward(ratio) == expected


def test_the_ratio_leaves_outliers_out():
    gold, pred = [2.0] * 50, [1.0] * 49 + [0.001]
    assert time_ratio(gold, pred) == 2.0
    assert time_ratio([1.0], [4.0]) == 0.25


@pytest.fixture
def executor(tmp_path: Path):
    path = tmp_path / "t.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (a INTEGER)")
        db.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(300)])
    with Executor(DatabaseConnections.embedded({"t": path}), timeout_s=2, workers=1) as executor:
        yield executor


def test_every_run_is_timed_and_none_is_remembered(executor: Executor):
    executor.run("t", "SELECT SUM(a) FROM t")
    times = executor.time("t", ["SELECT SUM(a) FROM t", "SELECT COUNT(*) FROM t x, t y"], 20)
    assert not isinstance(times, Failure)
    assert [len(t) for t in times] == [20, 20]
    assert len(set(times[0])) > 1, "a memory would give one time twenty times"
    assert sum(times[1]) > sum(times[0])
    assert executor.time("t", ["SELECT nope FROM t"], 3) == Failure("unknown_name", "no such column: nope")


def test_slow_and_wrong_queries_earn_less(executor: Executor):
    gold = "SELECT COUNT(*) FROM t"
    slow = "SELECT COUNT(DISTINCT x.a) FROM t x, t y"
    test_set = [{"id": i, "db_name": "t", "question": "?", "sql": gold} for i in ("same", "slow", "wrong", "none")]
    answers = [{"id": "same", "sql": gold}, {"id": "slow", "sql": slow}, {"id": "wrong", "sql": "SELECT 1"}]
    score, ratios = r_ves(evaluate(answers, test_set, executor), executor, runs=15)
    assert set(ratios) == {"same", "slow"}
    assert ratios["slow"] < 0.25 < ratios["same"]
    low, high = (100 * (0.5 + same) / 4 for same in (0.5**0.5, 1.25**0.5))
    assert low <= score <= high
