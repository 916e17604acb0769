"""Patterns that compare: with one row that is called by its name, with the row of the same table that a row refers to,
and what two tables have in common."""

from __future__ import annotations

import re
from itertools import permutations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import what_happened
from askguru_lib.data.grammar import PART_OF_NAME, Column, Grammar, Link, NotHere, Pair, identifier
from askguru_lib.data.patterns.wording import attribute_of, finish


_OF_A_FAMILY = re.compile(r"\b(?:(?:last|family) ?names?|surnames?)\b")


def _named(g: Grammar, table: str, wanted: exp.Expr, label: Column, value: str) -> exp.Subquery:
    """``(SELECT wanted FROM table WHERE label = value)``"""
    test = exp.EQ(this=g._col(label, False), expression=g._literal(label, value))
    return exp.Subquery(this=g._select([wanted], table).where(test, copy=False))


def _a_name(g: Grammar, table: str) -> tuple[Column, str]:
    """What a row is called, and one such name."""
    label = g._label(table)
    said = phrasing.humanize(label.name)
    if label.kind != "label" or PART_OF_NAME.search(said) or _OF_A_FAMILY.search(said):
        raise NotHere  # several rows may be called so
    return label, g._pick(list(label.values))


def _rows(g: Grammar, label: Column, rows: str, test: exp.Expr, name: str, count: float = 0.25) -> Pair:
    """The rows of a table that pass a test, or their number."""
    if g.rng.random() < count:
        tree = g._select([g._count()], label.table).where(test, copy=False)
        return finish(g, "count", rows, tree, name, "moderate")
    tree = g._select([g._col(label, False)], label.table).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.5 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, name, "moderate")


def beyond_row(g: Grammar) -> Pair:
    """Rows with more than one that is called by its name has, or with the same: a nested query."""
    table = g._table()
    label, value = _a_name(g, table.name)
    many, one = g._noun(table.name), g._one(table.name)
    who = g.rng.choice([value, value, f"the {one} {value}"])
    if g.rng.random() < 0.4:
        column = g._pick(table.of("category"))
        said = g._said(column)
        test: exp.Expr = exp.EQ(this=g._col(column, False),
                                expression=_named(g, table.name, g._col(column, False), label, value))  # fmt: skip
        rows = g.rng.choice([f"{many} with the same {said} as {who}", f"{many} of the same {said} as {who}",
                             f"{many} in the same {said} as {who}", f"{many} that share their {said} with {who}",
                             f"{many} whose {said} is that of {who}", f"{many} that have {who}'s {said}"])  # fmt: skip
        if g.rng.random() < 0.5:
            differs = exp.NEQ(this=g._col(label, False), expression=g._literal(label, value))
            test, rows = exp.and_(test, differs, copy=False), f"other {rows}"
        return _rows(g, label, rows, test, "like a row")
    column = g._pick(table.of("number", "date"))
    said, more = g._said(column), g.rng.random() < 0.6
    dated = column.kind == "date" or "year" in said.split()
    words = ("later", "earlier") if dated else g.rng.choice([("higher", "lower"), ("larger", "smaller")])
    word = words[not more]
    forms = [f"{many} with a {word} {said} than {who}", f"{many} whose {said} is {word} than that of {who}",
             f"{many} with a {said} {word} than {who}'s", f"{many} that have a {word} {said} than {who}"]  # fmt: skip
    short, happened = phrasing.COMPARATIVES.get(said.split()[-1]), what_happened(g, column) if dated else None
    if happened:
        forms += [f"{many} {happened} {'after' if more else 'before'} {who}"] * 2
    elif short and not dated:
        forms += [f"{many} {short[not more]} {who}"] * 2
    elif not dated and said.endswith("s"):
        forms += [f"{many} with {'more' if more else 'fewer'} {said} than {who}"] * 2
    node = exp.GT if more else exp.LT
    test = node(this=g._col(column, False), expression=_named(g, table.name, g._col(column, False), label, value))
    return _rows(g, label, g.rng.choice(forms), test, "beyond a row")


def own_parent(g: Grammar) -> Pair:
    """A table that refers to itself: the rows below one, the row above one, pairs, numbers, and what has none above."""
    link = g._pick(g.own_links)
    label, value = _a_name(g, link.child)
    column = next(c for c in g.tables[link.child].columns if c.name == link.column)
    role = re.sub(r" (?:id|no|number|code|key)$", "", g._said(column))
    many, one = g._noun(link.child), g._one(link.child)
    key, up = g._ref(None, link.ref), g._ref(None, link.column)
    roll = g.rng.random()
    if roll < 0.4:
        test: exp.Expr = exp.EQ(this=up, expression=_named(g, link.child, key, label, value))
        rows = g.rng.choice([f"{many} whose {role} is {value}", f"{many} with {value} as {role}",
                             f"{many} that have {value} as their {role}", f"{many} under {value}",
                             f"{many} below {value}", f"{many} that {value} is the {role} of"])  # fmt: skip
        return _rows(g, label, rows, test, "below a row")
    if roll < 0.6:
        test = exp.EQ(this=key, expression=_named(g, link.child, up, label, value))
        phrase = g.rng.choice([f"the {role} of {value}", f"{value}'s {role}", f"the {role} of the {one} {value}",
                               f"which {one} is the {role} of {value}", f"the {one} above {value}"])  # fmt: skip
        tree = g._select([g._col(label, False)], link.child).where(test, copy=False)
        return finish(g, "value", phrase, tree, "above a row", "moderate")
    if roll < 0.75:
        test = exp.Is(this=up, expression=exp.Null())
        rows = g.rng.choice([f"{many} without a {role}", f"{many} that have no {role}", f"{many} with no {role}",
                             f"{many} without any {role} above them"])  # fmt: skip
        return _rows(g, label, rows, test, "none above", count=0.4)
    return _with_own_parent(g, link, label, role, many, one)


