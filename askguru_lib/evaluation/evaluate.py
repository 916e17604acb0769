"""Predictions and a test set in, an evaluation out: gold first, every item counted, every number with its interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from askguru_lib.config import RunConfig
from askguru_lib.data.features import FEATURES, sql_features
from askguru_lib.data.files import write_json
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.matching import bird_ex, ex, soft_f1, sort_keys, sort_keys_query
from askguru_lib.evaluation.metrics import Difference, Proportion, mcnemar, paired_bootstrap
from askguru_lib.evaluation.taxonomy import error_kind

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one system on one test set.

    Attributes:
        items: one dict per sound test item, in the test set's order: ``id, db_name, difficulty, question, sql_gold,
            sql_pred, features, ex, bird_ex, soft_f1, failure_kind, error_kind, message``. ``features`` are the gold's
            (see ``sql_features``); ``failure_kind`` is ``missing`` when there was no prediction, None when the
            statement ran; ``error_kind`` is None when ``ex`` holds.
        excluded: test items whose gold is defective; they are charged to nobody.
    """

    items: list[dict[str, Any]]
    excluded: list[dict[str, Any]] = field(default_factory=list)
    confidence: float = 0.95

    def _share(self, items: Sequence[Record], what: str) -> Proportion:
        return Proportion(sum(bool(i[what]) for i in items), len(items), self.confidence)

    @property
    def ex(self) -> Proportion:
        return self._share(self.items, "ex")

    @property
    def bird_ex(self) -> Proportion:
        return self._share(self.items, "bird_ex")

    @property
    def soft_f1(self) -> float | None:
        """Mean Soft-F1, None without items."""
        return _mean(i["soft_f1"] for i in self.items)

    @property
    def valid_sql(self) -> Proportion:
        """Share of items whose prediction ran; a time-out or a missing prediction did not."""
        return Proportion(sum(i["failure_kind"] is None for i in self.items), len(self.items), self.confidence)

    def __repr__(self) -> str:
        left_out = f", {len(self.excluded)} excluded" if self.excluded else ""
        return f"Evaluation(EX {self.ex!r}{left_out})"

    def by(self, name: str) -> pd.DataFrame:
        """One row per value of an item's field: ``n, ex, low, high, bird_ex, soft_f1, valid_sql``.

        Where the field is a list, as ``features`` is, an item counts in the row of each of its values.
        """
        groups: dict[Any, list[dict[str, Any]]] = {}
        for item in self.items:
            value = item.get(name)
            for one in value if isinstance(value, list) else [value]:
                groups.setdefault(one, []).append(item)
        rows = []
        for value, items in groups.items():
            part = Evaluation(items, confidence=self.confidence)
            rows.append(
                {
                    name: value,
                    "n": len(items),
                    "ex": part.ex.value,
                    "low": part.ex.low,
                    "high": part.ex.high,
                    "bird_ex": part.bird_ex.value,
                    "soft_f1": part.soft_f1,
                    "valid_sql": part.valid_sql.value,
                }
            )
        columns = [name, "n", "ex", "low", "high", "bird_ex", "soft_f1", "valid_sql"]
        return pd.DataFrame(rows, columns=columns).set_index(name)

    def to_report(self) -> dict[str, Any]:
        """The numbers, without the items."""
        return {
            "n": len(self.items),
            "confidence": self.confidence,
            "ex": self.ex.to_dict(),
            "bird_ex": self.bird_ex.to_dict(),
            "soft_f1": self.soft_f1,
            "valid_sql": self.valid_sql.to_dict(),
            "failures": dict(Counter(i["failure_kind"] for i in self.items if i["failure_kind"])),
            "errors": dict(Counter(i["error_kind"] for i in self.items if i["error_kind"])),
            "excluded": self.excluded,
        }

    def save(self, path: str | Path, **more: Any) -> Path:
        """Write report and items as one JSON file, with ``more`` numbers beside the report's own."""
        return write_json(path, {**self.to_report(), **more, "items": self.items})

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what ``save`` wrote.

        Raises:
            EvaluationError: the file is missing or is no evaluation.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(data["items"], data["excluded"], data["confidence"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise EvaluationError(f"not a saved evaluation ({e})", where=str(path), hint="run the evaluation") from e


def _mean(values: Iterable[float]) -> float | None:
    kept = list(values)
    return sum(kept) / len(kept) if kept else None


@dataclass(frozen=True)
class _Gold:
    """A test item's gold result, with its sort keys where the result does not show them."""

    record: Record
    result: Result
    keys: list[tuple[Any, ...]] | None
    dialect: str

    def ex(self, pred: Result) -> bool:
        return ex(pred, self.result, self.record["sql"], self.dialect, self.keys)


def check_gold(test_set: Sequence[Record], executor: Executor) -> list[dict[str, Any]]:
    """Score every gold as if it were a prediction.

    Returns:
        The defective items: ``id, db_name, sql, kind, message``; ``kind`` is an executor's failure kind,
        ``unknown_database``, or ``unequal_to_itself``. Empty means that gold scores 1.0.
    """
    return _run_gold(test_set, executor)[1]


def _run_gold(test_set: Sequence[Record], executor: Executor) -> tuple[list[_Gold], list[dict[str, Any]]]:
    known = set(executor.connections.db_ids)
    dialect = executor.connections.dialect
    runnable = [r for r in test_set if r["db_name"] in known]
    results = executor.run_many([(r["db_name"], r["sql"]) for r in runnable])
    extended = [sort_keys_query(r["sql"], dialect) if x.ok else None for r, x in zip(runnable, results, strict=True)]
    asked = [(r["db_name"], sql) for r, sql in zip(runnable, extended, strict=True) if sql]
    answers = iter(executor.run_many(asked))
    golds = {}
    for record, result, sql in zip(runnable, results, extended, strict=True):
        golds[record["id"]] = _Gold(record, result, sort_keys(result, next(answers)) if sql else None, dialect)
    sound: list[_Gold] = []
    defects: list[dict[str, Any]] = []
    for record in test_set:
        gold = golds.get(record["id"])
        if gold is None:
            kind, message = "unknown_database", f"no database '{record['db_name']}' in the connections"
        elif gold.result.failure:
            kind, message = gold.result.failure.kind, gold.result.failure.message
        elif not gold.ex(gold.result):
            kind, message = "unequal_to_itself", "the gold does not match itself"
        else:
            sound.append(gold)
            continue
        defects.append(
            {
                "id": record["id"],
                "db_name": record["db_name"],
                "sql": record["sql"],
                "kind": kind,
                "message": message,
            }
        )
    return sound, defects


def evaluate(
    predictions: Sequence[Record],
    test_set: Sequence[Record],
    executor: Executor,
    *,
    config: RunConfig | None = None,
    desc: str | None = None,
) -> Evaluation:
    """Score predictions against a test set.

    Gold is scored first: items whose gold does not run are excluded and listed. An item without a prediction is wrong.

    Args:
        predictions: ``{"id", "sql", …}``, at most one per id.
        test_set: processed records with a unique ``id``, ``db_name`` and the gold ``sql``.
        config: gives the confidence of the intervals.
        desc: label of a progress bar.

    Raises:
        EvaluationError: an id stands twice, or a prediction's id is not in the test set.
    """
    _unique(test_set, "test set")
    _unique(predictions, "predictions")
    strangers = {str(p["id"]) for p in predictions} - {str(r["id"]) for r in test_set}
    if strangers:
        raise EvaluationError(
            f"{len(strangers)} predictions are for no item of the test set: {', '.join(sorted(strangers)[:5])}",
            where="predictions",
            hint="evaluate them against the test set they were made from",
        )
    sound, excluded = _run_gold(test_set, executor)
    answers = {str(p["id"]): p.get("sql") for p in predictions}
    given = [g for g in sound if _is_sql(answers.get(str(g.record["id"])))]
    results = executor.run_many([(g.record["db_name"], str(answers[str(g.record["id"])])) for g in given], desc)
    found = {str(g.record["id"]): r for g, r in zip(given, results, strict=True)}
    items = [_item(g, answers.get(str(g.record["id"])), found.get(str(g.record["id"]))) for g in sound]
    return Evaluation(items, excluded, (config or RunConfig()).evaluation.confidence)


def _is_sql(sql: Any) -> bool:
    return isinstance(sql, str) and bool(sql.strip())


def _item(gold: _Gold, sql: Any, result: Result | None) -> dict[str, Any]:
    record = gold.record
    item = {
        "id": record["id"],
        "db_name": record["db_name"],
        "difficulty": record.get("difficulty"),
        "source": record.get("source"),
        "question": record.get("question"),
        "sql_gold": record["sql"],
        "sql_pred": sql if _is_sql(sql) else None,
        "features": sorted(sql_features(record["sql"], gold.dialect), key=FEATURES.index),
    }
    if result is None:
        return {
            **item,
            "ex": False,
            "bird_ex": False,
            "soft_f1": 0.0,
            "failure_kind": "missing",
            "error_kind": "missing",
            "message": "no prediction",
        }
    right = gold.ex(result)
    failure = result.failure
    return {
        **item,
        "ex": right,
        "bird_ex": bird_ex(result, gold.result),
        "soft_f1": soft_f1(result, gold.result),
        "failure_kind": failure.kind if failure else None,
        "error_kind": None if right else error_kind(sql, record["sql"], failure, gold.dialect),
        "message": failure.message if failure else None,
    }


def _unique(records: Sequence[Record], what: str) -> None:
    for i, record in enumerate(records):
        if record.get("id") is None:
            raise EvaluationError("a record without 'id'", where=f"{what}, record {i}", hint="give every record an id")
    twice = [k for k, n in Counter(str(r["id"]) for r in records).items() if n > 1]
    if twice:
        shown = ", ".join(twice[:5])
        raise EvaluationError(f"ids stand more than once: {shown}", where=what, hint="give every record its own id")


def compare(a: Evaluation, b: Evaluation, *, samples: int = 2000, seed: int = 0) -> Difference:
    """EX of ``b`` minus EX of ``a`` on the same items.

    Raises:
        EvaluationError: the two were not scored on the same items.
    """
    left = {i["id"]: bool(i["ex"]) for i in a.items}
    right = {i["id"]: bool(i["ex"]) for i in b.items}
    if set(left) != set(right):
        raise EvaluationError(
            f"{len(set(left) ^ set(right))} items stand in only one of the two evaluations",
            hint="compare evaluations of one test set",
        )
    before, after = list(left.values()), [right[k] for k in left]
    low, high = paired_bootstrap(before, after, samples, seed, a.confidence)
    value = (sum(after) - sum(before)) / len(after)
    return Difference(value, low, high, mcnemar(before, after), len(after))
