"""A first taxonomy of wrong answers: what part of the query is not the gold's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from sqlglot import exp

from askguru_lib.data.trees import shared_tree
from askguru_lib.databases.executor import Failure

ErrorKind = Literal[
    "syntax",
    "unknown_name",
    "nesting",
    "table",
    "join",
    "aggregate",
    "grouping",
    "column",
    "value",
    "order",
    "other",
]
"""In the order in which they are looked for: the first part that differs names the error."""

_COMPARISONS = (exp.Predicate, exp.Not, exp.And, exp.Or)


def error_kind(pred_sql: str, gold_sql: str, failure: Failure | None = None, dialect: str = "sqlite") -> ErrorKind:
    """The kind of the first difference between the trees of a wrong prediction and its gold.

    Args:
        failure: what running the prediction gave; a syntax error or an unknown name is the answer already.
    """
    if failure and failure.kind in ("syntax", "unknown_name"):
        return failure.kind
    pred, gold = shared_tree(pred_sql or "", dialect), shared_tree(gold_sql, dialect)
    if pred is None:
        return "syntax"
    if gold is None:
        return "other"
    for kind, part in _PARTS:
        if part(pred) != part(gold):
            return kind
    return "other"


def _nesting(tree: exp.Expr) -> Counter[str]:
    return Counter(type(n).__name__ for n in tree.find_all(exp.Select, exp.SetOperation))


def _tables(tree: exp.Expr) -> Counter[str]:
    ctes = {c.alias.lower() for c in tree.find_all(exp.CTE)}
    return Counter(t.name.lower() for t in tree.find_all(exp.Table) if t.name.lower() not in ctes)


def _joins(tree: exp.Expr) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for join in tree.find_all(exp.Join):
        on = join.args.get("on")
        keys = sorted(c.name.lower() for c in on.find_all(exp.Column)) if on else []
        keys += sorted(i.name.lower() for i in join.args.get("using") or [])
        found[(join.side or "").upper(), ",".join(keys)] += 1
    return found


def _aggregates(tree: exp.Expr) -> Counter[str]:
    functions = (f for f in tree.find_all(exp.AggFunc, exp.Window))
    return Counter(
        type(f).__name__ + ("·distinct" if isinstance(f.args.get("this"), exp.Distinct) else "") for f in functions
    )


def _grouping(tree: exp.Expr) -> Counter[str]:
    found: Counter[str] = Counter()
    for select in tree.find_all(exp.Select):
        group, having = select.args.get("group"), select.args.get("having")
        found.update(c.name.lower() for c in group.find_all(exp.Column)) if group else None
        found["having"] += having is not None
        found["distinct"] += select.args.get("distinct") is not None
    return found


def _columns(tree: exp.Expr) -> Counter[str]:
    outside = (c for c in tree.find_all(exp.Column) if not c.find_ancestor(exp.Order, exp.Group, exp.Join))
    stars = sum(isinstance(p, exp.Star) for s in tree.find_all(exp.Select) for p in s.expressions)
    return Counter([*(c.name.lower() for c in outside), *["*"] * stars])


def _values(tree: exp.Expr) -> tuple[Counter[str], Counter[str]]:
    literals = (
        n for n in tree.find_all(exp.Literal, exp.Null, exp.Boolean) if not n.find_ancestor(exp.Limit, exp.Order)
    )
    comparisons = (n for n in tree.find_all(*_COMPARISONS) if not n.find_ancestor(exp.Join))
    return Counter(n.sql() for n in literals), Counter(type(n).__name__ for n in comparisons)


def _order(tree: exp.Expr) -> list[str]:
    parts = [*tree.find_all(exp.Ordered), *tree.find_all(exp.Limit), *tree.find_all(exp.Offset)]
    return [("desc " if p.args.get("desc") else "") + p.sql().lower().rpartition(".")[2] for p in parts]


_PARTS: list[tuple[ErrorKind, Callable[[exp.Expr], object]]] = [
    ("nesting", _nesting),
    ("table", _tables),
    ("join", _joins),
    ("aggregate", _aggregates),
    ("grouping", _grouping),
    ("column", _columns),
    ("value", _values),
    ("order", _order),
]
