"""Patterns that read two tables or more."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import Grammar, Link, Pair
from askguru_lib.data.patterns.wording import attribute_of, filtered, finish, measured, name_rows, ordered, per_group


def _joined(g: Grammar, outputs: list[exp.Expr], link: Link) -> exp.Select:
    return g._join(g._select(outputs, link.child), link, link.parent)


def _owned(g: Grammar, child: str, parent: str) -> str:
    """``orders of customers``: how the rows of a child are said through their parent."""
    many, one = g._noun(parent), g._one(parent)
    return g.rng.choice([f"{child} of {many}", f"{child} of the {one}", f"{child} for {many}", f"{child} from {many}",
                         f"{child} belonging to {many}"])  # fmt: skip


def join_listing(g: Grammar) -> Pair:
    """Columns of a child, condition on its parent, or the other way round."""
    link = g._pick(g.links)
    near, far = (link.child, link.parent) if g.rng.random() < 0.6 else (link.parent, link.child)
    condition = g.condition(far, qualified=True)
    output = g._label(near) if g.rng.random() < 0.6 else g._pick(g.tables[near].columns)
    tree = _joined(g, [g._col(output, True)], link).where(condition.tree, copy=False)
    if near == link.parent:
        tree = tree.distinct(copy=False)
        rows = f"{g._noun(near)} {g.rng.choice(['that have', 'with', 'having'])} {g._noun(far)} {condition.phrase}"
    else:
        rows = f"{_owned(g, g._noun(near), far)} {condition.phrase}"
    phrase = rows if output.kind == "label" and g.rng.random() < 0.4 else attribute_of(g, g._said(output), rows)
    return finish(g, "list", phrase, tree, "join listing", "moderate", condition)


def join_pair(g: Grammar) -> Pair:
    """A column of each side."""
    link = g._pick(g.links)
    left, right = g._pick(g.tables[link.child].columns), g._label(link.parent)
    side = g.rng.choice([link.child, link.parent])
    condition = g.condition(side, qualified=True) if g.rng.random() < 0.6 else None
    tree = filtered(_joined(g, [g._col(left, True), g._col(right, True)], link), condition)
    one = g._one(link.parent)
    and_parent = g.rng.choice([f"the {g._said(right)} of their {one}", f"the {one} {g._said(right)}",
                               f"their {one}'s {g._said(right)}"])  # fmt: skip
    rows = name_rows(g, link.child, condition if side == link.child else None)
    rest = f" for {g._noun(link.parent)} {condition.phrase}" if condition and side == link.parent else ""
    phrase = f"the {g._said(left)} of {rows} and {and_parent}{rest}"
    return finish(g, "list", phrase, tree, "join pair", "moderate", condition)


def join_measure(g: Grammar) -> Pair:
    """COUNT or an aggregate over a child, condition on its parent."""
    link = g._pick(g.links)
    condition = g.condition(link.parent, qualified=True)
    measure, words = measured(g, link.child, True)
    tree = _joined(g, [measure], link).where(condition.tree, copy=False)
    rows = f"{_owned(g, g._noun(link.child), link.parent)} {condition.phrase}"
    if isinstance(measure, exp.Count):
        return finish(g, "count", rows, tree, "join measure", "moderate", condition)
    return finish(g, "value", f"{words} of {rows}", tree, "join measure", "moderate", condition)


def join_grouping(g: Grammar) -> Pair:
    """A measure of the children per parent."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    measure, words = measured(g, link.child, True)
    words = "the number" if words == "how many" else words
    condition = g.condition(link.child, qualified=True) if g.rng.random() < 0.25 else None
    tree = filtered(_joined(g, [g._col(label, True), measure], link), condition).group_by(
        g._col(label, True), copy=False
    )
    one = g._one(link.parent)
    if isinstance(measure, exp.Count) and g.rng.random() < 0.3:
        rows = name_rows(g, link.child, condition)
        forms = (f"how many {rows} does each {one} have?", f"how many {rows} are there for each {one}?",
                 f"for every {one}, how many {rows} are there?", f"how many {rows} per {one}?")  # fmt: skip
        return Pair(phrasing.say(g.rng, forms, ""), condition.evidence if condition else "", tree, "join grouping",
                    "moderate")  # fmt: skip
    group = g.rng.choice([one, f"{one} {g._said(label)}"])
    phrase = per_group(g, words, group, name_rows(g, link.child, condition))
    return finish(g, "list", phrase, tree, "join grouping", "moderate", condition)


