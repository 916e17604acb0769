"""Patterns that read two tables or more."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import one_condition, only_date
from askguru_lib.data.grammar import Column, Grammar, Link, NotHere, Pair, identifier
from askguru_lib.data.patterns.wording import (
    attribute_of,
    filtered,
    finish,
    in_order,
    measured,
    name_rows,
    of_one,
    ordered,
    per_group,
    with_or_noted,
)
from askguru_lib.data.trees import is_known


def _joined(g: Grammar, outputs: list[exp.Expr], link: Link) -> exp.Select:
    return g._join(g._select(outputs, link.child), link, link.parent)


def _per_parent(g: Grammar, label: Column, link: Link) -> exp.Expr:
    """What rows are grouped by: the parent itself, not its name, which others may have, too."""
    return g._ref(link.parent, link.ref) if label.kind == "label" else g._col(label, True)


def _owned(g: Grammar, child: str, parent: str) -> str:
    """``orders of customers``: how the rows of a child are said through their parent."""
    many, one = g._noun(parent), g._one(parent)
    return g.rng.choice([f"{child} of {many}", f"{child} of the {one}", f"{child} for {many}", f"{child} from {many}",
                         f"{child} belonging to {many}"])  # fmt: skip


def join_listing(g: Grammar) -> Pair:
    """Columns of a child, condition on its parent, or the other way round."""
    link = g._pick(g.links)
    if g.rng.random() < 0.3 and (owner := of_one(g, link.parent, g._noun(link.child))):
        output = g._label(link.child) if g.rng.random() < 0.5 else g._pick(g.tables[link.child].columns)
        tree = _joined(g, [g._col(output, True)], link).where(owner[0], copy=False)
        phrase = (
            owner[1] if output.kind == "label" and g.rng.random() < 0.5 else attribute_of(g, g._said(output), owner[1])
        )
        tree, phrase = in_order(g, tree, phrase, output, qualified=True)
        return finish(g, "list", phrase, tree, "join listing", "moderate")
    near, far = (link.child, link.parent) if g.rng.random() < 0.6 else (link.parent, link.child)
    condition = one_condition(g, far, qualified=True)
    output = g._label(near) if g.rng.random() < 0.6 else g._pick(g.tables[near].columns)
    tree = _joined(g, [g._col(output, True)], link).where(condition.tree, copy=False)
    if near == link.parent:
        tree = tree.distinct(copy=False)
        rows = f"{g._noun(near)} {g.rng.choice(['that have', 'with', 'having'])} {g._noun(far)} {condition.phrase}"
    else:
        rows = f"{_owned(g, g._noun(near), far)} {condition.phrase}"
    phrase = rows if output.kind == "label" and g.rng.random() < 0.4 else attribute_of(g, g._said(output), rows)
    tree, phrase = in_order(g, tree, phrase, output, qualified=True)
    return finish(g, "list", phrase, tree, "join listing", "moderate", condition)


def join_pair(g: Grammar) -> Pair:
    """A column of each side."""
    link = g._pick(g.links)
    left, right = g._pick(g.tables[link.child].columns), g._label(link.parent)
    side = g.rng.choice([link.child, link.parent])
    condition = one_condition(g, side, qualified=True) if g.rng.random() < 0.6 else None
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
    measure, words = measured(g, link.child, True)
    if g.rng.random() < 0.35 and (owner := of_one(g, link.parent, g._noun(link.child))):
        tree = _joined(g, [measure], link).where(owner[0], copy=False)
        if isinstance(measure, exp.Count):
            return finish(g, "count", owner[1], tree, "join measure", "moderate")
        return finish(g, "value", f"{words} of {owner[1]}", tree, "join measure", "moderate")
    condition = one_condition(g, link.parent, qualified=True)
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
    condition = one_condition(g, link.child, qualified=True) if g.rng.random() < 0.25 else None
    tree = filtered(_joined(g, [g._col(label, True), measure], link), condition)
    tree = tree.group_by(_per_parent(g, label, link), copy=False)
    one = g._one(link.parent)
    if isinstance(measure, exp.Count) and g.rng.random() < 0.3:
        rows = name_rows(g, link.child, condition)
        forms = (f"how many {rows} does each {one} have?", f"how many {rows} are there for each {one}?",
                 f"for every {one}, how many {rows} are there?", f"how many {rows} per {one}?",
                 f"how many {rows} has every {one}?",
                 f"which {one} has how many {rows}?", f"count the {rows} of each {one}",
                 f"{g._noun(link.parent)} and how many {rows} they have")  # fmt: skip
        evidence = condition.evidence if condition else ""
        return Pair(phrasing.say(g.rng, ("{x}",), g.rng.choice(forms)), evidence, tree, "join grouping", "moderate")
    group = one if label.kind == "label" else g.rng.choice([one, f"{one} {g._said(label)}"])
    phrase = per_group(g, words, group, name_rows(g, link.child, condition))
    if g.rng.random() < 0.2:
        down = g.rng.random() < 0.8
        tree = tree.order_by(ordered(measure.copy(), down), copy=False)
        falling = ["highest first", "most first", "largest first", f"biggest {one} first", "in falling order"]
        first = g.rng.choice(falling if down else ["lowest first", "smallest first", "in rising order"])
        phrase = f"{phrase}, {first}"
    return finish(g, "list", phrase, tree, "join grouping", "moderate", condition)


def top_parent(g: Grammar) -> Pair:
    """The parents with most children, or with the largest measure of them."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    measure, words = measured(g, link.child, True)
    down, k = g.rng.random() < 0.75, 1 if g.rng.random() < 0.6 else g.rng.choice([2, 3, 5])
    condition = one_condition(g, link.child, qualified=True) if g.rng.random() < 0.25 else None
    shown = g.rng.random() < 0.15
    outputs: list[exp.Expr] = [g._col(label, True), *([measure.copy()] if shown else [])]
    tree = filtered(_joined(g, outputs, link), condition).group_by(_per_parent(g, label, link), copy=False)
    tree = tree.order_by(ordered(measure, down), copy=False).limit(k, copy=False)
    child = name_rows(g, link.child, condition)
    evidence = condition.evidence if condition else ""
    number = g.rng.choice(["and how many", "and the number", "with the number"]) if shown else ""
    if shown and not isinstance(measure, exp.Count):
        number = g.rng.choice(["and how much it is", "with that value", "and the value"])
    if isinstance(measure, exp.Count):
        how = f"with the {'most' if down else 'fewest'} {child}"
    else:
        how = f"with the {'highest' if down else 'lowest'} {words.removeprefix('the ')} of {child}"
    noun = g._one(link.parent) if k == 1 else f"{k} {g._noun(link.parent)}"
    if k == 1 and label.kind == "label" and g.rng.random() < 0.25:
        asked = f"{noun} {how.replace('with', 'has', 1)}{', ' + number if number else ''}"
        question = phrasing.say(g.rng, ("which {x}?", "what {x}?", "do you know which {x}?"), asked)
        return Pair(question, evidence, tree, "top parent", "challenging")
    said = g._said(label)
    phrase = (
        f"the {noun} {how}" if label.kind == "label" and g.rng.random() < 0.5 else f"the {said} of the {noun} {how}"
    )
    phrase = f"{phrase}{', ' + number if number else ''}"
    return finish(g, "list", phrase, tree, "top parent", "challenging", condition)


