"""The ladder: rungs, the oracle's mark, and what one rung adds to the one below."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from askguru_lib import plots
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.evaluation.evaluate import Evaluation, evaluate
from askguru_lib.evaluation.ladder import RUNGS, ladder_table, oracle, steps_table

TEST_SET = [
    {"id": "one", "db_name": "shop", "question": "?", "sql": "SELECT 1"},
    {"id": "two", "db_name": "shop", "question": "?", "sql": "SELECT 2"},
    {"id": "three", "db_name": "shop", "question": "?", "sql": "SELECT 3"},
]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    path = tmp_path_factory.mktemp("ladder") / "shop.sqlite"
    sqlite3.connect(path).close()
    with Executor(DatabaseConnections.embedded({"shop": path}), workers=1) as executor:
        yield executor


def candidates(**sql: list[str]) -> list[dict[str, Any]]:
    return [{"id": name, "candidates": [{"sql": s} for s in found]} for name, found in sql.items()]


def answers(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": r["id"], "sql": f"SELECT {n}"} for r, n in zip(TEST_SET, numbers, strict=True)]


def test_the_oracle_is_right_where_any_candidate_is(executor: Executor) -> None:
    lines = candidates(one=["SELECT 1", "SELECT 9"], two=["nonsense", "SELECT 2"], three=["SELECT 9", "SELECT 8"])
    found = oracle(lines, TEST_SET, executor)
    assert (found.ex.successes, found.ex.n) == (2, 3)
    assert [i["sql_pred"] for i in found.items] == ["SELECT 1", "SELECT 2", "SELECT 9"]
    assert found.items[1]["error_kind"] is None
    assert found.items[1]["failure_kind"] is None


def test_the_oracle_counts_questions_with_fewer_candidates_or_none(executor: Executor) -> None:
    found = oracle(candidates(one=["SELECT 1"], two=["SELECT 9", "SELECT 2"]), TEST_SET, executor)
    assert [i["ex"] for i in found.items] == [True, True, False]
    assert oracle([], TEST_SET, executor).ex.successes == 0


def test_the_oracle_is_never_below_the_first_candidate(executor: Executor) -> None:
    lines = candidates(one=["SELECT 9", "SELECT 1"], two=["SELECT 2", "SELECT 9"], three=["SELECT 3", "x"])
    first = evaluate([{"id": x["id"], "sql": x["candidates"][0]["sql"]} for x in lines], TEST_SET, executor)
    best = oracle(lines, TEST_SET, executor)
    assert all(b["ex"] >= f["ex"] for f, b in zip(first.items, best.items, strict=True))


def test_a_defective_gold_is_excluded_from_the_oracle_too(executor: Executor) -> None:
    broken = [*TEST_SET, {"id": "bad", "db_name": "shop", "question": "?", "sql": "SELEC"}]
    found = oracle(candidates(one=["SELECT 1"]), broken, executor)
    assert found.ex.n == 3
    assert [e["id"] for e in found.excluded] == ["bad"]


@pytest.fixture(scope="module")
def scores(executor: Executor) -> dict[tuple[str, str], Evaluation]:
    given = {"base": answers(9, 2, 9), "lora": answers(1, 9, 3), "critic": answers(1, 2, 3)}
    return {("mine", rung): evaluate(lines, TEST_SET, executor) for rung, lines in given.items()}


def test_the_table_keeps_order_and_numbers_and_can_be_drawn(scores: dict[tuple[str, str], Evaluation]) -> None:
    table = ladder_table(scores)
    assert list(table["rung"]) == ["base", "lora", "critic"]
    assert list(table["value"]) == pytest.approx([1 / 3, 2 / 3, 1])
    assert (table["low"] < table["value"]).all()
    assert (table["n"] == 3).all()
    assert len(plots.ladder(table).axes) == 1


def test_a_step_counts_what_it_gained_and_what_it_lost(scores: dict[tuple[str, str], Evaluation]) -> None:
    steps = steps_table(scores, samples=100)
    assert list(zip(steps["below"], steps["rung"], strict=True)) == [("base", "lora"), ("lora", "critic")]
    assert list(zip(steps["gained"], steps["lost"], strict=True)) == [(2, 1), (1, 0)]
    assert list(steps["value"]) == pytest.approx([1 / 3, 1 / 3])
    assert ((steps["gained"] - steps["lost"]) / steps["n"]).tolist() == pytest.approx(steps["value"].tolist())


def test_empty_tables_have_their_columns() -> None:
    assert len(ladder_table({})) == len(steps_table({})) == 0
    assert "value" in ladder_table({})
    assert "p" in steps_table({})


def test_rungs_climb_by_chapter_and_have_files_of_their_own() -> None:
    assert [r.chapter for r in RUNGS] == sorted(r.chapter for r in RUNGS)
    assert len({r.name for r in RUNGS}) == len({r.label for r in RUNGS}) == len(RUNGS)
    assert not any(word in r.label for r in RUNGS for word in ("oracle", "nearest")), (
        "plots.ladder would take it for a mark"
    )
