"""Is a gold query's answer decided by the question, or by chance?

``ORDER BY price LIMIT 3`` has no right answer when the third and the fourth price are equal; ``LIMIT 3`` without an
order never has one. Running such a query twice shows nothing, because an engine makes the same arbitrary choice again:
one must look at the rows on both sides of the limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlglot import exp

from askguru_lib.data.trees import SQLGLOT_DIALECTS, parse
from askguru_lib.databases.executor import Executor

BEYOND = 50
"""Rows looked at beyond the limit."""

_CLOCK = (exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.CurrentDatetime)
_CLOCK_NAMES = {"now", "today", "sysdate", "systimestamp", "getdate", "clock_timestamp", "julianday", "unixepoch"}
# Most golds hold no such word, and parsing takes longer than running them.
_SUSPECT = re.compile(
    r"rand|now|today|time|date\s*\(|cur|local|utc|uuid|newid|julianday|unixepoch|setseed|getdate|sysda", re.IGNORECASE
)
_LIMITED = re.compile(r"\b(limit|fetch|top|rownum)\b", re.IGNORECASE)
_CHANCE_NAMES = {"random", "randomblob", "rand", "newid", "gen_random_uuid", "uuid", "setseed"}


@dataclass(frozen=True)
class Probe:
    """A query that returns the rows on both sides of another's limit.

    Attributes:
        sql: the probe; its rows begin where the other query's would without OFFSET.
        keys: positions of the sort keys in the probe's rows (negative: from the end).
        extra: how many sort keys were added behind the other query's columns.
        first, last: the rows that the other query keeps: ``first <= row < last``.
    """

    sql: str
    keys: tuple[int, ...]
    extra: int
    first: int
    last: int


@lru_cache(maxsize=256)
def _tree(sql: str, dialect: str) -> exp.Query | None:
    """Shared by the two questions asked of each query; never changed."""
    return parse(sql, dialect)


def changes_by_itself(sql: str, dialect: str) -> str | None:
    """Why the same query gives another answer on another day or another call; None if nothing in it does."""
    tree = _tree(sql, dialect) if _SUSPECT.search(sql) else None
    if tree is None:
        return None
    for node in tree.walk():
        name = str(node.this).lower() if isinstance(node, exp.Anonymous) else ""
        if isinstance(node, exp.Rand) or name in _CHANCE_NAMES:
            return "the query draws random numbers"
        now = isinstance(node, exp.Literal) and node.is_string and node.this.lower() == "now"
        if isinstance(node, _CLOCK) or (now and not isinstance(node.parent, exp.Binary)):
            return "the query depends on today's date"
        if name in _CLOCK_NAMES and not node.expressions:
            return "the query depends on today's date"
    return None


def boundary_probe(sql: str, dialect: str) -> Probe | None:
    """The query that shows what lies around the outermost LIMIT; None when there is no LIMIT or no such query."""
    tree = _tree(sql, dialect) if _LIMITED.search(sql) else None
    if tree is None or (kept := _kept(tree)) is None:
        return None
    first, last = kept
    probe = tree.copy()
    order = probe.args.get("order")
    select = probe if isinstance(probe, exp.Select) else None
    keys: list[int] = []
    extra: list[exp.Expr] = []
    for ordered in order.expressions if order else []:
        if probe.is_star and isinstance(ordered.this, exp.Literal):
            return None
        place = _place(ordered.this, probe.selects)
        if place is None:
            if select is None or select.args.get("distinct") or ordered.this.find(exp.Subquery, exp.Window):
                return None
            extra.append(ordered.this.copy())
        keys.append(-len(extra) if place is None else place)
    # Added keys are counted from the end, which is known only now.
    found = [k if k >= 0 else -len(extra) - k - 1 for k in keys]
    if select is not None:
        for number, key in enumerate(extra):
            select.select(exp.alias_(key, f"sort_key_{number}"), copy=False)
    probe.set("offset", None)
    probe.set("limit", exp.Limit(expression=exp.Literal.number(last + BEYOND)))
    return Probe(probe.sql(dialect=SQLGLOT_DIALECTS[dialect]), tuple(found), len(extra), first, last)


def unstable(queries: Sequence[tuple[str, str]], executor: Executor) -> dict[int, str]:
    """Which of the ``(db_id, sql)`` have no single answer, by index, and why.

    Only those that could be undecided are run again, in a longer form.
    """
    dialect, why, probes = executor.connections.dialect, {}, []
    for index, (db_id, sql) in enumerate(queries):
        if reason := changes_by_itself(sql, dialect):
            why[index] = reason
        elif probe := boundary_probe(sql, dialect):
            probes.append((index, db_id, probe))
    results = executor.run_many([(db_id, probe.sql) for _, db_id, probe in probes])
    for (index, _, probe), result in zip(probes, results, strict=True):
        if result.ok and (tie := ties_at_boundary(probe, result.rows)):
            why[index] = tie
    return why


def ties_at_boundary(probe: Probe, rows: Sequence[Sequence[Any]]) -> str | None:
    """Why the limit cuts through rows that nothing tells apart; None when it does not."""
    for edge in {probe.first, probe.last}:
        if not 0 < edge < len(rows):
            continue
        key = _key(probe, rows[edge])
        tied = [row for row in rows if _key(probe, row) == key]
        shown = {repr(tuple(row[: len(row) - probe.extra])) for row in tied}
        if _key(probe, rows[edge - 1]) == key and len(shown) > 1:
            if not probe.keys:
                return "LIMIT without ORDER BY: any rows will do"
            more = "at least " if tied[-1] is rows[-1] else ""
            return f"LIMIT cuts through a tie: {more}{len(tied)} rows have the same sort key"
    return None


def _key(probe: Probe, row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in probe.keys)


def _kept(tree: exp.Query) -> tuple[int, int] | None:
    limit, offset = tree.args.get("limit"), tree.args.get("offset")
    count = limit.args.get("count") or limit.args.get("expression") if limit else None
    start = offset.expression if offset else exp.Literal.number(0)
    if not (isinstance(count, exp.Literal) and isinstance(start, exp.Literal) and count.is_int and start.is_int):
        return None
    return int(start.this), int(start.this) + int(count.this)


def _place(key: exp.Expr, selects: Sequence[exp.Expr]) -> int | None:
    """Position of a sort key among the query's own columns."""
    if any(s.is_star for s in selects):
        return None
    if isinstance(key, exp.Literal) and key.is_int:
        return int(key.this) - 1
    bare = isinstance(key, exp.Column) and not key.table
    for place, selected in enumerate(selects):
        if (bare and selected.alias_or_name.lower() == key.name.lower()) or selected.unalias() == key:
            return place
    return None
