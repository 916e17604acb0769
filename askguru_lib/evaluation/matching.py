"""Do two results say the same? Four answers, each by its own name: ``ex``, ``bird_ex``, ``soft_f1``, ``test_suite``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import TokenType

from askguru_lib.data.trees import SQLGLOT_DIALECTS, parse, shared_tree
from askguru_lib.databases.executor import Result
from askguru_lib.errors import EvaluationError
from askguru_lib.evaluation.pairing import same_table

Row = tuple[Any, ...]


def bird_ex(pred: Result, gold: Result, gold_sql: str = "", dialect: str = "sqlite") -> bool:
    """BIRD's execution accuracy: the sets of rows are equal; row order and duplicates are ignored, column order is not.

    From the BIRD benchmark's ``evaluation_ex.py``; ``gold_sql`` and ``dialect`` are not used.
    """
    return pred.ok and gold.ok and set(pred.rows) == set(gold.rows)


def soft_f1(pred: Result, gold: Result, gold_sql: str = "", dialect: str = "sqlite") -> float:
    """BIRD mini-dev's Soft-F1: rows, without duplicates, are paired by index and scored by value membership.

    From ``evaluation_f1.py``; ``gold_sql`` and ``dialect`` are not used.
    """
    if not (pred.ok and gold.ok):
        return 0.0
    if not pred.rows and not gold.rows:
        return 1.0
    predicted, expected = list(dict.fromkeys(pred.rows)), list(dict.fromkeys(gold.rows))
    matched = pred_only = gold_only = 0.0
    for p, g in zip(predicted, expected, strict=False):
        found = sum(value in g for value in p)
        matched += found / len(g)
        pred_only += (len(p) - found) / len(g)
        gold_only += sum(value not in p for value in g) / len(g)
    pred_only += max(0, len(predicted) - len(expected))
    gold_only += max(0, len(expected) - len(predicted))
    precision = matched / (matched + pred_only) if matched + pred_only else 0.0
    recall = matched / (matched + gold_only) if matched + gold_only else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_suite(pred: Sequence[Result], gold: Sequence[Result], gold_sql: str) -> bool:
    """Spider's test-suite accuracy: the results agree on every database of a suite.

    Bags of rows under any pairing of the columns, values equal exactly; row order counts only if the gold contains
    ``order by`` anywhere. From ``exec_eval.py`` of R. Zhong, T. Yu and D. Klein, EMNLP 2020. There DISTINCT is taken
    out of both queries before they run: see :func:`without_distinct`.

    Args:
        pred, gold: one result per database, in the same order; a failed prediction agrees with nothing.

    Raises:
        EvaluationError: a gold failed, or there are not equally many results.
    """
    if len(pred) != len(gold) or not gold:
        raise EvaluationError(
            f"{len(pred)} and {len(gold)} results cannot be compared", hint="run both on every database"
        )
    if failed := next((g.failure for g in gold if g.failure), None):
        raise EvaluationError(f"the gold query failed ({failed.message})", where=gold_sql[:120], hint="mend the gold")
    ordered = "order by" in gold_sql.lower()
    return all(p.ok and _same_in_suite(p, g, ordered) for p, g in zip(pred, gold, strict=True))


test_suite.__test__ = False  # type: ignore[attr-defined]  # pytest takes every test_… for one of its own


def _same_in_suite(pred: Result, gold: Result, ordered: bool) -> bool:
    if not pred.rows and not gold.rows:
        return True
    if len(pred.rows) != len(gold.rows) or len(pred.columns) != len(gold.columns):
        return False
    return same_table(pred.rows, gold.rows, range(len(gold.rows)) if ordered else [0] * len(gold.rows), exact=True)


def without_distinct(sql: str, dialect: str = "sqlite") -> str:
    """The query without the keyword DISTINCT, wherever it stands; a literal or a name of that spelling stays."""
    try:
        tokens = sqlglot.tokenize(sql, read=SQLGLOT_DIALECTS.get(dialect))
    except SqlglotError:
        return sql
    for token in reversed(tokens):
        if token.token_type == TokenType.DISTINCT:
            sql = sql[: token.start] + sql[token.end + 1 :].lstrip()
    return sql


def ex(
    pred: Result, gold: Result, gold_sql: str, dialect: str = "sqlite", sort_keys: Sequence[Row] | None = None
) -> bool:
    """Execution accuracy as this project defines it.

    The bags of rows are equal under some pairing of the columns. Floats are equal within 1e-6 relative, NULL equals
    NULL, ``1`` equals ``1.0`` but not ``'1'``. The order of rows counts exactly if the gold's outermost query has an
    ORDER BY; rows whose sort keys are equal may come in any order. Empty results must still have as many columns.
    Of truncated results the rows that were kept are compared.

    Args:
        pred, gold: results of the two statements; a failed one matches nothing.
        gold_sql: tells whether order matters, and which columns are sort keys.
        sort_keys: one tuple per gold row, for a gold whose sort keys are not all among its output columns (see
            ``sort_keys_query``). Without them the order of such a gold must be met exactly.
    """
    if not (pred.ok and gold.ok):
        return False
    if (len(pred.columns), len(pred.rows), pred.truncated) != (len(gold.columns), len(gold.rows), gold.truncated):
        return False
    if not gold.rows:
        return True
    groups = _tie_groups(gold, gold_sql, dialect, sort_keys)
    return same_table(pred.rows, gold.rows, groups)


def _tie_groups(gold: Result, sql: str, dialect: str, sort_keys: Sequence[Row] | None) -> list[int]:
    """For every row position the group within which rows may change places."""
    n = len(gold.rows)
    order = outer_order(sql, dialect)
    if order is None:
        return [0] * n
    positions = [_output_position(key, gold.columns, order) for key in order.expressions]
    if sort_keys is not None and len(sort_keys) == n:
        keys: list[Any] = list(sort_keys)
    elif order.expressions and None not in positions:
        keys = [tuple(row[p] for p in positions if p is not None) for row in gold.rows]
    else:
        return list(range(n))
    groups = [0]
    for before, here in pairwise(keys):
        groups.append(groups[-1] + (before != here))
    return groups


def outer_order(sql: str, dialect: str = "sqlite") -> exp.Order | None:
    """The ORDER BY of the outermost query, if there is one (without keys when sqlglot cannot read the statement)."""
    if "order" not in sql.lower():
        return None
    query = shared_tree(sql, dialect)
    if query is None:
        outermost = re.sub(r"\([^()]*\)", "", sql)
        return exp.Order(expressions=[]) if re.search(r"\border\s+by\b", outermost, re.I) else None
    return _order_of(query)


def _order_of(query: exp.Expr) -> exp.Order | None:
    while isinstance(query, (exp.Subquery, exp.Paren)) and not query.args.get("order"):
        query = query.this
    order = query.args.get("order")
    return order if isinstance(order, exp.Order) else None


def _output_position(ordered: exp.Expression, columns: Sequence[str], order: exp.Order) -> int | None:
    """The output column that a sort key is, or None when it is not among them."""
    key = ordered.this if isinstance(ordered, exp.Ordered) else ordered
    if isinstance(key, exp.Literal) and not key.is_string:
        place = int(key.this) - 1
        return place if 0 <= place < len(columns) else None
    while isinstance(key, exp.Paren):
        key = key.this
    query = order.parent
    projections = query.selects if isinstance(query, exp.Query) else []
    stars = [p for p in projections if p.is_star]
    listed = projections if len(projections) == len(columns) and not stars else []
    name = key.name.lower() if isinstance(key, exp.Column) else None
    table = key.table.lower() if isinstance(key, exp.Column) else ""
    if name is not None and not table:
        aliases = [p.alias.lower() if isinstance(p, exp.Alias) else None for p in listed]
        if name in aliases:
            return aliases.index(name)
    wanted = _folded(key)
    for i, projection in enumerate(listed):
        if _folded(projection.unalias()) == wanted:
            return i
    named = [i for i, column in enumerate(columns) if name is not None and column.lower() == name]
    if len(named) != 1:
        return None
    sources = [listed[named[0]]] if listed else projections
    return named[0] if not sources or any(_may_show(source, name or "", table) for source in sources) else None


def _folded(tree: exp.Expr) -> exp.Expr:
    """The tree with names in lower case."""
    tree = tree.copy()
    for identifier in tree.find_all(exp.Identifier):
        identifier.set("this", identifier.name.lower())
    return tree


def _may_show(projection: exp.Expr, name: str, table: str) -> bool:
    """Whether a projection can be where an output column comes from that is called like ``table.name``."""
    if isinstance(projection, exp.Star):
        return True
    if not isinstance(projection, exp.Column) or not (projection.is_star or projection.name.lower() == name):
        return False
    return not projection.table or not table or projection.table.lower() == table


def sort_keys_query(sql: str, dialect: str = "sqlite") -> str | None:
    """The gold with its sort keys as extra columns at the end; None when none is hidden or none can be added.

    ``SELECT name FROM t ORDER BY age`` shows no ages, so ties cannot be told from its result alone.
    """
    if outer_order(sql, dialect) is None:
        return None
    tree = parse(sql, dialect)
    order = _order_of(tree) if tree is not None else None
    query = order.parent if order is not None else None
    if tree is None or order is None or not isinstance(query, exp.Select) or query.args.get("distinct"):
        return None
    if any(p.is_star for p in query.selects):
        return None
    names = [p.alias_or_name for p in query.selects]
    positions = [_output_position(key, names, order) for key in order.expressions]
    if None not in positions:
        return None
    keys = [
        query.selects[p].unalias() if p is not None else key.this if isinstance(key, exp.Ordered) else key
        for key, p in zip(order.expressions, positions, strict=True)
    ]
    extra = [exp.alias_(key.copy(), f"sort_key_{i}") for i, key in enumerate(keys)]
    query.set("expressions", [*query.expressions, *extra])
    return tree.sql(dialect=SQLGLOT_DIALECTS[dialect])


def sort_keys(gold: Result, extended: Result) -> list[Row] | None:
    """The keys that ``sort_keys_query`` added, if its rows are the gold's rows in the gold's order."""
    width = len(gold.columns)
    if not extended.ok or tuple(row[:width] for row in extended.rows) != gold.rows:
        return None
    return [row[width:] for row in extended.rows]
