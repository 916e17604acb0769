"""What a query uses: the SQL features by which a question bank is balanced and a report is broken down."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from askguru_lib.data.trees import shared_tree

_DATES = {"strftime", "julianday", "date", "datetime", "unixepoch", "date_part", "date_trunc", "age"}
_STRINGS = (
    *(exp.Like, exp.ILike, exp.RegexpLike, exp.Lower, exp.Upper, exp.Length, exp.Substring, exp.Trim),
    *(exp.DPipe, exp.Concat, exp.Replace, exp.StrPosition, exp.GroupConcat),
)
_DATE_NODES = (exp.TimeToStr, exp.Extract, exp.DateAdd, exp.DateSub, exp.DateDiff, exp.DateTrunc, exp.Year, exp.Month)
_RANKS = (exp.Rank, exp.DenseRank)

FEATURES = (
    *("one table", "1 join", "2 joins", "3 joins", "4 or more joins"),
    *("aggregate", "group by", "having", "distinct", "order and limit", "ties kept"),
    *("subquery", "CTE", "window", "set operation", "case", "null", "date", "string"),
)
"""Every feature, in the order of tables and plots."""


@lru_cache(maxsize=50_000)
def sql_features(sql: str, dialect: str = "sqlite") -> frozenset[str]:
    """The features of one query, each of ``FEATURES``; none when the query cannot be parsed.

    Joins are counted per SELECT, the longest chain decides. ``ties kept`` is a top-k by rank, which leaves no row out
    that is as good as the last one.
    """
    tree = shared_tree(sql, dialect)
    if not isinstance(tree, exp.Query):
        return frozenset()
    nodes: dict[type[exp.Expr], list[exp.Expr]] = {}
    for node in tree.walk():
        nodes.setdefault(type(node), []).append(node)

    def found(*kinds: type[exp.Expr]) -> list[exp.Expr]:
        return [node for kind, same in nodes.items() if issubclass(kind, kinds) for node in same]

    joins = max((len(s.args.get("joins") or ()) for s in found(exp.Select)), default=0)
    windows = found(exp.Window)
    names = {str(f.this).lower() for f in found(exp.Anonymous)}
    present = {
        "one table": joins == 0,
        "1 join": joins == 1,
        "2 joins": joins == 2,
        "3 joins": joins == 3,
        "4 or more joins": joins > 3,
        "aggregate": any(f.find_ancestor(exp.Window) is None for f in found(exp.AggFunc)),
        "group by": found(exp.Group),
        "having": found(exp.Having),
        "distinct": found(exp.Distinct),
        "order and limit": found(exp.Limit),
        "ties kept": any(isinstance(w.this, _RANKS) for w in windows),
        "subquery": found(exp.Subquery, exp.Exists) or any(i.args.get("query") for i in found(exp.In)),
        "CTE": found(exp.CTE),
        "window": windows,
        "set operation": found(exp.SetOperation),
        "case": found(exp.Case, exp.If),
        "null": found(exp.Is, exp.Coalesce, exp.Null),
        "date": found(*_DATE_NODES) or names & _DATES,
        "string": found(*_STRINGS),
    }
    return frozenset(name for name, there in present.items() if there)
