"""Are two tables equal under some pairing of their columns, row order aside?

Enumerating permutations of columns is hopeless from nine columns on. Here columns and rows are coloured by what stands
in them, each refining the other until nothing changes (Weisfeiler and Leman's colour refinement); only columns of one
colour are ever tried for each other, and a trial is refined again. Tables that people query need no trial at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-6
MAX_CELLS = 30_000_000
_AUGMENTED = 300

Row = tuple[Any, ...]
Codes = NDArray[np.uint64]


def same_table(pred: Sequence[Row], gold: Sequence[Row], groups: Sequence[int], exact: bool = False) -> bool:
    """Whether the two tables hold the same bag of rows in every group, under one pairing of the columns.

    Args:
        pred, gold: equally many rows, equally wide.
        groups: for every row position the group within which rows may change places.
        exact: floats must be equal to the last bit.
    """
    if not gold or pred == gold:
        return True
    tables = _Tables(pred, gold, groups, exact)
    width = len(gold[0])
    left, right = np.arange(1, 2, dtype=np.uint64).repeat(width), np.arange(1, 2, dtype=np.uint64).repeat(width)
    return _search(tables, left, right)


def close(a: Any, b: Any) -> bool:
    """Equality of two cells: floats within 1e-6 relative, integers and everything else exactly, 1 == 1.0 != '1'."""
    if _is_number(a) and _is_number(b):
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        x, y = _float(a), _float(b)
        return (math.isnan(x) and math.isnan(y)) or math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE)
    return bool(a == b and _is_number(a) == _is_number(b))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal))


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


class _Tables:
    """Both tables with every cell replaced by a code; cells that are equal have equal codes.

    A code is ``loose`` where that is not the whole truth: a chain of close numbers whose ends are not close, or one
    that holds a float and several integers.
    """

    def __init__(self, pred: Sequence[Row], gold: Sequence[Row], groups: Sequence[int], exact: bool) -> None:
        self.rows = (pred, gold)
        self.groups = np.asarray(groups, dtype=np.uint64)
        self.spent = 0
        integers: set[Any] = set()
        floats: set[Any] = set()
        others: dict[Any, int] = {}
        for value in (v for rows in self.rows for row in rows for v in row):
            if not _is_number(value):
                others.setdefault(value, len(others) + 2)
            elif value == value:
                (integers if isinstance(value, int) else floats).add(value)
        first = len(others) + 2
        self.loose: set[int] = set()
        if exact:
            codes = {value: code for code, value in enumerate(integers | floats, first)}
        else:
            codes, self.loose = _number_codes(integers, floats, first)
        nan = 1

        def code(value: Any) -> int:
            if not _is_number(value):
                return others[value]
            return codes[value] if value == value else nan

        self.codes = tuple(np.array([[code(v) for v in row] for row in rows], dtype=np.uint64) for rows in self.rows)


def _number_codes(integers: set[Any], floats: set[Any], first: int) -> tuple[dict[Any, int], set[int]]:
    """A code per number, and which codes are loose."""
    codes: dict[Any, int] = {}
    loose: set[int] = set()
    code = first
    for chain in _chains(sorted(integers | floats)):
        if floats.isdisjoint(chain):
            for value in chain:
                codes[value] = code
                code += 1
            continue
        if not _near(chain[0], chain[-1]) or len(integers.intersection(chain)) > 1:
            loose.add(code)
        codes.update(dict.fromkeys(chain, code))
        code += 1
    return codes, loose


def _near(a: Any, b: Any) -> bool:
    return math.isclose(_float(a), _float(b), rel_tol=RELATIVE_TOLERANCE)


def _chains(values: Sequence[Any]) -> Iterator[list[Any]]:
    chain = list(values[:1])
    for before, here in pairwise(values):
        if not _near(before, here):
            yield chain
            chain = []
        chain.append(here)
    if chain:
        yield chain


def _mix(*parts: Any) -> Codes:
    """A 64-bit hash of the elements of broadcast arrays (splitmix64's finaliser after every part)."""
    with np.errstate(over="ignore"):
        h: Any = np.uint64(0x9E3779B97F4A7C15)
        for part in parts:
            h = (h ^ part) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = h ^ (h >> np.uint64(31))
    return h  # type: ignore[no-any-return]


def _refine(codes: Codes, groups: Codes, columns: Codes) -> tuple[Codes, Codes]:
    """Colours of columns and rows once neither tells more about the other."""
    rows, classes = _mix(groups), 0
    while True:
        rows = _mix(rows, _mix(columns[None, :], codes).sum(axis=1, dtype=np.uint64))
        columns = _mix(columns, _mix(rows[:, None], codes).sum(axis=0, dtype=np.uint64))
        found = len(np.unique(columns)) + len(np.unique(rows))
        if found <= classes:
            return columns, rows
        classes = found


def _search(tables: _Tables, pred_colours: Codes, gold_colours: Codes) -> bool:
    """Refine; if colours still leave a choice, try the pairing at hand, then one column against each of its colour."""
    tables.spent += tables.codes[0].size
    if tables.spent > MAX_CELLS:
        return False
    p_columns, p_rows = _refine(tables.codes[0], tables.groups, pred_colours)
    g_columns, g_rows = _refine(tables.codes[1], tables.groups, gold_colours)
    if not (_same_bag(p_columns, g_columns) and _same_bag(p_rows, g_rows)):
        return False
    if _agree(tables, np.argsort(p_columns, kind="stable"), np.argsort(g_columns, kind="stable")):
        return True
    colours, counts = np.unique(g_columns, return_counts=True)
    shared = colours[counts > 1]
    if not len(shared):
        return False
    colour = shared[np.argmin(counts[counts > 1])]
    i = int(np.flatnonzero(g_columns == colour)[0])
    chosen = np.uint64(len(colours))
    tried: list[Any] = []
    for j in np.flatnonzero(p_columns == colour):
        column = tables.codes[0][:, j]
        if any(np.array_equal(column, t) for t in tried) and not tables.loose:
            continue
        tried.append(column)
        left, right = p_columns.copy(), g_columns.copy()
        left[j] = right[i] = chosen
        if _search(tables, left, right):
            return True
    return False


def _same_bag(a: Codes, b: Codes) -> bool:
    return np.array_equal(np.sort(a), np.sort(b))


@dataclass(frozen=True)
class _Side:
    """A table's rows in the order of their codes."""

    codes: Codes
    rows: list[Row]

    @classmethod
    def of(cls, rows: Sequence[Row], codes: Codes, groups: Codes, columns: Iterable[int]) -> _Side:
        order = list(columns)
        keyed = np.column_stack([groups, codes[:, order]])
        sorting = np.lexsort(keyed.T[::-1])
        return cls(keyed[sorting], [tuple(rows[r][c] for c in order) for r in sorting])


def _agree(tables: _Tables, p_order: NDArray[Any], g_order: NDArray[Any]) -> bool:
    """Whether the tables are equal under this pairing of columns."""
    pred = _Side.of(tables.rows[0], tables.codes[0], tables.groups, p_order)
    gold = _Side.of(tables.rows[1], tables.codes[1], tables.groups, g_order)
    if not np.array_equal(pred.codes, gold.codes):
        return False
    if not tables.loose:
        return True
    start = 0
    for end in range(1, len(gold.rows) + 1):  # runs of rows whose codes are equal
        if end == len(gold.rows) or not np.array_equal(gold.codes[end], gold.codes[start]):
            if not _vectors_agree(pred.rows[start:end], gold.rows[start:end]):
                return False
            start = end
    return True


def _vectors_agree(left: list[Row], right: list[Row]) -> bool:
    """Is there a one-to-one matching of close rows? Sorted pairing first, augmenting paths where it fails."""

    def near(a: Row, b: Row) -> bool:
        return all(close(x, y) for x, y in zip(a, b, strict=True))

    whole = [all(isinstance(r[c], int) for r in [*left, *right]) for c in range(len(left[0]))]
    exact_first = sorted(range(len(whole)), key=lambda c: not whole[c])

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[c] if _is_number(row[c]) and row[c] == row[c] else 0 for c in exact_first)

    left, right = sorted(left, key=key), sorted(right, key=key)
    if all(near(a, b) for a, b in zip(left, right, strict=True)):
        return True
    if len(left) > _AUGMENTED:
        return False
    partner: dict[int, int] = {}

    def assign(i: int, seen: set[int]) -> bool:
        for j, b in enumerate(right):
            if j not in seen and near(left[i], b):
                seen.add(j)
                if j not in partner or assign(partner[j], seen):
                    partner[j] = i
                    return True
        return False

    return all(assign(i, set()) for i in range(len(left)))