def top_parent(g: Grammar) -> Pair:
    """The parents with most children, or with the largest measure of them."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    measure, words = measured(g, link.child, True)
    down, k = g.rng.random() < 0.75, 1 if g.rng.random() < 0.6 else g.rng.choice([2, 3, 5])
    tree = _joined(g, [g._col(label, True)], link).group_by(g._col(label, True), copy=False)
    tree = tree.order_by(ordered(measure, down), copy=False).limit(k, copy=False)
    child = g._noun(link.child)
    if isinstance(measure, exp.Count):
        how = f"with the {'most' if down else 'fewest'} {child}"
    else:
        how = f"with the {'highest' if down else 'lowest'} {words.removeprefix('the ')} of {child}"
    noun = g._one(link.parent) if k == 1 else f"{k} {g._noun(link.parent)}"
    if k == 1 and label.kind == "label" and g.rng.random() < 0.25:
        question = phrasing.say(g.rng, ("which {x}?", "what {x}?"), f"{noun} {how.replace('with', 'has', 1)}")
        return Pair(question, "", tree, "top parent", "challenging")
    said = g._said(label)
    phrase = (
        f"the {noun} {how}" if label.kind == "label" and g.rng.random() < 0.5 else f"the {said} of the {noun} {how}"
    )
    return finish(g, "list", phrase, tree, "top parent", "challenging")


def parent_having(g: Grammar) -> Pair:
    """Parents with more than k children."""
    link = g._pick(g.links)
    label, k = g._label(link.parent), g.rng.choice([1, 2, 3, 5, 10, 20])
    operator = g.rng.choice([">", ">="])
    word = g.rng.choice(phrasing.COMPARISONS[operator])
    test = (exp.GT if operator == ">" else exp.GTE)(this=g._count(), expression=exp.Literal.number(k))
    tree = _joined(g, [g._col(label, True)], link).group_by(g._col(label, True), copy=False).having(test, copy=False)
    rows = f"{g._noun(link.parent)} {g.rng.choice(['with', 'that have', 'having'])} {word} {k} {g._noun(link.child)}"
    phrase = rows if g.rng.random() < 0.4 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, "parent having", "challenging")


def childless(g: Grammar) -> Pair:
    """Parents that no child refers to."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    fk = next(c for c in g.tables[link.child].columns if c.name == link.column)
    inner = g._select([g._ref(None, link.column)], link.child)
    if fk.nullable:
        inner = inner.where(exp.Not(this=exp.Is(this=g._ref(None, link.column), expression=exp.Null())), copy=False)
    test = exp.Not(this=exp.In(this=g._ref(None, link.ref), query=exp.Subquery(this=inner)))
    many, one = g._noun(link.child), g._one(link.child)
    lacking = g.rng.choice([f"without any {many}", f"that have no {many}", f"with no {one}", f"without {many}"])
    rows = f"{g._noun(link.parent)} {lacking}"
    if g.rng.random() < 0.3:
        return finish(
            g, "count", rows, g._select([g._count()], link.parent).where(test, copy=False), "childless", "moderate"
        )
    phrase = rows if g.rng.random() < 0.5 else attribute_of(g, g._said(label), rows)
    tree = g._select([g._col(label, False)], link.parent).where(test, copy=False)
    return finish(g, "list", phrase, tree, "childless", "moderate")


def two_hops(g: Grammar) -> Pair:
    """Child → parent → grandparent: list, count or aggregate."""
    lower, upper = g._pick(g.chains)
    condition = g.condition(upper.parent, qualified=True)
    far, near = g._noun(upper.parent), g._noun(lower.child)
    rows = g.rng.choice([f"{near} of {far} {condition.phrase}", f"{near} belonging to {far} {condition.phrase}",
                         f"{near} whose {g._one(lower.parent)} belongs to {far} {condition.phrase}"])  # fmt: skip
    measure, words = measured(g, lower.child, True)
    counted = isinstance(measure, exp.Count)
    listed = g.rng.random() < 0.5
    output = g._label(lower.child)
    first: exp.Expr = g._col(output, True) if listed else measure
    tree = g._join(g._join(g._select([first], lower.child), lower, lower.parent), upper, upper.parent)
    tree = tree.where(condition.tree, copy=False)
    if listed:
        return finish(g, "list", attribute_of(g, g._said(output), rows), tree, "two hops", "challenging", condition)
    kind, phrase = ("count", rows) if counted else ("value", f"{words} of {rows}")
    return finish(g, kind, phrase, tree, "two hops", "challenging", condition)


def both_conditions(g: Grammar) -> Pair:
    """Count or list of a child with conditions on it and on its parent."""
    link = g._pick(g.links)
    here, there = g.condition(link.child, qualified=True), g.condition(link.parent, qualified=True)
    test = exp.And(this=here.tree, expression=there.tree)
    rows = f"{g._noun(link.child)} {here.phrase} of {g._noun(link.parent)} {there.phrase}"
    if g.rng.random() < 0.5:
        tree = _joined(g, [g._count()], link).where(test, copy=False)
        return finish(g, "count", rows, tree, "both conditions", "challenging", here, there)
    output = g._label(link.child)
    tree = _joined(g, [g._col(output, True)], link).where(test, copy=False)
    return finish(
        g, "list", attribute_of(g, g._said(output), rows), tree, "both conditions", "challenging", here, there
    )
