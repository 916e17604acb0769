"""Intervals and tests against values computed elsewhere."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askguru_lib.databases.executor import Result
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.metrics import Proportion, mcnemar, paired_bootstrap, pass_at_k, valid_sql_rate, wilson

# R: prop.test(x, n, correct = FALSE)$conf.int
WILSON = [
    (145, 200, 0.659317, 0.782203),
    (1, 10, 0.017876, 0.404150),
    (0, 10, 0.0, 0.277533),
    (10, 10, 0.722467, 1.0),
    (0, 0, 0.0, 1.0),
]


@pytest.mark.parametrize(("successes", "n", "low", "high"), WILSON)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(pair: tuple[int, int]) -> None:
    low, high = wilson(*pair)
    assert 0 <= low <= high <= 1
    if pair[1]:
        assert low <= pair[0] / pair[1] <= high


def test_impossible_counts() -> None:
    with pytest.raises(EvaluationError):
        wilson(3, 2)


def test_proportion_reads_well() -> None:
    assert repr(Proportion(145, 200)) == "72.5 % [65.9, 78.2] (145/200)"
    assert repr(Proportion(0, 0)) == "– (0/0)"
    assert Proportion(0, 0).to_dict()["value"] is None
    assert math.isnan(Proportion(0, 0).value)


def test_paired_bootstrap() -> None:
    better = [1.0] * 70 + [0.0] * 30
    worse = [1.0] * 50 + [0.0] * 50
    low, high = paired_bootstrap(worse, better, 1000, 1)
    assert 0.1 < low < 0.2 < high < 0.3
    assert paired_bootstrap(worse, better, 1000, 1) == (low, high)
    assert paired_bootstrap(worse, worse, 200, 1) == (0.0, 0.0)
    with pytest.raises(EvaluationError):
        paired_bootstrap([1], [1, 0])


def pairs(both: int, only_a: int, only_b: int, none: int) -> tuple[list[bool], list[bool]]:
    a = [True] * (both + only_a) + [False] * (only_b + none)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * none
    return a, b


# binomial tests by hand: 2 * P(X <= min) for X ~ B(n, 1/2)
MCNEMAR = [((5, 0, 0, 5), 1.0), ((0, 1, 1, 0), 1.0), ((9, 0, 6, 2), 2 / 64), ((9, 2, 8, 0), 2 * 56 / 1024)]


@pytest.mark.parametrize(("table", "p"), MCNEMAR)
def test_mcnemar(table: tuple[int, int, int, int], p: float) -> None:
    a, b = pairs(*table)
    assert mcnemar(a, b) == pytest.approx(p)
    assert mcnemar(b, a) == pytest.approx(p)


def test_mcnemar_of_many_items() -> None:
    assert 0 < mcnemar(*pairs(0, 900, 1100, 0)) < 1e-4


@pytest.mark.parametrize(("n", "c", "k"), [(5, 0, 3), (5, 2, 1), (5, 2, 3), (5, 5, 1), (6, 3, 4)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n: int, c: int, k: int) -> None:
    draws = list(combinations([i < c for i in range(n)], k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_needs_enough_candidates() -> None:
    with pytest.raises(EvaluationError):
        pass_at_k(3, 1, 5)


def test_reference_defect_timeout_is_valid_sql() -> None:
    results = [Result(("a",), ((1,),)), Result.failed("timeout", "stopped"), Result.failed("syntax", "near")]
    assert valid_sql_rate(results) == Proportion(1, 3)
