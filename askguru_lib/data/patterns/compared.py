"""Patterns that compare: with one row that is called by its name, with the row of the same table that a row refers to,
and what two tables have in common."""

from __future__ import annotations

import re
from itertools import permutations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import what_happened
from askguru_lib.data.grammar import OF_A_FAMILY, PART_OF_NAME, Column, Grammar, Link, NotHere, Pair, identifier
from askguru_lib.data.patterns.wording import attribute_of, finish
from askguru_lib.data.trees import is_known

_OF_A_KEY = re.compile(r" (?:id|no|nr|number|code|key|ref|reference)$")
_ABOVE = {"parent", "manager", "supervisor", "boss", "upper"}
"""Words of a reference to a row of the same table that put the row above the one that refers to it."""


def _named(g: Grammar, wanted: exp.Expr, label: Column, value: str) -> exp.Select:
    """``SELECT wanted FROM table WHERE label = value``"""
    test = exp.EQ(this=g._col(label, False), expression=g._literal(label, value))
    return g._select([wanted], label.table).where(test, copy=False)


def _one_of(column: exp.Expr, query: exp.Select) -> exp.In:
    return exp.In(this=column, query=exp.Subquery(this=query))


def _full_name(g: Grammar, table: str) -> Column:
    """What a row is called, if hardly another one is called so."""
    label = g._label(table)
    said = (phrasing.humanize(label.name), *label.phrases)
    if label.kind != "label" or any(PART_OF_NAME.search(s) or OF_A_FAMILY.search(s) for s in said):
        raise NotHere
    return label


def _rows(g: Grammar, label: Column, rows: str, test: exp.Expr, name: str, counted: float = 0.25) -> Pair:
    """The rows of a table that pass a test; a share of ``counted`` asks for their number."""
    if g.rng.random() < counted:
        tree = g._select([g._count()], label.table).where(test, copy=False)
        return finish(g, "count", rows, tree, name, "moderate")
    tree = g._select([g._col(label, False)], label.table).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.5 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, name, "moderate")


def beyond_row(g: Grammar) -> Pair:
    """Rows with more than one that is called by its name has, or with the same: a nested query."""
    table = g._table()
    label = _full_name(g, table.name)
    value, many, one = g._pick(list(label.values)), g._noun(table.name), g._one(table.name)
    who = g.rng.choice([value, value, f"the {one} {value}"])
    if g.rng.random() < 0.4:
        column = g._pick(table.of("category"))
        said, ref = g._said(column), g._col(column, False)
        test: exp.Expr = _one_of(ref, _named(g, ref.copy(), label, value))
        rows = g.rng.choice([f"{many} with the same {said} as {who}", f"{many} of the same {said} as {who}",
                             f"{many} in the same {said} as {who}", f"{many} whose {said} is that of {who}",
                             f"{many} that have {who}'s {said}"])  # fmt: skip
        if g.rng.random() < 0.5:
            differs = exp.NEQ(this=g._col(label, False), expression=g._literal(label, value))
            test, rows = exp.and_(test, differs, copy=False), f"other {rows}"
            if g.rng.random() < 0.2:
                rows = f"{many} that share their {said} with {who}"
        return _rows(g, label, rows, test, "same as a named row")
    column = g._pick(table.of("number", "date"))
    said, more = g._said(column), g.rng.random() < 0.6
    if phrasing.is_clause(said):
        raise NotHere
    dated = column.kind == "date" or phrasing.says_year(said)
    words = ("later", "earlier") if dated else g.rng.choice([("higher", "lower"), ("larger", "smaller")])
    word, article = words[not more], "" if said.endswith("s") else "a "
    forms = [f"{many} with {article}{word} {said} than {who}", f"{many} whose {said} is {word} than that of {who}",
             f"{many} with {article}{said} {word} than {who}'s",
             f"{many} that have {article}{word} {said} than {who}"]  # fmt: skip
    happened = what_happened(g, column) if dated else None
    short = phrasing.COMPARATIVES.get(said.split()[-1])
    alike = [c for c in table.of("number") if c is not column
             and any(phrasing.COMPARATIVES.get(p.split()[-1]) == short for p in c.phrases)]  # fmt: skip
    if happened:
        forms += [f"{many} {happened} {'after' if more else 'before'} {who}"] * 2
    elif short and not dated and not alike:
        forms += [f"{many} {short[not more]} {who}"] * 2
    elif not dated and said.endswith("s") and not said.endswith("ss") and not said.startswith("number of"):
        forms += [f"{many} with {'more' if more else 'fewer'} {said} than {who}"] * 2
    inner = exp.Subquery(this=_named(g, g._col(column, False), label, value))
    test = (exp.GT if more else exp.LT)(this=g._col(column, False), expression=inner)
    return _rows(g, label, g.rng.choice(forms), test, "beyond a named row")


