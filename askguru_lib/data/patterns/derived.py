"""Patterns that show what a column does not hold as it stands: classes of a measure, parts and forms of a text."""

from __future__ import annotations

import re

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import new_term, one_condition, rounded, some_conditions
from askguru_lib.data.grammar import Grammar, NotHere, Pair
from askguru_lib.data.patterns.wording import attribute_of, filtered, finish, name_rows, ordered


def classes(g: Grammar) -> Pair:
    """CASE WHEN price < 30 THEN 'cheap' … END: classes that the evidence defines, of each row or with their counts."""
    table = g._table()
    measure = g._pick([c for c in table.of("number") if len(c.values) > 2 and not c.nullable])
    bounds = sorted({rounded(g, value) for value in measure.values}, key=float)
    many = g.rng.random() < 0.6 and len(bounds) > 3
    terms = [new_term(g, table.name, phrasing.TERMS) for _ in range(3 if many else 2)]
    low = bounds[len(bounds) // 3]
    high = bounds[-1 - len(bounds) // 3]
    if many and low == high:
        raise NotHere
    ref, said = g._col(measure, False), g._said(measure)
    least, most, rest = terms[0], terms[1] if many else "", terms[-1]
    cases = [exp.If(this=exp.LT(this=ref, expression=exp.Literal.number(low)), true=exp.Literal.string(least))]
    if many:
        test = exp.GTE(this=ref.copy(), expression=exp.Literal.number(high))
        cases.append(exp.If(this=test, true=exp.Literal.string(most)))
    case = exp.Case(ifs=cases, default=exp.Literal.string(rest))
    below = g.rng.choice(["below", "under", "less than"])
    above = g.rng.choice(["{h} and more", "{h} or more", "at least {h}", "from {h}"]).format(h=high)
    told = [f"{least} is {below} {low} {said}"] + ([f"{most} is {above}"] if many else [])
    other = g.rng.choice(["is the rest", "is everything else", "is in between" if many else "otherwise"])
    g.notes.append(g.rng.choice([", ", "; "]).join([*told, f"{rest} {other}"]))
    condition = some_conditions(g, table.name) if g.rng.random() < 0.4 else None
    rows = name_rows(g, table.name, condition)
    named = g.rng.sample(terms, len(terms))
    listed, either = (f"{', '.join(named[:-1])} {word} {named[-1]}" for word in ("and", "or"))
    if g.rng.random() < 0.65:
        tree = filtered(g._select([case, g._count()], table.name), condition).group_by(case.copy(), copy=False)
        question = g.rng.choice([f"how many {rows} are {listed} each?", f"{rows}: how many are {listed}, each?",
                                 f"sort the {rows} into {listed} and count each class",
                                 f"number of {rows} per class: {listed}",
                                 f"how many {rows} are {listed}, respectively?",
                                 f"{listed}: how many {rows} are there of each?"])  # fmt: skip
        return Pair(phrasing.say(g.rng, ("{x}",), question), condition.evidence if condition else "", tree, "classes",
                    "challenging")  # fmt: skip
    label = g._label(table.name)
    tree = filtered(g._select([g._col(label, False), case], table.name), condition)
    phrase = g.rng.choice([f"the {g._said(label)} of {rows} and whether they are {either}",
                           f"{rows}, {g._said(label)} and class: {either}",
                           f"{rows} with {g._said(label)} and label, {either}"])  # fmt: skip
    return finish(g, "list", phrase, tree, "classes", "moderate", condition)


def text_form(g: Grammar) -> Pair:
    """UPPER(name), LENGTH(name) > 20: names in another form, or by their length."""
    table = g._table()
    column = g._pick([c for c in table.of("label") if c.values])
    condition = one_condition(g, table.name, avoid=column.name) if g.rng.random() < 0.5 else None
    if condition and condition.tree.find(exp.Like):
        raise NotHere  # it might be the form that is to begin with something
    ref, said, rows = g._col(column, False), g._said(column), name_rows(g, table.name, condition)
    if g.rng.random() < 0.5:
        large = g.rng.random() < 0.7
        shown = exp.Upper(this=ref) if large else exp.Lower(this=ref)
        how = g.rng.choice(["in capital letters", "in capitals", "in upper case", "all in capitals"] if large
                           else ["in small letters", "in lower case"])  # fmt: skip
        tree = filtered(g._select([shown], table.name), condition)
        named = attribute_of(g, said, rows)
        phrase = f"{named} {how}" if condition is None and g.rng.random() < 0.6 else f"{how}, {named}"
        return finish(g, "list", phrase, tree, "text form", "simple", condition)
    limit = g.rng.choice([4, 5, 8, 10, 12, 15, 20, 25])
    longer = g.rng.random() < 0.7
    test = (exp.GT if longer else exp.LT)(this=exp.Length(this=ref), expression=exp.Literal.number(limit))
    word = g.rng.choice(["more than", "over", "above"] if longer else ["fewer than", "less than", "under"])
    size = f"{word} {limit} characters"
    if g.rng.random() < 0.5:
        tree = filtered(g._select([g._count()], table.name), condition).where(test, copy=False)
        rows = f"{rows} and whose {said} has {size}" if condition else f"{rows} whose {said} has {size}"
        return finish(g, "count", rows, tree, "text form", "moderate", condition)
    tree = filtered(g._select([ref.copy()], table.name), condition).where(test, copy=False)
    many = phrasing.plural(said)
    phrase = g.rng.choice([f"the {many} that have {size}, of {rows}", f"the {many} with {size} of {rows}",
                           f"{many} of {size} of {rows}"])  # fmt: skip
    return finish(g, "list", phrase, tree, "text form", "moderate", condition)


def initials(g: Grammar) -> Pair:
    """substr(name, 1, 1) … GROUP BY: how many rows begin with which letters."""
    table = g._table()
    columns = [c for c in table.of("label", "key") if c.values and re.search("CHAR|TEXT", c.sql_type)]
    column = g._pick([c for c in columns if all(re.match(r"\w\w", value) for value in c.values)])
    long = 1 if column.kind == "label" else g.rng.choice([1, 2, 2, 3])
    part = exp.Anonymous(this="substr", expressions=[g._col(column, False), exp.Literal.number(1),
                                                     exp.Literal.number(long)])  # fmt: skip
    said, noun = g._said(column), g._noun(table.name)
    letters = "letter" if all(value[:long].isalpha() for value in column.values) else "character"
    what = f"first {letters}" if long == 1 else f"first {phrasing.NUMBER_WORDS[long]} {letters}s"
    term = new_term(g, table.name, ("initial",) if long == 1 else ("series", "family", "section", "prefix"))
    if g.rng.random() < 0.5:
        g.notes.append(f"{g.rng.choice(['The ', 'the ', ''])}{term} is the {what} of the {said}")
        group = term
    else:
        group = f"{what} of the {said}"
    tree = g._select([part, g._count()], table.name).group_by(part.copy(), copy=False)
    phrase = g.rng.choice([f"the number of {noun} for each {group}", f"number of {noun} by {group}",
                           f"the count of {noun} per {group}",
                           f"each {group} and the number of its {noun}"])  # fmt: skip
    if g.rng.random() < 0.3:
        tree = tree.order_by(ordered(part.copy(), False), copy=False)
        phrase = f"{phrase}, {g.rng.choice(['A to Z', 'in alphabetical order', 'from A to Z'])}"
    return finish(g, "list", phrase, tree, "initials", "moderate")
