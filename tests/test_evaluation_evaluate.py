"""The evaluation of predictions: who is charged with what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor, Failure
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.evaluate import Evaluation, check_gold, compare, evaluate
from askguru_lib.evaluation.taxonomy import error_kind

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    path = tmp_path_factory.mktemp("evaluate") / "shop.sqlite"
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL);"
        "INSERT INTO item VALUES (1, 'nail', 0.1), (2, 'saw', 20.0), (3, 'axe', 20.0);"
    )
    db.close()
    with Executor(DatabaseConnections.embedded({"shop": path}), timeout_s=0.4, workers=1) as executor:
        yield executor


def record(name: str, sql: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "db_name": "shop", "question": name, "sql": sql, "difficulty": "simple", **more}


TEST_SET = [
    record("names", "SELECT name FROM item"),
    record("cheap", "SELECT name FROM item WHERE price < 1", difficulty="moderate"),
    record("dearest", "SELECT name FROM item ORDER BY price DESC"),
    record("count", "SELECT COUNT(*) FROM item", difficulty="challenging"),
]


def predictions(**sql: Any) -> list[dict[str, Any]]:
    return [{"id": name, "sql": text} for name, text in sql.items()]


def gold_as_predictions() -> list[dict[str, Any]]:
    return [{"id": r["id"], "sql": r["sql"]} for r in TEST_SET]


def test_gold_as_prediction_is_one(executor: Executor) -> None:
    evaluation = evaluate(gold_as_predictions(), TEST_SET, executor)
    assert (evaluation.ex.successes, evaluation.ex.n) == (4, 4)
    assert evaluation.bird_ex.value == evaluation.soft_f1 == evaluation.valid_sql.value == 1
    assert evaluation.excluded == check_gold(TEST_SET, executor) == []


def test_items_say_what_went_wrong(executor: Executor) -> None:
    answers = predictions(
        names="SELECT nam FROM item", cheap="SELECT name FROM item WHERE price < 99", dearest="SELEC", count=ENDLESS
    )
    evaluation = evaluate(answers, TEST_SET, executor)
    got = {i["id"]: (i["ex"], i["failure_kind"], i["error_kind"]) for i in evaluation.items}
    assert got == {
        "names": (False, "unknown_name", "unknown_name"),
        "cheap": (False, None, "value"),
        "dearest": (False, "syntax", "syntax"),
        "count": (False, "timeout", "nesting"),
    }
    assert evaluation.to_report()["failures"] == {"unknown_name": 1, "syntax": 1, "timeout": 1}


def test_reference_defect_timeout_counts_as_executable_in_report(executor: Executor) -> None:
    evaluation = evaluate(predictions(count=ENDLESS), TEST_SET[3:], executor)
    assert evaluation.valid_sql.successes == 0


def test_reference_defect_failing_gold_charged_to_the_prediction(executor: Executor) -> None:
    bad = [
        record("broken", "SELECT nope FROM item"),
        record("slow", ENDLESS),
        record("elsewhere", "SELECT 1", db_name="mall"),
    ]
    answers = gold_as_predictions() + predictions(broken="SELECT 1", slow="SELECT 1", elsewhere="SELECT 1")
    evaluation = evaluate(answers, [*TEST_SET, *bad], executor)
    assert (evaluation.ex.successes, evaluation.ex.n) == (4, 4)
    assert [(d["id"], d["kind"]) for d in evaluation.excluded] == [
        ("broken", "unknown_name"),
        ("slow", "timeout"),
        ("elsewhere", "unknown_database"),
    ]
    assert check_gold([*TEST_SET, *bad], executor) == evaluation.excluded


def test_reference_defect_lost_items_shrink_the_denominator(executor: Executor) -> None:
    answers = predictions(names="SELECT name FROM item", cheap=None, dearest="  ")
    evaluation = evaluate(answers, TEST_SET, executor)
    assert (evaluation.ex.successes, evaluation.ex.n) == (1, 4)
    assert [i["failure_kind"] for i in evaluation.items] == [None, "missing", "missing", "missing"]


def test_reference_defect_predicted_drop_persists(executor: Executor) -> None:
    evaluation = evaluate(predictions(names="DROP TABLE item"), TEST_SET, executor)
    assert evaluation.items[0]["failure_kind"] == "denied"
    assert check_gold(TEST_SET, executor) == []


def test_code_fences_are_wrong_not_fatal(executor: Executor) -> None:
    evaluation = evaluate(predictions(names="```sql\nSELECT name FROM item\n```"), TEST_SET, executor)
    assert evaluation.items[0]["failure_kind"] == "syntax"


def test_ties_of_a_hidden_sort_key_may_come_in_any_order(executor: Executor) -> None:
    other_tie = "SELECT name FROM item ORDER BY price DESC, name ASC"
    wrong = "SELECT name FROM item ORDER BY price ASC"
    assert evaluate(predictions(dearest=other_tie), TEST_SET[2:3], executor).ex.successes == 1
    assert evaluate(predictions(dearest=wrong), TEST_SET[2:3], executor).ex.successes == 0


def test_ids_must_pair_up(executor: Executor) -> None:
    with pytest.raises(EvaluationError, match="no item of the test set: stranger"):
        evaluate(predictions(stranger="SELECT 1"), TEST_SET, executor)
    with pytest.raises(EvaluationError, match="more than once: names"):
        evaluate(gold_as_predictions() + predictions(names="SELECT 1"), TEST_SET, executor)
    with pytest.raises(EvaluationError, match="test set, record 0: a record without 'id'"):
        evaluate([], [{"db_name": "shop", "sql": "SELECT 1"}], executor)


def test_empty_test_set(executor: Executor) -> None:
    evaluation = evaluate([], [], executor)
    assert evaluation.ex.n == 0
    assert evaluation.soft_f1 is None
    assert evaluation.by("difficulty").empty


def test_by_and_save(executor: Executor, tmp_path: Path) -> None:
    answers = predictions(names="SELECT name FROM item", dearest="SELECT 1")
    evaluation = evaluate(answers, TEST_SET, executor)
    table = evaluation.by("difficulty")
    assert table["n"].to_dict() == {"simple": 2, "moderate": 1, "challenging": 1}
    assert table.loc["simple", "ex"] == 0.5
    again = Evaluation.load(evaluation.save(tmp_path / "report.json"))
    assert again == evaluation
    with pytest.raises(EvaluationError, match="not a saved evaluation"):
        Evaluation.load(tmp_path / "nothing.json")


def test_compare(executor: Executor) -> None:
    worse = evaluate(predictions(names="SELECT name FROM item"), TEST_SET, executor)
    better = evaluate(gold_as_predictions(), TEST_SET, executor)
    difference = compare(worse, better, samples=200)
    assert difference.value == 0.75
    assert 0 <= difference.low <= 0.75 <= difference.high <= 1
    assert difference.p_value == pytest.approx(0.25)
    assert repr(difference).startswith("+75.0 points")
    with pytest.raises(EvaluationError, match="only one of the two"):
        compare(worse, evaluate([], TEST_SET[:2], executor))


GOLD = "SELECT a FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3"
KINDS = [
    ("SELECT FROM WHERE", "syntax"),
    ("SELECT a FROM v JOIN u ON v.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "table"),
    ("SELECT a FROM t JOIN u ON t.id = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "join"),
    ("SELECT a FROM t LEFT JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "join"),
    ("SELECT MAX(a) FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "aggregate"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY c ORDER BY a LIMIT 3", "grouping"),
    ("SELECT DISTINCT a FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "grouping"),
    ("SELECT c FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "column"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE c = 'x' GROUP BY a ORDER BY a LIMIT 3", "column"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE b = 'y' GROUP BY a ORDER BY a LIMIT 3", "value"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE b > 'x' GROUP BY a ORDER BY a LIMIT 3", "value"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a DESC LIMIT 3", "order"),
    ("SELECT a FROM t JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 1", "order"),
    ("SELECT a FROM (SELECT * FROM t) JOIN u ON t.k = u.k WHERE b = 'x' GROUP BY a ORDER BY a LIMIT 3", "nesting"),
    (GOLD, "other"),
]


@pytest.mark.parametrize(("pred", "kind"), KINDS)
def test_error_kinds(pred: str, kind: str) -> None:
    assert error_kind(pred, GOLD) == kind


def test_the_failure_names_the_error() -> None:
    assert error_kind(GOLD, GOLD, Failure("unknown_name", "no such column: a")) == "unknown_name"
    assert error_kind("", GOLD, Failure("syntax", "no SQL")) == "syntax"


def test_items_count_under_each_of_their_features(executor: Executor) -> None:
    found = evaluate(predictions(names="SELECT name FROM item", count="SELECT 1"), TEST_SET, executor).by("features")
    assert found["n"].to_dict() == {"one table": 4, "aggregate": 1}
    assert found["ex"].to_dict() == {"one table": 0.25, "aggregate": 0.0}
