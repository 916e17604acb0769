"""The ladder: one technique per rung, and what a perfect choice among the candidates would reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from askguru_lib.config import RunConfig
from askguru_lib.databases.executor import Executor
from askguru_lib.evaluation.evaluate import Evaluation, compare, evaluate

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Rung:
    """One technique on top of those below it.

    Attributes:
        name: of its files: ``predictions/<set>/<name>.jsonl`` and ``reports/<set>/<name>.json``.
        label: what figures and tables call it.
        chapter: the chapter that makes its predictions.
    """

    name: str
    label: str
    chapter: int


RUNGS = (
    Rung("base", "base model", 7),
    Rung("lora", "+ LoRA", 7),
    Rung("constrained", "+ constrained decoding", 10),
    Rung("refined", "+ self-refinement", 12),
    Rung("majority", "+ majority vote", 12),
    Rung("critic", "+ critic", 12),
)
"""In climbing order."""


def oracle(
    lines: Sequence[Record],
    test_set: Sequence[Record],
    executor: Executor,
    *,
    config: RunConfig | None = None,
    desc: str | None = None,
) -> Evaluation:
    """Score a choice that knows the gold: a question is right if one of its candidates is (pass@k for all ``k``).

    Args:
        lines: a file of candidates: ``{"id", "candidates": [{"sql", …}, …]}`` per question.
        test_set: processed records with ``id``.
        config: gives the confidence of the intervals.
        desc: label of the progress bars.

    Returns:
        Per question the item of the first right candidate, or of the first candidate if none is right.
    """
    most = max((len(line["candidates"]) for line in lines), default=1)
    places = [
        [{"id": line["id"], "sql": line["candidates"][k]["sql"]} for line in lines if k < len(line["candidates"])]
        for k in range(most)
    ]
    scored = [evaluate(place, test_set, executor, config=config, desc=desc) for place in places]
    items = [next((i for i in same if i["ex"]), same[0]) for same in zip(*(e.items for e in scored), strict=True)]
    return Evaluation(items, scored[0].excluded, scored[0].confidence)


def ladder_table(scores: Mapping[tuple[str, str], Evaluation]) -> pd.DataFrame:
    """One row per test set and rung, in the order given; what :func:`askguru_lib.plots.ladder` draws.

    Args:
        scores: evaluations by names of test set and rung, as they are to be shown.

    Returns:
        Columns ``set, rung, n, value, low, high`` of execution accuracy, and ``bird_ex, soft_f1, valid_sql``.
    """
    rows = [
        {
            "set": test_set,
            "rung": rung,
            "n": e.ex.n,
            "value": e.ex.value,
            "low": e.ex.low,
            "high": e.ex.high,
            "bird_ex": e.bird_ex.value,
            "soft_f1": e.soft_f1,
            "valid_sql": e.valid_sql.value,
        }
        for (test_set, rung), e in scores.items()
    ]
    columns = ["set", "rung", "n", "value", "low", "high", "bird_ex", "soft_f1", "valid_sql"]
    return pd.DataFrame(rows, columns=columns)


def steps_table(scores: Mapping[tuple[str, str], Evaluation], *, samples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """What each rung adds to the one below it, on the same questions.

    Args:
        scores: evaluations by names of test set and rung; rungs in climbing order.
        samples, seed: of the bootstrap.

    Returns:
        Columns ``set, below, rung, n, gained, lost, value, low, high, p``; ``gained`` questions became right and
        ``lost`` ones wrong, ``p`` is McNemar's.
    """
    rows = []
    for test_set in dict.fromkeys(name for name, _ in scores):
        mine = [(rung, e) for (name, rung), e in scores.items() if name == test_set]
        for (below, a), (rung, b) in pairwise(mine):
            step = compare(a, b, samples=samples, seed=seed)
            after = {i["id"]: i["ex"] for i in b.items}
            turned = [(i["ex"], after[i["id"]]) for i in a.items]
            rows.append(
                {
                    "set": test_set,
                    "below": below,
                    "rung": rung,
                    "n": step.n,
                    "gained": sum(now and not before for before, now in turned),
                    "lost": sum(before and not now for before, now in turned),
                    "value": step.value,
                    "low": step.low,
                    "high": step.high,
                    "p": step.p_value,
                }
            )
    columns = ["set", "below", "rung", "n", "gained", "lost", "value", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)
