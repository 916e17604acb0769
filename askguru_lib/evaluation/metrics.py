"""Shares with intervals, differences with tests: what stands behind every number that is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from askguru_lib.databases.executor import Result
from askguru_lib.errors import EvaluationError


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, ``(low, high)`` in 0-1; ``(0, 1)`` when there are no trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    if not 0 <= successes <= n:
        raise EvaluationError(f"{successes} successes in {n} trials", hint="successes lie between 0 and n")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class Proportion:
    """A share of successes with its Wilson interval."""

    successes: int
    n: int
    confidence: float = 0.95

    @property
    def value(self) -> float:
        return self.successes / self.n if self.n else math.nan

    @property
    def low(self) -> float:
        return wilson(self.successes, self.n, self.confidence)[0]

    @property
    def high(self) -> float:
        return wilson(self.successes, self.n, self.confidence)[1]

    def __repr__(self) -> str:
        if not self.n:
            return "– (0/0)"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] ({self.successes}/{self.n})"

    def to_dict(self) -> dict[str, Any]:
        value = self.value if self.n else None
        return {"value": value, "low": self.low, "high": self.high, "successes": self.successes, "n": self.n}


@dataclass(frozen=True)
class Difference:
    """Mean of ``b`` minus mean of ``a`` on the same items, with a bootstrap interval and McNemar's p."""

    value: float
    low: float
    high: float
    p_value: float
    n: int

    def __repr__(self) -> str:
        return (
            f"{100 * self.value:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}], "
            f"p = {self.p_value:.3g} (n = {self.n})"
        )


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], samples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of ``mean(b) - mean(a)`` when items are drawn again with replacement.

    Args:
        a, b: scores of two systems on the same items, in the same order.

    Raises:
        EvaluationError: different lengths, or no items.
    """
    if len(a) != len(b) or not len(a):
        raise EvaluationError(f"{len(a)} and {len(b)} scores cannot be paired", hint="score both on the same items")
    gaps = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.array([gaps[rng.integers(0, len(gaps), len(gaps))].mean() for _ in range(samples)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Exact two-sided p-value of McNemar's test: items that only one of two systems gets right.

    Q. McNemar, Psychometrika 1947; the exact form is a binomial test of the discordant pairs against one half.
    """
    if len(a) != len(b):
        raise EvaluationError(f"{len(a)} and {len(b)} answers cannot be paired", hint="score both on the same items")
    only_a = sum(bool(x) and not y for x, y in zip(a, b, strict=True))
    only_b = sum(bool(y) and not x for x, y in zip(a, b, strict=True))
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, (2 * tail) / (1 << n))


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that one of ``k`` candidates is right, from ``c`` right ones among ``n``.

    M. Chen et al., "Evaluating large language models trained on code", 2021, equation 1.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise EvaluationError(f"pass@{k} of {c} right among {n}", hint="needs 0 <= c <= n and 1 <= k <= n")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def valid_sql_rate(results: Sequence[Result], confidence: float = 0.95) -> Proportion:
    """Share of statements that ran; a time-out did not."""
    return Proportion(sum(r.ok for r in results), len(results), confidence)