def parent_having(g: Grammar) -> Pair:
    """Parents with more than k children."""
    link = g._pick(g.links)
    label, k = g._label(link.parent), g.rng.choice([1, 2, 3, 5, 10, 20])
    operator = g.rng.choice([">", ">="])
    word = g.rng.choice(phrasing.COMPARISONS[operator])
    test = (exp.GT if operator == ">" else exp.GTE)(this=g._count(), expression=exp.Literal.number(k))
    tree = _joined(g, [g._col(label, True)], link).group_by(_per_parent(g, label, link), copy=False)
    tree = tree.having(test, copy=False)
    said = phrasing.number_word(g.rng, str(k), 0.5)
    have = g.rng.choice(["with", "that have", "having", "who have"])
    rows = f"{g._noun(link.parent)} {have} {word} {said} {g._noun(link.child)}"
    if g.rng.random() < 0.2:
        tree = tree.select(g._count(), copy=False)
        number = g.rng.choice(["and how many", "and the number", "and how many they have", "with the number of them"])
        return finish(g, "list", f"{rows}, {number}", tree, "parent having", "challenging")
    phrase = rows if g.rng.random() < 0.4 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, "parent having", "challenging")


def childless(g: Grammar) -> Pair:
    """Parents that no child refers to."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    inner = g._select([g._ref(None, link.column)], link.child)
    if link.column not in g.tables[link.child].key:  # a prompt does not say which other columns may be NULL
        known = is_known(g._ref(None, link.column))
        inner = inner.where(known, copy=False)
    test = exp.Not(this=exp.In(this=g._ref(None, link.ref), query=exp.Subquery(this=inner)))
    many, one = g._noun(link.child), g._one(link.child)
    lacking = g.rng.choice(
        [
            f"without any {many}",
            f"that have no {many}",
            f"with no {one}",
            f"without {many}",
            f"that never had any {many}",
            f"without a single {one}",
            f"that have never had a {one}",
            f"that do not have any {many}",
            f"that no {one} belongs to",
            f"with not one {one}",
            f"that appear in no {one}",
            f"not used by any {one}",
            f"which no {one} refers to",
        ]
    )
    rows = f"{g._noun(link.parent)} {lacking}"
    if g.rng.random() < 0.25:
        condition = one_condition(g, link.child)
        inner.where(condition.tree, copy=False)
        lacking = g.rng.choice(["without any", "that have no", "that never had"])
        rows = f"{g._noun(link.parent)} {lacking} {many} {condition.phrase}"
        g.notes.append(condition.evidence)
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
    condition = one_condition(g, upper.parent, qualified=True)
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
    here, there = one_condition(g, link.child, qualified=True), one_condition(g, link.parent, qualified=True)
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


def with_none(g: Grammar) -> Pair:
    """The number of children of every parent, those without any included: a left join."""
    link = g._pick(g.links)
    label, many = g._label(link.parent), g._noun(link.child)
    counted = exp.Count(this=g._ref(link.child, link.column))
    on = exp.EQ(this=g._ref(link.child, link.column), expression=g._ref(link.parent, link.ref))
    tree = g._select([g._col(label, True), counted], link.parent)
    tree = tree.join(exp.Table(this=identifier(link.child)), on=on, join_type="left", copy=False)
    tree = tree.group_by(_per_parent(g, label, link), copy=False)
    one = g._one(link.parent)
    also = g.rng.choice(["even if it has none", f"including {g._noun(link.parent)} without any", "including zeros",
                         "those without any too", "don't forget those that have none", "zero counts as well",
                         "also where there are none"])  # fmt: skip
    phrase = g.rng.choice([f"the number of {many} for every {one}", f"{many} per {one}",
                           f"how many {many} each {one} has",
                           f"all {g._noun(link.parent)} with their number of {many}"])  # fmt: skip
    phrase = with_or_noted(g, phrase, also, 0.3)
    return finish(g, "list", phrase, tree, "with none", "moderate")


def latest_of(g: Grammar) -> Pair:
    """A column of the latest, earliest, largest … child of one parent."""
    link = g._pick(g.links)
    key = g._pick([c for c in g.tables[link.child].of("date", "number") if not c.nullable])
    owner = of_one(g, link.parent, g._noun(link.child))
    if not owner:
        raise NotHere
    output = g._pick([c for c in g.tables[link.child].columns if c.kind != "key"])
    down = g.rng.random() < 0.65
    if key.kind == "date":
        word = g.rng.choice(["latest", "most recent", "last", "newest"] if down else ["first", "earliest", "oldest"])
    else:
        word = f"{g.rng.choice(['highest', 'largest', 'biggest'] if down else ['lowest', 'smallest'])} {g._said(key)}"
    tree = _joined(g, [g._col(output, True)], link).where(owner[0], copy=False)
    tree = tree.order_by(ordered(g._col(key, True), down), copy=False).limit(1, copy=False)
    said = g._said(output)
    if key.kind == "date":
        by = "" if only_date(g, key) and g.rng.random() < 0.6 else f" by {g._said(key)}"
        phrase = g.rng.choice([f"the {said} of the {word} of the {owner[1]}{by}",
                               f"of the {owner[1]}, the {said} of the {word}{by}",
                               f"the {said} of the {word} among the {owner[1]}{by}"])  # fmt: skip
    else:
        phrase = f"the {said} of the one with the {word} among the {owner[1]}"
    return finish(g, "value", phrase, tree, "latest of", "challenging")


def different_parents(g: Grammar) -> Pair:
    """How many different parents the children with a condition have."""
    link = g._pick(g.links)
    condition = one_condition(g, link.child)
    tree = g._select([exp.Count(this=exp.Distinct(expressions=[g._ref(None, link.column)]))], link.child)
    many, rows = g._noun(link.parent), name_rows(g, link.child, condition)
    has = g.rng.choice(["with", "that have", "that are behind", "that had"])
    phrase = g.rng.choice([f"different {many} {has} {rows}", f"distinct {many} {has} {rows}",
                           f"{many} {has} at least one of the {rows}",
                           f"{many} {has} {rows}, each counted once"])  # fmt: skip
    tree = tree.where(condition.tree, copy=False)
    return finish(g, "count", phrase, tree, "different parents", "moderate", condition)


def far_groups(g: Grammar) -> Pair:
    """Child → parent → grandparent: a measure of the children per grandparent, or the grandparent with most of them."""
    lower, upper = g._pick(g.chains)
    label = g._pick([g._label(upper.parent), *g.tables[upper.parent].of("category")])
    measure, words = measured(g, lower.child, True)
    words = "the number" if words == "how many" else words
    top = g.rng.random() < 0.45
    outputs: list[exp.Expr] = [g._col(label, True), *([] if top else [measure])]
    tree = g._join(g._join(g._select(outputs, lower.child), lower, lower.parent), upper, upper.parent)
    condition = one_condition(g, lower.child, qualified=True) if g.rng.random() < 0.25 else None
    tree = filtered(tree, condition).group_by(_per_parent(g, label, upper), copy=False)
    one, rows = g._one(upper.parent), name_rows(g, lower.child, condition)
    group = one if label.kind == "label" else f"{one} {g._said(label)}"
    if not top:
        return finish(g, "list", per_group(g, words, group, rows), tree, "far groups", "challenging", condition)
    tree = tree.order_by(ordered(measure, True), copy=False).limit(1, copy=False)
    most = "most" if isinstance(measure, exp.Count) else f"highest {words.removeprefix('the ')} of"
    phrase = g.rng.choice([f"the {group} with the {most} {rows}", f"the {group} that has the {most} {rows}",
                           f"the top {group} by {words.removeprefix('the ')} of {rows}"])  # fmt: skip
    return finish(g, "value", phrase, tree, "far groups", "challenging", condition)
