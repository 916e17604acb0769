"""Wrong queries of the kinds that models write, made from right ones by changing one place of the tree."""

from __future__ import annotations

import random
from collections.abc import Callable

from sqlglot import exp

from askguru_lib.data.grammar import identifier
from askguru_lib.data.trees import parse, render
from askguru_lib.databases.m_schema import MSchema

Mutation = Callable[[exp.Expr, MSchema, random.Random], bool]


def _columns(tree: exp.Expr) -> list[exp.Column]:
    return [c for c in tree.find_all(exp.Column) if isinstance(c.this, exp.Identifier)]


def _home(column: exp.Column, tree: exp.Expr, schema: MSchema) -> str | None:
    """The table of ``schema`` that a column belongs to."""
    scope = [column.table] if column.table else [t.name for t in tree.find_all(exp.Table)]
    for name in scope:
        if column.name in schema.tables.get(name, {}).get("fields", {}):
            return name
    return None


def wrong_column(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """Another column of the same table."""
    options = [(c, home) for c in _columns(tree) if (home := _home(c, tree, schema))]
    if not options:
        return False
    column, home = rng.choice(options)
    others = [n for n in schema.tables[home]["fields"] if n != column.name]
    if not others:
        return False
    column.set("this", identifier(rng.choice(others)))
    return True


def wrong_table(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """A column said to be of a table that does not have it."""
    options = [c for c in _columns(tree) if _home(c, tree, schema)]
    tables = [t.name for t in tree.find_all(exp.Table)]
    if not options or not tables:
        return False
    column = rng.choice(options)
    home = _home(column, tree, schema)
    others = [t for t in schema.tables if t != home and column.name not in schema.tables[t]["fields"]]
    inside = [t for t in others if t in tables]
    if not others:
        return False
    if column.table:
        column.set("table", identifier(rng.choice(inside or others)))
    else:
        table = next(t for t in tree.find_all(exp.Table) if t.name == home)
        table.set("this", identifier(rng.choice(others)))
    return True


def misspelt_name(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """A letter dropped, doubled or an ``s`` too many in a table's or column's name."""
    names = [i for i in tree.find_all(exp.Identifier) if len(i.name) > 2]
    if not names:
        return False
    old = rng.choice(names).name
    i = rng.randrange(1, len(old))
    new = rng.choice([old[:i] + old[i + 1 :], old[:i] + old[i - 1] + old[i:], old + "s", old.removesuffix("s")])
    if new == old:
        new = old + "s"
    place = rng.choice([i for i in names if i.name == old])
    place.replace(identifier(new))
    return True


def missing_join(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """A joined table left out, so that its columns have no home."""
    joins = list(tree.find_all(exp.Join))
    if not joins:
        return False
    rng.choice(joins).pop()
    return True


def wrong_join_key(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """A join on another column."""
    sides = [c for j in tree.find_all(exp.Join) if j.args.get("on") for c in j.args["on"].find_all(exp.Column)]
    options = [(c, h) for c in sides if (h := _home(c, tree, schema)) and len(schema.tables[h]["fields"]) > 1]
    if not options:
        return False
    column, home = rng.choice(options)
    column.set("this", identifier(rng.choice([n for n in schema.tables[home]["fields"] if n != column.name])))
    return True


def wrong_aggregate(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """AVG for SUM, MAX for MIN …"""
    kinds: list[type[exp.AggFunc]] = [exp.Avg, exp.Sum, exp.Min, exp.Max]
    options = list(tree.find_all(*kinds))
    if not options:
        return False
    node = rng.choice(options)
    node.replace(rng.choice([k for k in kinds if not isinstance(node, k)])(this=node.this.copy()))
    return True


def lost_filter(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """One condition forgotten."""
    wheres = list(tree.find_all(exp.Where))
    if not wheres:
        return False
    where = rng.choice(wheres)
    if isinstance(where.this, exp.And | exp.Or):
        where.set("this", rng.choice([where.this.left, where.this.right]).copy())
    else:
        where.pop()
    return True


def wrong_operator(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """A comparison the wrong way round, or AND for OR."""
    swaps: dict[type[exp.Expr], type[exp.Expr]] = {
        exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.GT, exp.LTE: exp.LT, exp.And: exp.Or, exp.Or: exp.And,
    }  # fmt: skip
    options = [n for n in tree.find_all(*swaps) if type(n) in swaps]
    if not options:
        return False
    node = rng.choice(options)
    node.replace(swaps[type(node)](this=node.this.copy(), expression=node.expression.copy()))
    return True


def missing_group(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """GROUP BY forgotten."""
    groups = list(tree.find_all(exp.Group))
    if not groups:
        return False
    rng.choice(groups).pop()
    return True


def wrong_order(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """Ascending for descending."""
    keys = list(tree.find_all(exp.Ordered))
    if not keys:
        return False
    key = rng.choice(keys)
    down = not key.args.get("desc")
    key.replace(exp.Ordered(this=key.this.copy(), desc=down or None, nulls_first=not down))
    return True


def dialect_slip(tree: exp.Expr, schema: MSchema, rng: random.Random) -> bool:
    """Another engine's way to take the year of a date, or another engine's LIKE."""
    calls = [f for f in tree.find_all(exp.Anonymous, exp.TimeToStr) if "%Y" in f.sql("sqlite")]
    if calls:
        call = rng.choice(calls)
        inner = next(call.find_all(exp.Column), None)
        if inner is None:
            return False
        call.replace(exp.Anonymous(this="YEAR", expressions=[inner.copy()]))
        return True
    likes = list(tree.find_all(exp.Like))
    if not likes:
        return False
    like = rng.choice(likes)
    like.replace(exp.RegexpLike(this=like.this.copy(), expression=like.expression.copy()))
    return True


MUTATIONS: dict[str, tuple[Mutation, float]] = {
    "wrong column": (wrong_column, 4), "wrong table": (wrong_table, 3), "misspelt name": (misspelt_name, 4),
    "missing join": (missing_join, 4), "wrong join key": (wrong_join_key, 2), "wrong aggregate": (wrong_aggregate, 2),
    "lost filter": (lost_filter, 2), "wrong operator": (wrong_operator, 2), "missing group": (missing_group, 2),
    "wrong order": (wrong_order, 1), "dialect slip": (dialect_slip, 2),
}  # fmt: skip
"""Kinds of mistake with their weights."""


def mutate(tree: exp.Expr, schema: MSchema, rng: random.Random) -> tuple[exp.Expr, str] | None:
    """A copy of ``tree`` with one mistake, and its kind; None if none of the kinds drawn applies."""
    for _ in range(6):
        kind = rng.choices(list(MUTATIONS), [w for _, w in MUTATIONS.values()])[0]
        broken = tree.copy()
        if MUTATIONS[kind][0](broken, schema, rng) and broken != tree:
            return broken, kind
    return None


def corrupt(sql: str, mschema: MSchema, rng: random.Random, dialect: str = "sqlite") -> tuple[str, str] | None:
    """``(wrong SQL, kind of mistake)``, or None if the query cannot be parsed or broken."""
    tree = parse(sql, dialect)
    result = mutate(tree, mschema, rng) if tree else None
    return (render(result[0], dialect), result[1]) if result else None
