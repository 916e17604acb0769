"""ex, bird_ex and soft_f1: each by its own definition."""

from __future__ import annotations

import datetime
import random
import sqlite3
import time
from collections import Counter
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askguru_lib.databases.executor import Result
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.matching import (
    bird_ex,
    ex,
    outer_order,
    soft_f1,
    sort_keys,
    sort_keys_query,
    without_distinct,
)
from askguru_lib.evaluation.matching import test_suite as suite

NAN = float("nan")
NO_ORDER = "SELECT a FROM t"


def result(*rows: tuple[Any, ...], columns: int | None = None, **more: Any) -> Result:
    width = columns if columns is not None else len(rows[0]) if rows else 1
    return Result(tuple(f"c{i}" for i in range(width)), rows, **more)


FAILED = Result.failed("timeout", "stopped")

# name, prediction, gold, ex, bird_ex
BAGS = [
    ("equal", result((1, "a"), (2, "b")), result((1, "a"), (2, "b")), True, True),
    ("row order", result((2, "b"), (1, "a")), result((1, "a"), (2, "b")), True, True),
    ("column order", result(("a", 1), ("b", 2)), result((1, "a"), (2, "b")), True, False),
    ("columns crossed", result(("b", 1), ("a", 2)), result((1, "a"), (2, "b")), False, False),
    ("duplicates", result((1,), (1,)), result((1,)), False, True),
    ("duplicates elsewhere", result((1,), (1,), (2,)), result((1,), (2,), (2,)), False, True),
    ("extra column", result((1, 1)), result((1,)), False, False),
    ("float noise", result((0.1 + 0.2,)), result((0.3,)), True, False),
    ("relative tolerance", result((1e9 + 500.0,)), result((1e9,)), True, False),
    ("beyond tolerance", result((1.00001,)), result((1.0,)), False, False),
    ("near zero", result((1e-9,)), result((0.0,)), False, False),
    ("large integers are exact", result((10_000_001,)), result((10_000_002,)), False, False),
    ("int and float", result((1,)), result((1.0,)), True, True),
    ("bool and int", result((True,)), result((1,)), True, True),
    ("decimal and float", result((Decimal("0.1"),)), result((0.1,)), True, False),
    ("number and text", result((1,)), result(("1",)), False, False),
    ("null", result((None, 1)), result((None, 1)), True, True),
    ("null and zero", result((None,)), result((0,)), False, False),
    ("null and empty", result((None,)), result(("",)), False, False),
    ("nan", result((NAN,)), result((float("nan"),)), True, False),
    ("infinity", result((float("inf"),)), result((float("inf"),)), True, True),
    ("case", result(("A",)), result(("a",)), False, False),
    ("bytes", result((b"x",)), result((b"x",)), True, True),
    ("dates", result((datetime.date(2024, 1, 2),)), result((datetime.date(2024, 1, 2),)), True, True),
    ("both empty", result(columns=1), result(columns=1), True, True),
    ("both empty, other width", result(columns=2), result(columns=1), False, True),
    ("empty", result(columns=1), result((1,)), False, False),
    ("prediction failed", FAILED, result((1,)), False, False),
    ("gold failed", result((1,)), FAILED, False, False),
    ("both failed", FAILED, FAILED, False, False),
    ("huge", result((10**400,)), result((10**400,)), True, True),
    ("float pairs", result((0.1 + 0.2, 5.0), (0.3, 1.0)), result((0.3, 5.0), (0.3, 1.0)), True, False),
    ("float pairs crossed", result((0.3, 5.0), (0.4, 1.0)), result((0.3, 1.0), (0.4, 5.0)), False, False),
    ("close in a chain", result((1.0,), (1.0000008,)), result((1.0000004,), (1.0000012,)), True, False),
    ("far ends of a chain", result((1.0,), (1.0,)), result((1.0000008,), (1.0000016,)), False, False),
    ("integers near a float", result((10**7, "a"), (1e7, "b")), result((10**7 + 1, "a"), (1e7, "b")), False, False),
    ("twin columns", result((1, 1), (2, 3)), result((1, 1), (3, 2)), True, False),
    ("truncated", result((1,), truncated=True), result((1,)), False, True),
]


@pytest.mark.parametrize(("pred", "gold", "ours", "birds"), [b[1:] for b in BAGS], ids=[b[0] for b in BAGS])
def test_bags(pred: Result, gold: Result, ours: bool, birds: bool) -> None:
    assert ex(pred, gold, NO_ORDER) is ours
    assert ex(gold, pred, NO_ORDER) is ours
    assert bird_ex(pred, gold) is birds


ONE_TWO_THREE = result((1,), (2,), (3,))
UP = "SELECT a FROM t ORDER BY a"
TIES = "SELECT a, b FROM t ORDER BY a"

