"""The same query, always written in the same way.

Hand-written queries join tables in any order and call their parts by any name. Which of them is right cannot be known
from the question, so a small model that learns them all spends on guessing what it needs for meaning. Here a join
begins with the table that refers to the others, and aliases have fixed names. Results stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlglot import exp

from askguru_lib.data.grammar import identifier
from askguru_lib.data.trees import source_name, sources_of
from askguru_lib.databases.m_schema import MSchema

TABLES = ("one", "other", "third", "fourth")
"""Names of a table that is read more than once, as the grammar has them."""
PARTS = ("part", "second_part", "third_part", "fourth_part", "fifth_part")
"""Names of common table expressions."""


def one_way(tree: exp.Query, schema: MSchema) -> None:
    """Write a query the one way, in place.

    Args:
        schema: the tables it reads; its names are not taken for aliases.
    """
    keys = {(str(key[0]), str(key[3])) for key in schema.foreign_keys}
    for select in tree.find_all(exp.Select):
        _child_first(select, keys)
    words = {str(name).lower() for table, column, _ in schema.columns() for name in (table, column)}
    parts = dict.fromkeys(cte.alias for cte in tree.find_all(exp.CTE))
    _rename(tree, list(parts), PARTS, words)
    aliases = dict.fromkeys(table.alias for table in tree.find_all(exp.Table) if table.alias)
    _rename(tree, list(aliases), TABLES, words)


def _child_first(select: exp.Select, keys: Collection[tuple[str, str]]) -> None:
    """Begin a chain of inner joins with a table that no other one refers to."""
    joins, sources = select.args.get("joins") or [], sources_of(select)
    plain = all(isinstance(source, exp.Table) and not source.alias for source in sources)
    inner = all(not join.side and join.kind in ("", "INNER") and join.args.get("on") for join in joins)
    names = [source.name for source in sources]
    twice, all_columns = len(set(names)) < len(names), any(column.is_star for column in select.expressions)
    if not joins or not plain or not inner or twice or all_columns:
        return
    children = [s for s in sources if not any((other, s.name) in keys for other in names if other != s.name)]
    if not children or children[0] is sources[0]:
        return
    conditions = [join.args["on"] for join in joins]
    placed, waiting = [children[0]], [s for s in sources if s is not children[0]]
    order: list[tuple[exp.Expr, list[exp.Expr]]] = []
    while waiting:
        known = {source_name(s) for s in placed}
        for source in waiting:
            here = known | {source_name(source)}
            ready = [on for on in conditions if source_name(source) in _tables(on) and _tables(on) <= here]
            if ready:
                break
        else:
            return  # a condition of more than two tables, or none between two of them
        order.append((source, ready))
        placed.append(source)
        waiting = [s for s in waiting if s is not source]
        conditions = [on for on in conditions if not any(on is used for used in ready)]
    if conditions:
        return
    select.args["from_"].set("this", children[0].copy())
    chain = [
        exp.Join(this=source.copy(), on=exp.and_(*(_turned(on, source.name) for on in ready)))
        for source, ready in order
    ]
    select.set("joins", chain)


def _tables(condition: exp.Expr) -> set[str]:
    return {column.table.lower() for column in condition.find_all(exp.Column)}


def _turned(condition: exp.Expr, new: str) -> exp.Expr:
    """``a.x = b.y`` where b is the table that is joined."""
    turned = condition.copy()
    if isinstance(turned, exp.EQ) and isinstance(turned.left, exp.Column) and isinstance(turned.right, exp.Column):
        left, right = turned.left.copy(), turned.right.copy()
        if left.table == new:
            turned.set("this", right)
            turned.set("expression", left)
    return turned


def _rename(tree: exp.Query, old: Sequence[str], new: Sequence[str], taken: Collection[str]) -> None:
    """Other names for aliases, unless one of the new ones, or too few of them, would do harm."""
    others = {node.alias for node in tree.find_all(exp.Alias)} | {table.name for table in tree.find_all(exp.Table)}
    names = dict(zip(old, new, strict=False))
    blocked = ({*taken, *(name.lower() for name in others)} - {name.lower() for name in old}) & set(names.values())
    if len(old) > len(new) or blocked or any(name.lower() in taken for name in old):
        return
    parts = {cte.alias for cte in tree.find_all(exp.CTE)}
    for node in list(tree.find_all(exp.TableAlias, exp.Table, exp.Column)):
        if isinstance(node, exp.Column):
            if node.table in names:
                node.set("table", identifier(names[node.table]))
        elif node.name in names and (isinstance(node, exp.TableAlias) or node.name in parts):
            node.set("this", identifier(names[node.name]))
