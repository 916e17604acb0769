"""Test-suite accuracy: a prediction must agree with the gold on every database of a suite, not on one alone.

A suite is a folder with several databases of one schema and other contents: Spider's (``<folder>/<db_name>/*.sqlite``),
or the variants that ``perturb`` makes (``<folder>/<db_name>.*.sqlite``). R. Zhong, T. Yu and D. Klein, "Semantic
evaluation for text-to-SQL with distilled test suites", EMNLP 2020.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from askguru_lib.config import RunConfig
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.evaluate import Evaluation
from askguru_lib.evaluation.matching import test_suite, without_distinct
from askguru_lib.evaluation.metrics import Proportion


@dataclass(frozen=True)
class SuiteScore:
    """Test-suite accuracy of an evaluation's items.

    Attributes:
        passed: by item id, whether the prediction agreed on every database of the suite.
        databases: by name, how many databases the suite has.
        excluded: items whose gold fails on a database of the suite, with the message; they are charged to nobody.
    """

    passed: Mapping[str, bool]
    databases: Mapping[str, int]
    excluded: Mapping[str, str]
    confidence: float = 0.95

    @property
    def accuracy(self) -> Proportion:
        return Proportion(sum(self.passed.values()), len(self.passed), self.confidence)

    def __repr__(self) -> str:
        left_out = f", {len(self.excluded)} excluded" if self.excluded else ""
        return f"SuiteScore({self.accuracy!r}{left_out})"


def suite_databases(folder: str | Path, db_name: str) -> list[Path]:
    """The databases of one schema in a suite's folder, in the order of their names.

    Raises:
        EvaluationError: there is none.
    """
    places = (Path(folder) / db_name, "*.sqlite"), (Path(folder), f"{db_name}.*.sqlite")
    if found := sorted(path for place, pattern in places for path in place.glob(pattern)):
        return found
    raise EvaluationError(
        f"no database of '{db_name}' in the suite",
        where=str(folder),
        hint=f"a suite holds {db_name}/*.sqlite (Spider) or {db_name}.*.sqlite (variants)",
    )


def suite_accuracy(
    scores: Evaluation,
    folder: str | Path,
    *,
    config: RunConfig | None = None,
    keep_distinct: bool = False,
    desc: str | None = None,
) -> SuiteScore:
    """Run the predictions and golds of an evaluation on every database of a suite.

    Args:
        scores: which predictions and golds; a missing prediction is wrong.
        folder: the suite.
        keep_distinct: by default DISTINCT is taken out of both queries, as the original script does.
        desc: label of a progress bar.

    Raises:
        EvaluationError: the suite has no database for an item.
    """
    config = config or RunConfig()
    names = dict.fromkeys(item["db_name"] for item in scores.items)
    suite = {name: suite_databases(folder, name) for name in names}
    if not suite:
        return SuiteScore({}, {}, {}, scores.confidence)
    files: dict[str, str | Path] = {f"{n}/{k}": path for n, paths in suite.items() for k, path in enumerate(paths)}
    plain = (lambda sql: sql) if keep_distinct else without_distinct
    passed: dict[str, bool] = {}
    excluded: dict[str, str] = {}
    with (
        Executor.from_config(DatabaseConnections.embedded(files), config.execution) as executor,
        tqdm(total=len(scores.items), desc=desc, disable=desc is None, file=sys.stderr, unit="item") as bar,
    ):
        for item in scores.items:
            places = [f"{item['db_name']}/{k}" for k in range(len(suite[item["db_name"]]))]
            asked = [(place, plain(item[which] or "")) for which in ("sql_gold", "sql_pred") for place in places]
            results = executor.run_many(asked)
            golds, preds = results[: len(places)], results[len(places) :]
            if failure := next((g.failure for g in golds if g.failure), None):
                excluded[item["id"]] = failure.message
            else:
                passed[item["id"]] = test_suite(preds, golds, item["sql_gold"])
            bar.update()
    return SuiteScore(passed, {n: len(paths) for n, paths in suite.items()}, excluded, scores.confidence)