# name, gold SQL, prediction, gold, ex
ORDERS = [
    ("kept", UP, ONE_TWO_THREE, ONE_TWO_THREE, True),
    ("lost", UP, result((2,), (1,), (3,)), ONE_TWO_THREE, False),
    ("not asked for", NO_ORDER, result((2,), (1,), (3,)), ONE_TWO_THREE, True),
    ("only inside", "SELECT a FROM (SELECT a FROM t ORDER BY a)", result((2,), (1,), (3,)), ONE_TWO_THREE, True),
    ("only in a window", "SELECT row_number() OVER (ORDER BY a) FROM t", result((2,), (1,)), result((1,), (2,)), True),
    ("in brackets", "(SELECT a FROM t ORDER BY a)", result((2,), (1,)), result((1,), (2,)), False),
    ("after WITH", "WITH x AS (SELECT 1) SELECT a FROM t ORDER BY a", result((2,), (1,)), result((1,), (2,)), False),
    ("after UNION", "SELECT a FROM t UNION SELECT b FROM t ORDER BY 1", result((2,), (1,)), result((1,), (2,)), False),
    ("a tie", TIES, result((1, "y"), (1, "x"), (2, "z")), result((1, "x"), (1, "y"), (2, "z")), True),
    ("a tie, columns swapped", TIES, result(("y", 1), ("x", 1)), result((1, "x"), (1, "y")), True),
    ("across a tie", TIES, result((1, "x"), (2, "z"), (1, "y")), result((1, "x"), (1, "y"), (2, "z")), False),
    ("by place", "SELECT a, b FROM t ORDER BY 1 DESC", result((1, "y"), (1, "x")), result((1, "x"), (1, "y")), True),
    ("by alias", "SELECT a AS k, b FROM t ORDER BY k", result((1, "y"), (1, "x")), result((1, "x"), (1, "y")), True),
    (
        "by expression",
        "SELECT COUNT(*), b FROM t GROUP BY b ORDER BY COUNT(*)",
        result((1, "y"), (1, "x")),
        result((1, "x"), (1, "y")),
        True,
    ),
    ("hidden key", "SELECT b FROM t ORDER BY a", result(("y",), ("x",)), result(("x",), ("y",)), False),
    ("two keys", "SELECT a, b FROM t ORDER BY a, b", result((1, "y"), (1, "x")), result((1, "x"), (1, "y")), False),
    ("unreadable", "SELECT a FROM t GLORY ??? ORDER BY a", result((2,), (1,)), result((1,), (2,)), False),
]


@pytest.mark.parametrize(("sql", "pred", "gold", "expected"), [o[1:] for o in ORDERS], ids=[o[0] for o in ORDERS])
def test_reference_defect_order_by_ignored(sql: str, pred: Result, gold: Result, expected: bool) -> None:
    assert ex(pred, gold, sql) is expected
    assert ex(gold, gold, sql)


def test_a_star_shows_its_sort_key() -> None:
    gold = Result(("id", "age"), ((1, 30), (2, 30), (3, 40)))
    pred = Result(("id", "age"), ((2, 30), (1, 30), (3, 40)))
    assert ex(pred, gold, "SELECT * FROM t ORDER BY age")
    assert not ex(pred, gold, "SELECT * FROM t ORDER BY age, id")


def test_a_namesake_of_another_table_is_no_sort_key() -> None:
    gold, pred = Result(("age",), ((1,), (1,))), Result(("age",), ((1,), (1,)))
    assert ex(pred, gold, "SELECT u.age FROM t, u ORDER BY t.age")
    assert sort_keys_query("SELECT u.age FROM t, u ORDER BY t.age") is not None


HIDDEN = [
    ("SELECT b FROM t ORDER BY a", "SELECT b, a AS sort_key_0 FROM t ORDER BY a"),
    (
        "SELECT b AS n FROM t GROUP BY b ORDER BY COUNT(*) DESC, n LIMIT 3",
        "SELECT b AS n, COUNT(*) AS sort_key_0, b AS sort_key_1 FROM t GROUP BY b ORDER BY COUNT(*) DESC, n LIMIT 3",
    ),
    ("SELECT a FROM t ORDER BY a", None),
    ("SELECT b FROM t", None),
    ("SELECT DISTINCT b FROM t ORDER BY a", None),
    ("SELECT a FROM t UNION SELECT b FROM t ORDER BY 1", None),
    ("no SQL at all (", None),
]


@pytest.mark.parametrize(("sql", "extended"), HIDDEN)
def test_hidden_sort_keys_can_be_asked_for(sql: str, extended: str | None) -> None:
    assert sort_keys_query(sql) == extended