def own_parent(g: Grammar) -> Pair:
    """A table that refers to itself: the rows below one, the row above one, pairs, numbers, and what has none above."""
    link = g._pick(g.own_links)
    label = _full_name(g, link.child)
    column = next(c for c in g.tables[link.child].columns if c.name == link.column)
    role = _OF_A_KEY.sub("", g._said(column))
    many, one = g._noun(link.child), g._one(link.child)
    key, up = g._ref(None, link.ref), g._ref(None, link.column)
    above, roll = bool(_ABOVE & set(role.split())), g.rng.random()
    if roll < 0.4:
        value = g._pick(list(label.values))
        forms = [f"{many} whose {role} is {value}", f"{many} with {value} as {role}",
                 f"{many} that have {value} as their {role}", f"{many} that {value} is the {role} of"]  # fmt: skip
        forms += [f"{many} directly under {value}", f"{many} directly below {value}"] if above else []
        return _rows(g, label, g.rng.choice(forms), _one_of(up, _named(g, key, label, value)), "below a named row")
    if roll < 0.6:
        value = g._pick(list(label.values))
        forms = [f"the {role} of {value}", f"{value}'s {role}", f"the {role} of the {one} {value}",
                 f"which {one} is the {role} of {value}"]  # fmt: skip
        forms += [f"the {one} directly above {value}"] if above else []
        tree = g._select([g._col(label, False)], link.child).where(
            _one_of(key, _named(g, up, label, value)), copy=False
        )
        return finish(g, "value", g.rng.choice(forms), tree, "above a named row", "moderate")
    if roll < 0.75:
        test = exp.Is(this=up, expression=exp.Null())
        rows = g.rng.choice([f"{many} without a {role}", f"{many} that have no {role}", f"{many} with no {role}",
                             f"{many} without any {role}"])  # fmt: skip
        return _rows(g, label, rows, test, "none above", counted=0.4)
    return _with_own_parent(g, link, label, role, many)


def _with_own_parent(g: Grammar, link: Link, label: Column, role: str, many: str) -> Pair:
    """Rows beside those they refer to, or how many refer to each."""
    tree = g._select([], link.child).join(
        exp.Table(this=identifier(link.child), alias=exp.TableAlias(this=identifier("other"))),
        on=exp.EQ(this=g._ref("one", link.column), expression=g._ref("other", link.ref)), copy=False)  # fmt: skip
    tree.args["from_"].this.set("alias", exp.TableAlias(this=identifier("one")))
    lower, upper = g._ref("one", label.name), g._ref("other", label.name)
    if g.rng.random() < 0.5:
        phrase = g.rng.choice([f"the {many} that have a {role}, and their {phrasing.plural(role)}",
                               f"{many} and their {phrasing.plural(role)}, where there is one",
                               f"{g._said(label)} of {many} with a {role} and of their {role}"])  # fmt: skip
        return finish(g, "list", phrase, tree.select(lower, upper, copy=False), "row and its own parent", "moderate")
    tree = tree.select(upper, g._count(), copy=False).group_by(g._ref("other", link.ref), copy=False)
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
        if set(a.phrases) & set(b.phrases) and a.is_number == b.is_number and a.meanings == b.meanings
        and not a.nullable and not b.nullable
    ]  # fmt: skip
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
                        f"the {places} of {here} that {there} have too",
                        f"{places} that {here} have in common with {there}"],
        exp.Except: [f"{places} that {here} have but no {there}", f"{places} with {here} but without {there}",
                     f"{places} with {here} and no {there}",
                     f"{places} that occur among {here} and not among {there}"],
        exp.Union: [f"{places} of {here} and {there} together, each once",
                    f"all {places} of {here} or {there}, no repeats",
                    f"one list of the {places} of {here} and of {there}, each once",
                    f"every {said} that {here} or {there} have, each only once"],
    }  # fmt: skip
    tree = kind(this=left, expression=right, distinct=True)
    return finish(g, "list", g.rng.choice(phrases[kind]), tree, "values of two tables", "moderate")


def _where_others_are(g: Grammar, first: Column, second: Column, said: str, here: str, there: str) -> Pair:
    """Rows of a table whose value another table has, or lacks."""
    label, one = g._label(first.table), g._one(second.table)
    if label is first:
        raise NotHere
    there_are = g._select([g._col(second, False)], second.table)
    test: exp.Expr = _one_of(g._col(first, False), there_are)
    lacking = g.rng.random() < 0.6
    if lacking:
        known = is_known(g._col(second, False))
        there_are.where(known, copy=False)
        forms = [f"{here} in a {said} without {there}", f"{here} in a {said} where there are no {there}",
                 f"{here} whose {said} no {one} has", f"{here} of a {said} that has no {there}",
                 f"{here} in a {said} where we have no {one}"]  # fmt: skip
    else:
        forms = [f"{here} in a {said} with {there}", f"{here} in a {said} where there are {there}",
                 f"{here} whose {said} some {one} has", f"{here} of a {said} that also {there} have",
                 f"{here} in a {said} where we have a {one}"]  # fmt: skip
    return _rows(g, label, g.rng.choice(forms), exp.Not(this=test) if lacking else test, "where others are")