def _with_own_parent(g: Grammar, link: Link, label: Column, role: str, many: str, one: str) -> Pair:
    tree = g._select([], link.child).join(
        exp.Table(this=identifier(link.child), alias=exp.TableAlias(this=identifier("other"))),
        on=exp.EQ(this=g._ref("one", link.column), expression=g._ref("other", link.ref)), copy=False)  # fmt: skip
    tree.args["from_"].this.set("alias", exp.TableAlias(this=identifier("one")))
    lower, upper = g._ref("one", label.name), g._ref("other", label.name)
    if g.rng.random() < 0.5:
        phrase = g.rng.choice([f"the {many} and their {phrasing.plural(role)}", f"every {one} with its {role}",
                               f"each {one} and its {role}", f"{g._said(label)} of {many} and of their {role}",
                               f"{many}, each with the {g._said(label)} of its {role}"])  # fmt: skip
        return finish(g, "list", phrase, tree.select(lower, upper, copy=False), "row and its own parent", "moderate")
    tree = tree.select(upper, g._count(), copy=False).group_by(upper.copy(), copy=False)
    phrase = g.rng.choice([f"for each {role}, the number of {many}", f"the number of {many} per {role}",
                           f"how many {many} each {role} has", f"every {role} with the number of its {many}",
                           f"{many} per {role}"])  # fmt: skip
    return finish(g, "list", phrase, tree, "number below each row", "challenging")


def in_both(g: Grammar) -> Pair:
    """What two tables have in common, or only one has: INTERSECT, EXCEPT, UNION, or a nested query."""
    pairs = [
        (a, b)
        for t, u in permutations(g.tables.values(), 2)
        for a in t.of("category")
        for b in u.of("category")
        if set(a.phrases) & set(b.phrases) and a.is_number == b.is_number
    ]
    first, second = g._pick(pairs)
    said = g.rng.choice(sorted(set(first.phrases) & set(second.phrases)))
    places, here, there = phrasing.plural(said), g._noun(first.table), g._noun(second.table)
    if here == there:
        raise NotHere
    if g.rng.random() < 0.4:
        return _where_others_are(g, first, second, said, here, there)
    left, right = (g._select([g._col(c, False)], c.table) for c in (first, second))
    kind = g.rng.choice([exp.Intersect, exp.Intersect, exp.Except, exp.Except, exp.Union])
    phrases = {
        exp.Intersect: [f"{places} that both {here} and {there} have", f"{places} with {here} as well as {there}",
                        f"{places} where there are both {here} and {there}",
                        f"the {places} of {here} and also of {there}",
                        f"{places} that {here} have in common with {there}"],
        exp.Except: [f"{places} that {here} have but no {there}", f"{places} with {here} but without {there}",
                     f"{places} of {here} where there are no {there}", f"{places} with {here} and no {there}",
                     f"{places} that occur among {here} and not among {there}"],
        exp.Union: [f"{places} of {here} and {there} together, each once",
                    f"all {places} of {here} or {there}, no repeats",
                    f"one list of the {places} of {here} and of {there}, each once",
                    f"every {said} that {here} or {there} have, each only once"],
    }  # fmt: skip
    tree = kind(this=left, expression=right, distinct=True)
    return finish(g, "list", g.rng.choice(phrases[kind]), tree, "two tables' values", "moderate")


def _where_others_are(g: Grammar, first: Column, second: Column, said: str, here: str, there: str) -> Pair:
    """Rows of a table whose value another table has, or lacks."""
    label = g._label(first.table)
    if label is first:
        raise NotHere
    inner = g._select([g._col(second, False)], second.table)
    lacking = g.rng.random() < 0.6
    if lacking and second.nullable:
        inner = inner.where(exp.Not(this=exp.Is(this=g._col(second, False), expression=exp.Null())), copy=False)
    test: exp.Expr = exp.In(this=g._col(first, False), query=exp.Subquery(this=inner))
    without = [f"{here} in a {said} without {there}", f"{here} in a {said} where there are no {there}",
               f"{here} whose {said} no {phrasing.singular(there)} has", f"{here} of a {said} that has no {there}",
               f"{here} in a {said} where we have no {phrasing.singular(there)}"]  # fmt: skip
    within = [f"{here} in a {said} with {there}", f"{here} in a {said} where there are {there}",
              f"{here} whose {said} some {phrasing.singular(there)} has", f"{here} of a {said} that also {there} have",
              f"{here} in a {said} where we have a {phrasing.singular(there)}"]  # fmt: skip
    rows = g.rng.choice(without if lacking else within)
    return _rows(g, label, rows, exp.Not(this=test) if lacking else test, "where others are")