def test_hidden_sort_keys_allow_ties() -> None:
    sql = "SELECT b FROM t ORDER BY a"
    gold = Result(("b",), (("x",), ("y",), ("z",)))
    extended = Result(("b", "sort_key_0"), (("x", 1), ("y", 1), ("z", 2)))
    keys = sort_keys(gold, extended)
    assert keys == [(1,), (1,), (2,)]
    assert ex(Result(("b",), (("y",), ("x",), ("z",))), gold, sql, sort_keys=keys)
    assert not ex(Result(("b",), (("y",), ("z",), ("x",))), gold, sql, sort_keys=keys)
    assert sort_keys(gold, Result(("b", "k"), (("y", 1), ("x", 1), ("z", 2)))) is None


def test_outer_order_reads_dialects() -> None:
    assert outer_order('SELECT a::INT FROM "t" ORDER BY 1 NULLS LAST', "postgresql") is not None
    assert outer_order("SELECT `a` FROM t ORDER BY a", "mysql") is not None


def rows_of(n_rows: int, n_columns: int, seed: int, values: int) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(values) for _ in range(n_columns)) for _ in range(n_rows)]


WIDE = [(9, 200, 2), (12, 200, 2), (30, 300, 2), (12, 12, 2), (20, 5000, 1000), (300, 20, 3)]


@pytest.mark.parametrize(("columns", "n", "values"), WIDE)
@pytest.mark.parametrize("floats", [False, True], ids=["exact", "floats"])
def test_reference_defect_column_permutations_enumerated(columns: int, n: int, values: int, floats: bool) -> None:
    gold_rows = rows_of(n, columns, 1, values)
    order = random.Random(2).sample(range(columns), columns)
    pred_rows = [tuple(row[i] for i in order) for row in random.Random(3).sample(gold_rows, n)]
    if floats:
        pred_rows = [tuple(v * (1 + 1e-9) for v in row) for row in pred_rows]
    started = time.monotonic()
    assert ex(result(*pred_rows), result(*gold_rows), NO_ORDER)
    first, second = list(pred_rows[0]), list(pred_rows[1])
    spot = next(i for i in range(columns) if first[i] != second[i])
    first[spot], second[spot] = second[spot], first[spot]
    changed = [tuple(first), tuple(second), *pred_rows[2:]]  # every column has its values still, in other rows
    if columns >= 12 and n >= 20:
        assert not ex(result(*changed), result(*gold_rows), NO_ORDER)
    assert time.monotonic() - started < 2


def ring(*lengths: int) -> list[tuple[int, ...]]:
    """Incidence of nodes and edges of separate rings: two 1s in every row and column, whatever the lengths."""
    n, rows, start = sum(lengths), [], 0
    for length in lengths:
        for i in range(length):
            ends = {start + i, start + (i + 1) % length}
            rows.append(tuple(int(c in ends) for c in range(n)))
        start += length
    return rows


def test_tables_that_colours_cannot_tell_apart() -> None:
    started = time.monotonic()
    order = random.Random(5).sample(range(12), 12)
    shuffled = [tuple(row[i] for i in order) for row in ring(12)]
    assert ex(result(*shuffled), result(*ring(12)), NO_ORDER)
    assert not ex(result(*ring(6, 6)), result(*shuffled), NO_ORDER)
    assert ex(result(*ring(5, 7)), result(*ring(7, 5)), NO_ORDER)
    assert time.monotonic() - started < 2


def test_columns_that_all_look_alike_are_quick() -> None:
    """Every column holds one 1: any pairing is right for a permutation matrix, none when two 1s share a row."""
    n = 14
    eye = [tuple(int(i == j) for j in range(n)) for i in range(n)]
    doubled = [tuple(int(j in (i, i + 1)) if i % 2 == 0 else 0 for j in range(n)) for i in range(n)]
    started = time.monotonic()
    assert ex(result(*reversed(eye)), result(*eye), NO_ORDER)
    assert not ex(result(*doubled), result(*eye), NO_ORDER)
    assert time.monotonic() - started < 2


cells = st.sampled_from([None, 0, 1, 1.0, 0.5, "1", "", "x", True])


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[tuple[Any, ...]]]:
    width = draw(st.integers(1, 4))
    return width, draw(st.lists(st.tuples(*[cells] * width), min_size=1, max_size=5))


@given(tables(), tables())
@settings(max_examples=300, deadline=None)
def test_ex_agrees_with_trying_every_permutation(
    left: tuple[int, list[tuple[Any, ...]]], right: tuple[int, list[tuple[Any, ...]]]
) -> None:
    (width, pred), (other, gold) = left, right
    expected = width == other and any(
        Counter(tuple(row[i] for i in order) for row in pred) == Counter(gold) for order in permutations(range(width))
    )
    assert ex(result(*pred), result(*gold), NO_ORDER) is expected


