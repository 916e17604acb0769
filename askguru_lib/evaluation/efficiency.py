"""R-VES: does a right query also run in about the time of the gold?

BIRD's reward-based valid efficiency score, from ``evaluation_ves.py`` of its mini-dev repository. A time is a property
of a machine and its load: compare scores of one machine only, and let nothing else run.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from statistics import fmean, pstdev

from tqdm import tqdm

from askguru_lib.databases.executor import Executor, Failure
from askguru_lib.evaluation.evaluate import Evaluation

RUNS = 100
"""Timed runs per query."""

_REWARDS = ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5))


def reward(ratio: float) -> float:
    """The reward of a right query that takes ``1 / ratio`` of the gold's time."""
    return next((r for least, r in _REWARDS if ratio >= least), 0.25)


def time_ratio(gold_ms: Sequence[float], pred_ms: Sequence[float]) -> float:
    """Mean of gold time / predicted time over runs, without those more than three standard deviations from it."""
    ratios = [g / max(p, 1e-9) for g, p in zip(gold_ms, pred_ms, strict=True)]
    mean, spread = fmean(ratios), pstdev(ratios)
    return fmean([r for r in ratios if abs(r - mean) <= 3 * spread] or ratios)


def r_ves(
    scores: Evaluation, executor: Executor, *, runs: int = RUNS, comparator: str = "bird_ex", desc: str | None = None
) -> tuple[float, dict[str, float]]:
    """Mean of the square root of the rewards, times 100, and the time ratio of every right prediction by its id.

    Args:
        scores: an evaluation; what ``comparator`` calls wrong gets no reward.
        executor: on the databases of that evaluation.
        runs: timed runs of each query.
        comparator: ``bird_ex`` as BIRD has it, or ``ex``.
        desc: label of a progress bar.
    """
    right = [item for item in scores.items if item[comparator]]
    ratios: dict[str, float] = {}
    for item in tqdm(right, desc=desc, disable=desc is None, file=sys.stderr, unit="query"):
        times = executor.time(item["db_name"], [item["sql_gold"], item["sql_pred"]], runs)
        ratios[item["id"]] = 0.0 if isinstance(times, Failure) else time_ratio(*times)
    total = sum(math.sqrt(reward(ratio)) for ratio in ratios.values() if ratio)
    return 100 * total / len(scores.items) if scores.items else 0.0, ratios
