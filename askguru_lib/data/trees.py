"""SQL as a tree: reading it, writing it the way people do, and the questions that rewriting asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token

from askguru_lib.databases.m_schema import MSchema

Node = TypeVar("Node", bound=exp.Expr)

SQLGLOT_DIALECTS = {
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "postgresql": "postgres",
    "mysql": "mysql",
    "oracle": "oracle",
}
"""Dialect names of configuration files → sqlglot's. Cypher and nGQL are not SQL and have none."""


@lru_cache(maxsize=4096)
def shared_tree(sql: str, dialect: str = "sqlite") -> exp.Expr | None:
    """The tree of one statement, None when sqlglot cannot read it as one of this dialect.

    Reading is what most looks at a query cost, so a tree is kept: its callers share it and must not change it.
    """
    if dialect not in SQLGLOT_DIALECTS:
        return None
    try:
        read = sqlglot.parse(sql, read=SQLGLOT_DIALECTS[dialect])
    except (SqlglotError, RecursionError, ValueError):
        return None
    trees = [tree for tree in read if tree is not None and not isinstance(tree, exp.Semicolon)]
    return trees[0] if len(trees) == 1 else None


def parse(sql: str, dialect: str) -> exp.Query | None:
    """A tree of one's own; None when sqlglot cannot read the text as exactly one query of this dialect."""
    tree = shared_tree(sql, dialect)
    return tree.copy() if isinstance(tree, exp.Query) else None


def render(tree: exp.Expr, dialect: str = "sqlite", like: str = "") -> str:
    """The tree as text, with ``x NOT IN (…)`` rather than ``NOT x IN (…)``.

    Functions are spelt as in the query ``like``; without one, as the tree has them.
    """
    name = SQLGLOT_DIALECTS[dialect]
    if not like:
        return _generator(name)(dialect=name, comments=False, normalize_functions=False).generate(tree)
    text = _generator(name)(dialect=name, comments=False).generate(tree)
    spelling = {t.text.upper(): t.text for t in _functions(like, name)}
    for canonical, usual in (("SUBSTRING", "SUBSTR"), ("COALESCE", "IFNULL")):
        if canonical not in spelling and usual in spelling:
            spelling[canonical] = spelling[usual]
    for token in reversed(_functions(text, name)):
        text = text[: token.start] + spelling.get(token.text.upper(), token.text) + text[token.end + 1 :]
    return text


@lru_cache
def _generator(dialect: str) -> type[sqlglot.Generator]:
    base = Dialect.get_or_raise(dialect).generator_class

    class Natural(base):  # type: ignore[misc,valid-type]
        def not_sql(self, expression: exp.Not) -> str:
            inner = expression.this
            text, left = self.sql(inner), self.sql(inner, "this")
            if isinstance(inner, exp.In | exp.Between) and text.startswith(left):
                return f"{left} NOT{text.removeprefix(left)}"
            if isinstance(inner, exp.Is) and text.startswith(f"{left} IS"):
                return f"{left} IS NOT{text.removeprefix(f'{left} IS')}"
            return super().not_sql(expression)

        def exists_sql(self, expression: exp.Exists) -> str:
            return super().exists_sql(expression).replace("EXISTS(", "EXISTS (", 1)

    return Natural


def _functions(sql: str, dialect: str) -> list[Token]:
    """Tokens that name a function: a word directly before a bracket."""
    tokens = sqlglot.tokenize(sql, read=dialect) if sql else []
    return [
        a for a, b in pairwise(tokens) if b.text == "(" and b.start == a.end + 1 and sql[a.start : a.end + 1] == a.text
    ]


def places(tree: exp.Query, kind: type[Node]) -> Iterator[tuple[exp.Query, Node]]:
    """``(copy of the tree, one node of the given kind in that copy)``, one pair per node."""
    for index in range(sum(1 for _ in tree.find_all(kind))):
        copy = tree.copy()
        yield copy, list(copy.find_all(kind))[index]


def put(node: exp.Expr, new: exp.Expr) -> None:
    """Replace a condition, with brackets where its new surroundings would tear it apart."""
    safe = (exp.Where, exp.Having, exp.Paren, type(new))
    node.replace(exp.Paren(this=new) if isinstance(new, exp.Connector) and not isinstance(node.parent, safe) else new)


def is_known(column: exp.Expr) -> exp.Not:
    """``column IS NOT NULL``."""
    return exp.Not(this=exp.Is(this=column, expression=exp.Null()))


def all_literals(nodes: list[exp.Expr]) -> bool:
    """Literals of one kind: engines compare mixed lists by other rules than single values."""
    kinds = {"text" if n.is_string else "number" if n.is_number else "other" for n in nodes}
    return len(kinds) == 1 and "other" not in kinds


def sources_of(select: exp.Select) -> list[exp.Expr]:
    """What stands in FROM and JOIN, in order."""
    start = select.args.get("from_")
    return ([start.this] if start else []) + [j.this for j in select.args.get("joins") or []]


def source_name(node: exp.Expr) -> str:
    return node.alias_or_name.lower()


def conjuncts(condition: exp.Expr) -> list[exp.Expr]:
    return list(condition.flatten(unnest=False)) if isinstance(condition, exp.And) else [condition]


def is_conjunct_of_where(node: exp.Expr) -> bool:
    """True where NULL and false do the same: a row is left out."""
    parent = node.parent
    while isinstance(parent, exp.And | exp.Paren):
        parent = parent.parent
    return isinstance(parent, exp.Where)


def fields_of(mschema: MSchema, table: str) -> dict[str, dict]:
    for name, info in mschema.tables.items():
        if name.lower() == table.lower():
            return {c.lower(): f for c, f in info["fields"].items()}
    return {}


def bound_column(column: exp.Expr, select: exp.Select, mschema: MSchema) -> exp.Column | None:
    """The column with its source's name in front; None unless it belongs to a base table of this very SELECT."""
    if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
        return None
    owners = [
        s
        for s in sources_of(select)
        if isinstance(s, exp.Table)
        and column.table.lower() in ("", source_name(s))
        and column.name.lower() in fields_of(mschema, s.name)
    ]
    tables_only = all(isinstance(s, exp.Table) for s in sources_of(select))
    if len(owners) != 1 or not (column.table or tables_only):
        return None
    alias = owners[0].args.get("alias")
    table = alias.this if alias else owners[0].this
    return exp.Column(this=column.this.copy(), table=table.copy())


def is_plain(select: exp.Expr) -> bool:
    """A SELECT whose rows are just its source's rows that pass WHERE."""
    if not isinstance(select, exp.Select) or select.args.get("from_") is None:
        return False
    extras = ("with_", "group", "having", "limit", "offset", "qualify", "windows", "distinct", "laterals")
    return not any(select.args.get(e) for e in extras) and not any(
        s.find(exp.AggFunc, exp.Window) for s in select.expressions
    )


def own_select(node: exp.Expr) -> exp.Select | None:
    return node.find_ancestor(exp.Select)