@given(tables(), st.randoms())
@settings(max_examples=200, deadline=None)
def test_ex_holds_under_any_shuffle(table: tuple[int, list[tuple[Any, ...]]], rng: random.Random) -> None:
    width, rows = table
    order = rng.sample(range(width), width)
    shuffled = [tuple(row[i] for i in order) for row in rng.sample(rows, len(rows))]
    assert ex(result(*shuffled), result(*rows), NO_ORDER)


# prediction, gold, F1 computed by hand from the definition
SOFT = [
    (result((1, "a")), result((1, "a")), 1.0),
    (result(("a", 1)), result((1, "a")), 1.0),
    (result(columns=1), result(columns=1), 1.0),
    (result(columns=1), result((1,)), 0.0),
    (result((1,)), result(columns=1), 0.0),
    (result((1, "b")), result((1, "a")), 0.5),
    (result((1,)), result((1, "a")), 2 / 3),  # matched 1/2, gold only 1/2: precision 1, recall 1/2
    (result((1, "a", "z")), result((1, "a")), 0.8),  # matched 1, predicted only 1/2
    (result((1,), (2,)), result((1,)), 2 / 3),  # one unpaired predicted row
    (result((1,), (1,), (1,)), result((1,)), 1.0),  # duplicates dropped
    (result((2,), (1,)), result((1,), (2,)), 0.0),  # paired by index
    (FAILED, result((1,)), 0.0),
]


@pytest.mark.parametrize(("pred", "gold", "expected"), SOFT)
def test_soft_f1(pred: Result, gold: Result, expected: float) -> None:
    assert soft_f1(pred, gold) == pytest.approx(expected)


def test_extended_gold_runs_on_sqlite() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (1, 'y'), (2, 'z'), (2, 'z');")
    sql = "SELECT b FROM t GROUP BY b ORDER BY COUNT(*) DESC"
    extended = sort_keys_query(sql)
    assert extended
    gold = Result(("b",), tuple(db.execute(sql)))
    assert sort_keys(gold, Result(("b", "k"), tuple(db.execute(extended)))) == [(2,), (1,), (1,)]


# -- Spider's test suite ------------------------------------------------------------------------------------------

PLAIN, ORDERED = "SELECT a FROM t", "SELECT a FROM t ORDER BY a"
SUITE = [
    (PLAIN, result((1, "x"), (2, "y")), result(("y", 2), ("x", 1)), True),  # columns and rows in any order
    (PLAIN, result((1,), (1,)), result((1,)), False),  # a bag, not a set
    (PLAIN, result((1,), (1,), (2,)), result((1,), (2,), (2,)), False),
    (PLAIN, result((1.0,)), result((1,)), True),
    (PLAIN, result(("1",)), result((1,)), False),
    (PLAIN, result((0.1 + 0.2,)), result((0.3,)), False),  # no tolerance
    (PLAIN, result((None,)), result((None,)), True),
    (PLAIN, result(columns=1), result(columns=2), True),  # empty is empty
    (PLAIN, result((1, 2)), result((1,)), False),
    (ORDERED, result((2,), (1,)), result((1,), (2,)), False),
    (ORDERED, result((1, "x"), (2, "y")), result(("x", 1), ("y", 2)), True),
    (f"SELECT * FROM ({ORDERED})", result((2,), (1,)), result((1,), (2,)), False),  # wherever the words stand
]


@pytest.mark.parametrize(("sql", "pred", "gold", "same"), SUITE)
def test_suite_semantics(sql: str, pred: Result, gold: Result, same: bool) -> None:
    assert suite([pred], [gold], sql) is same


def test_suite_must_hold_on_every_database() -> None:
    one, two = result((1,)), result((2,))
    assert suite([one, two], [one, two], PLAIN)
    assert not suite([one, one], [one, two], PLAIN)
    assert not suite([one, Result.failed("timeout", "stopped")], [one, two], PLAIN)
    with pytest.raises(EvaluationError, match="the gold query failed"):
        suite([one], [Result.failed("syntax", "no")], PLAIN)
    with pytest.raises(EvaluationError, match="1 and 2 results"):
        suite([one], [one, two], PLAIN)


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("SELECT DISTINCT a FROM t", "SELECT a FROM t"),
        ("select count(distinct a) from t", "select count(a) from t"),
        ("SELECT a FROM t WHERE b = 'distinct' AND \"distinct\" = 1", None),
        ("SELECT a -- distinct\nFROM t", None),
        ("SELECT '", None),
    ],
)
def test_distinct_is_taken_out_where_it_is_a_keyword(sql: str, plain: str | None) -> None:
    assert without_distinct(sql) == (sql if plain is None else plain)
