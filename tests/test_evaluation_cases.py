"""The table of small results in comparator_cases.yaml: all four comparators answer as worked out there by hand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from askguru_lib.databases.executor import Result
from askguru_lib.evaluation.matching import bird_ex, ex, soft_f1
from askguru_lib.evaluation.matching import test_suite as suite


class Loader(yaml.SafeLoader):
    """YAML with the table's tags; truncated rows become ``(rows, True)``."""


Loader.add_constructor("!decimal", lambda loader, node: Decimal(loader.construct_scalar(node)))
Loader.add_constructor("!hex", lambda loader, node: bytes.fromhex(loader.construct_scalar(node)))
Loader.add_constructor(
    "!failed", lambda loader, node: Result.failed(loader.construct_scalar(node), "as the table says")
)
Loader.add_constructor("!truncated", lambda loader, node: (loader.construct_sequence(node, deep=True), True))

CASES = yaml.load((Path(__file__).parent / "comparator_cases.yaml").read_text(encoding="utf-8"), Loader)


def result(rows: Any, columns: Sequence[str] | None) -> Result:
    if isinstance(rows, Result):
        return rows
    rows, truncated = rows if isinstance(rows, tuple) else (rows, False)
    columns = columns or [f"c{i}" for i in range(len(rows[0]))]
    assert all(len(row) == len(columns) for row in rows)
    return Result(tuple(columns), tuple(map(tuple, rows)), truncated=truncated)


def test_the_table_is_large_and_its_names_are_distinct() -> None:
    assert len(CASES) >= 200
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["why"] for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_comparators_answer_as_computed_by_hand(case: dict[str, Any]) -> None:
    sql, gold = case["sql"], result(case["gold"], case.get("columns"))
    pred = result(case["pred"], case.get("pred_columns") or (gold.columns if case["pred"] == [] else None))
    answers = {
        "ex": ex(pred, gold, sql),
        "bird_ex": bird_ex(pred, gold, sql),
        "soft_f1": soft_f1(pred, gold, sql),
        "test_suite": suite([pred], [gold], sql),
    }
    expected = case["expect"]
    assert answers == expected | {"soft_f1": pytest.approx(float(Fraction(str(expected["soft_f1"]))))}
