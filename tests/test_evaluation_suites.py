"""Test-suite accuracy on folders of databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.evaluate import Evaluation
from askguru_lib.evaluation.suites import suite_accuracy, suite_databases


def database(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (a INTEGER)")
        db.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])
    db.close()


@pytest.fixture(params=["spider", "variants"])
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    names = ("shop/one", "shop/two") if request.param == "spider" else ("shop.0", "shop.1")
    database(tmp_path / f"{names[0]}.sqlite", 1, 2, 2)
    database(tmp_path / f"{names[1]}.sqlite", 3, 4)
    return tmp_path


def scores(*pairs: tuple[str, str | None]) -> Evaluation:
    items: list[dict[str, Any]] = [
        {"id": str(i), "db_name": "shop", "sql_gold": gold, "sql_pred": pred} for i, (gold, pred) in enumerate(pairs)
    ]
    return Evaluation(items)


def test_a_prediction_must_agree_on_every_database(suite: Path):
    pairs = [
        ("SELECT a FROM t", "SELECT a + 0 FROM t"),
        ("SELECT a FROM t WHERE a < 3", "SELECT a FROM t WHERE a < 9"),  # right on the first alone
        ("SELECT a FROM t", "SELECT DISTINCT a FROM t"),  # DISTINCT is taken out
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"),
        ("SELECT a FROM t", None),
        ("SELECT a FROM t", "SELEC"),
    ]
    found = suite_accuracy(scores(*pairs), suite)
    assert list(found.passed.values()) == [True, False, True, False, False, False]
    assert (found.accuracy.successes, found.accuracy.n) == (2, 6)
    assert found.databases == {"shop": 2}
    assert suite_accuracy(scores(*pairs), suite, keep_distinct=True).passed["2"] is False


def test_a_gold_that_fails_is_charged_to_nobody(suite: Path):
    found = suite_accuracy(scores(("SELECT nope FROM t", "SELECT 1"), ("SELECT a FROM t", "SELECT a FROM t")), suite)
    assert found.accuracy.n == found.accuracy.successes == 1
    assert "nope" in found.excluded["0"]
    assert repr(found).endswith("1 excluded)")


def test_no_items_and_no_databases(tmp_path: Path):
    assert suite_accuracy(scores(), tmp_path).accuracy.n == 0
    with pytest.raises(EvaluationError, match="no database of 'shop'"):
        suite_databases(tmp_path, "shop")
