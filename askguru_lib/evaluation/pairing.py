"""Are two tables equal under some pairing of their columns, row order aside?

Enumerating permutations of columns is hopeless from nine columns on. Here columns and rows are coloured by what stands
in them, each refining the other until nothing changes (Weisfeiler and Leman's colour refinement); only columns of one
colour are ever tried for each other, and a trial is refined again. Tables that people query need no trial at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-6
MAX_CELLS = 30_000_000
_AUGMENTED = 300

Row = tuple[Any, ...]
Codes = NDArray[Any]


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
    """Decimals that no float can hold are equal to themselves only, as text is."""
    return isinstance(value, (int, float)) or (isinstance(value, Decimal) and _fits_float(value))


def _fits_float(value: Decimal) -> bool:
    return not value.is_finite() or not value or (float(value) != 0 and math.isfinite(float(value)))


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


class _Tables:
    """Both tables with every cell replaced by a code; cells that are equal have equal codes.

    Attributes:
        codes: per table one array per column.
        loose: some code is not the whole truth: it stands for a chain of close numbers whose ends are not close, or
            for one that holds a float and several integers.
    """

    def __init__(self, pred: Sequence[Row], gold: Sequence[Row], groups: Sequence[int], exact: bool) -> None:
        self.rows = (pred, gold)
        self.groups = np.asarray(groups, dtype=np.uint64)
        self.spent = 0
        coder = _Coder(exact)
        for rows in self.rows:
            for c in range(len(gold[0])):
                coder.read([row[c] for row in rows])
        columns = coder.codes()
        self.loose = coder.loose
        self.codes = (columns[: len(gold[0])], columns[len(gold[0]) :])


class _Coder:
    """Codes of the values of several columns: 1 for NaN, then what is no number, then numbers."""

    def __init__(self, exact: bool) -> None:
        self._exact = exact
        self._others: dict[Any, int] = {}
        self._columns: list[list[_Part]] = []
        self.loose = False

    def read(self, column: Sequence[Any]) -> None:
        """Take in one more column."""
        types = set(map(type, column))
        kinds = {t: "other" if self._exact else _kind(t) for t in types}
        if len(set(kinds.values())) == 1 and Decimal not in types:
            parts: list[tuple[Any, str, Sequence[Any]]] = [(slice(None), next(iter(kinds.values())), column)]
        else:
            of = ["other" if isinstance(v, Decimal) and not _is_number(v) else kinds[type(v)] for v in column]
            places = {kind: [i for i, k in enumerate(of) if k == kind] for kind in sorted(set(of))}
            parts = [(np.array(at), kind, [column[i] for i in at]) for kind, at in places.items()]
        self._columns.append([_Part(at, kind, self._array(kind, values)) for at, kind, values in parts])

    def _array(self, kind: str, values: Sequence[Any]) -> NDArray[Any]:
        if kind == "other":
            known = self._others
            found = (known.setdefault(v, len(known) + 2) if v == v else 1 for v in values)
            return np.fromiter(found, np.uint32, len(values))
        if kind == "float":
            return np.fromiter(map(_float, values), np.float64, len(values))
        try:
            return np.fromiter(values, np.int64, len(values))
        except OverflowError:
            return np.array([int(v) for v in values], dtype=object)

    def codes(self) -> list[Codes]:
        """One array per column that was read."""
        integers, floats = (_distinct(self._columns, kind) for kind in ("integer", "float"))
        of_integers, of_floats, self.loose = _number_codes(integers, floats, len(self._others) + 2)
        found = []
        while self._columns:
            parts = self._columns.pop(0)
            column = np.empty(sum(len(part.values) for part in parts), dtype=np.uint32)
            for at, kind, values in parts:
                if kind == "other":
                    column[at] = values
                elif kind == "integer":
                    column[at] = of_integers[np.searchsorted(integers, values)]
                else:
                    places = np.searchsorted(floats, values)
                    column[at] = np.where(np.isnan(values), 1, np.append(of_floats, 1)[places])
            found.append(column)
        return found


class _Part(NamedTuple):
    """The integers, the floats or the other values of a column, and where they stand in it."""

    at: NDArray[Any] | slice
    kind: str
    values: NDArray[Any]


def _kind(type_: type) -> str:
    if issubclass(type_, int):
        return "integer"
    return "float" if issubclass(type_, (float, Decimal)) else "other"


def _unique(values: NDArray[Any]) -> NDArray[Any]:
    """Sorted distinct values; where most are distinct, sorting is three times as fast as ``np.unique``'s hashing."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def _distinct(columns: Sequence[Sequence[_Part]], kind: str) -> NDArray[Any]:
    """Sorted distinct values of one kind, without NaN."""
    found = [part.values for parts in columns for part in parts if part.kind == kind]
    if kind == "float":
        found = [values[~np.isnan(values)] for values in found]
    return _unique(np.concatenate([_unique(values) for values in found])) if found else np.empty(0)


def _number_codes(integers: NDArray[Any], floats: NDArray[Any], first: int) -> tuple[Codes, Codes, bool]:
    """Codes of sorted distinct integers and floats, from ``first`` on, and whether one of them is loose.

    Numbers are cut into chains of close neighbours. A chain without floats gives each of its integers a code of its
    own; a chain with floats is one code.
    """
    if not len(floats):
        return np.arange(first, first + len(integers)), np.empty(0, dtype=np.int64), False
    reals = np.fromiter(map(_float, integers), np.float64, len(integers))
    points = _unique(np.concatenate([reals, floats]))
    breaks = ~_near(points[:-1], points[1:])
    chain = np.concatenate([[0], np.cumsum(breaks)])
    of_integers, of_floats = (chain[np.searchsorted(points, values)] for values in (reals, floats))
    mixed = np.zeros(chain[-1] + 1, dtype=bool)
    mixed[of_floats] = True
    starts, ends = points[np.append(True, breaks)], points[np.append(breaks, True)]
    wide = ~_near(starts, ends) | (np.bincount(of_integers, minlength=len(mixed)) > 1)
    own = np.arange(len(integers)) + len(mixed)
    return first + np.where(mixed[of_integers], of_integers, own), first + of_floats, bool((wide & mixed).any())


def _near(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """``math.isclose`` of arrays."""
    with np.errstate(invalid="ignore", over="ignore"):
        return (a == b) | (np.isfinite(a) & np.isfinite(b)) & (
            np.abs(a - b) <= RELATIVE_TOLERANCE * np.maximum(np.abs(a), np.abs(b))
        )


def _mix(*parts: Any) -> Codes:
    """A 64-bit hash of the elements of broadcast arrays (splitmix64's finaliser after every part)."""
    with np.errstate(over="ignore"):
        h: Any = np.uint64(0x9E3779B97F4A7C15)
        for part in parts:
            h = (h ^ part) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = h ^ (h >> np.uint64(31))
    return h  # type: ignore[no-any-return]


def _refine(codes: Sequence[Codes], groups: Codes, columns: Codes) -> tuple[Codes, Codes]:
    """Colours of columns and rows once neither tells more about the other."""
    rows, classes = _mix(groups), 0
    while True:
        told = np.zeros_like(rows)
        for colour, column in zip(columns, codes, strict=True):
            told += _mix(colour, column)
        rows = _mix(rows, told)
        told = np.array([_mix(rows, column).sum(dtype=np.uint64) for column in codes])
        columns = _mix(columns, told)
        found = len(_unique(columns)) + len(_unique(rows))
        if found <= classes:
            return columns, rows
        classes = found


def _search(tables: _Tables, pred_colours: Codes, gold_colours: Codes) -> bool:
    """Refine; if colours still leave a choice, try the pairing at hand, then one column against each of its colour."""
    tables.spent += len(tables.groups) * len(gold_colours)
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
        column = tables.codes[0][j]
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


def _agree(tables: _Tables, p_order: NDArray[Any], g_order: NDArray[Any]) -> bool:
    """Whether the tables are equal under this pairing of columns."""
    pred, gold = ([codes[c] for c in order] for codes, order in zip(tables.codes, (p_order, g_order), strict=True))
    p_rows, g_rows = (np.lexsort([*reversed(columns), tables.groups]) for columns in (pred, gold))
    pairs = [(tables.groups, tables.groups), *zip(pred, gold, strict=True)]
    if not all(np.array_equal(p[p_rows], g[g_rows]) for p, g in pairs):
        return False
    if not tables.loose:
        return True
    changes = np.logical_or.reduce([np.diff(g[g_rows]) != 0 for _, g in pairs])
    runs = np.flatnonzero(np.concatenate([[True], changes, [True]]))
    return all(
        _vectors_agree(
            [tuple(tables.rows[0][r][c] for c in p_order) for r in p_rows[start:end]],
            [tuple(tables.rows[1][r][c] for c in g_order) for r in g_rows[start:end]],
        )
        for start, end in pairwise(runs)  # rows whose codes are equal
    )


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
