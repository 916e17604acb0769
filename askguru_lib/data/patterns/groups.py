"""Patterns that put the rows of one table together: aggregates, groups and shares."""

from __future__ import annotations

import re

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import one_condition, only_year, rounded, some_conditions, what_happened
from askguru_lib.data.grammar import Grammar, NotHere, Pair
from askguru_lib.data.patterns.wording import (
    attribute_of,
    filtered,
    finish,
    measured,
    name_rows,
    ordered,
    per_group,
    with_or_noted,
)


def aggregate(g: Grammar) -> Pair:
    """SELECT AVG(measure) FROM table WHERE …"""
    table = g._table()
    measure = g._pick(table.of("number"))
    function = g.rng.choice(list(phrasing.AGGREGATES))
    condition = some_conditions(g, table.name)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    rows = name_rows(g, table.name, condition)
    said = g._said(measure)
    phrase = g.rng.choice([f"the {word} {said} of {rows}", f"the {word} {said} of all {rows}",
                           f"{word} {said} of {rows}",
                           f"the {word} {said} for {rows}", f"the {word} {said} across {rows}",
                           f"the {word} {said} among {rows}",
                           f"the {word} {said} of a single one of {rows}" if function in ("MAX", "MIN") else
                           f"{word} {said}, {rows}", f"{rows}: {word} {said}",
                           f"{word} {said} over {rows}", f"the {word} of the {said} of {rows}"])  # fmt: skip
    if function == "AVG" and g.rng.random() < 0.15:
        phrase = g.rng.choice([f"the {said} of {rows} on average", f"on average, the {said} of {rows}",
                               f"the {said} on average, {rows}"])  # fmt: skip
    if function == "SUM" and g.rng.random() < 0.25:
        phrase = g.rng.choice([f"the {said} of {rows} together", f"the {said} of all {rows} added up",
                               f"how much {said} {rows} have in total", f"the {said} of {rows} in all"])  # fmt: skip
    tree = filtered(g._select([g._agg(function, g._col(measure, False))], table.name), condition)
    return finish(g, "value", phrase, tree, "aggregate", "simple", condition)


def grouping(g: Grammar) -> Pair:
    """SELECT category, COUNT(*) … GROUP BY category."""
    table = g._table()
    years = [c for c in table.of("number") if phrasing.says_year(c.phrases[0])]
    group = g._pick([*table.of("category", "flag"), *years])
    measure, words = measured(g, table.name, False)
    condition = some_conditions(g, table.name) if g.rng.random() < 0.4 else None
    tree = filtered(g._select([g._col(group, False), measure], table.name), condition)
    tree = tree.group_by(g._col(group, False), copy=False)
    rows = name_rows(g, table.name, condition)
    if words != "how many" and g.rng.random() < 0.25:
        down = g.rng.random() < 0.7
        tree = tree.order_by(ordered(measure.copy(), down), copy=False)
        said = g._said(group)
        falling = ["highest first", "from most to least", "largest first", "biggest first", "in falling order",
                   f"the {said} with most first", f"biggest {said} first", "most first"]  # fmt: skip
        rising = ["lowest first", "from least to most", "smallest first", "in rising order"]
        order = g.rng.choice(falling if down else rising)
        if isinstance(measure, exp.Count) and down and g.rng.random() < 0.3:
            order = g.rng.choice([f"most common {said} first", f"most frequent {said} first"])
        phrase = f"{per_group(g, words, g._said(group), rows)}, {order}"
        return finish(g, "list", phrase, tree, "grouping", "moderate", condition)
    if words == "how many":
        said = g._said(group)
        forms = ("How many {x} are there per {s}?", "How many {x} does each {s} have?", "How many {x} in each {s}?",
                 "How are {x} spread over the {p}?", "How many {x} do we have for every {s}?",
                 "For each {s}, how many {x}?", "In each {s}, how many {x} are there?", "{x} by {s}, how many?",
                 "Count the {x} of each {s}", "Which {s} has how many {x}?")  # fmt: skip
        asked = g.rng.choice(forms).format(x=rows, s=said, p=phrasing.plural(said))
        return Pair(phrasing.say(g.rng, ("{x}",), asked),
                    condition.evidence if condition else "", tree, "grouping", "moderate")  # fmt: skip
    return finish(g, "list", per_group(g, words, g._said(group), rows), tree, "grouping", "moderate", condition)


def per_year(g: Grammar) -> Pair:
    """A measure per year of a date, or per month of one year; now and then in order."""
    table = g._table()
    date = g._pick([c for c in table.of("date") if c.values])
    measure, words = measured(g, table.name, False)
    words = "the number" if words == "how many" else words
    value = g.rng.choice(date.values)
    monthly = g.rng.random() < 0.4 and value[:4].isdigit()
    ref, noun = g._col(date, False), g._noun(table.name)
    part = g._part(g.rng.choice(["%Y-%m", "%Y-%m", "%m"]), ref) if monthly else g._year(ref)
    tree = g._select([part, measure], table.name)
    if monthly:
        tree = tree.where(exp.EQ(this=g._year(ref.copy()), expression=exp.Literal.string(value[:4])), copy=False)
        form = part.expressions[0].name
        shown = "01 to 12" if form == "%m" else f"{value[:4]}-{g.rng.choice(['01', '04', '11'])}"
        if form == "%m" or g.rng.random() < 0.4:
            forms = ["Months are written as {x}", "months as {x}", "Show the month as {x}", "month as {x}"]
            g.notes.append(g.rng.choice(forms).format(x=shown))
    tree = tree.group_by(part.copy(), copy=False)
    happened = what_happened(g, date)
    named = bool(happened) and g.rng.random() < 0.4
    clear = named or only_year(g, date)
    rows = f"{noun} {happened}" if named else noun if clear or not monthly else f"{noun} with {g._said(date)}"
    if monthly:
        said = g.rng.choice([f"month of {value[:4]}", f"month in {value[:4]}", f"month of the year {value[:4]}"])
    else:
        said = g.rng.choice([f"{g._said(date)} year", f"year of {g._said(date)}", *["year"] * clear])
    phrase = per_group(g, words, said, rows)
    if g.rng.random() < 0.4:
        tree = tree.order_by(ordered(part.copy(), False), copy=False)
        order = g.rng.choice(["in order", "in order of time", "oldest first", "from first to last"])
        phrase = with_or_noted(g, phrase, order, 0.5)
    return finish(g, "list", phrase, tree, "per year", "moderate")


def having(g: Grammar) -> Pair:
    """SELECT category … GROUP BY category HAVING …"""
    table = g._table()
    group = g._pick(table.of("category"))
    said, noun, k = g._said(group), g._noun(table.name), g.rng.choice([1, 2, 3, 5, 10, 20, 50])
    operator = g.rng.choice([">", ">=", "<"])
    k = max(k, 2) if operator == "<" else k
    word = g.rng.choice(phrasing.COMPARISONS[operator])
    node = {">": exp.GT, ">=": exp.GTE, "<": exp.LT}[operator]
    numbers = [c for c in table.of("number") if c.values]
    if numbers and g.rng.random() < 0.35:
        measure, function = g.rng.choice(numbers), g.rng.choice(["AVG", "AVG", "SUM", "MAX"])
        value, many = rounded(g, g.rng.choice(measure.values)), phrasing.plural(said)
        what = f"{g.rng.choice(phrasing.AGGREGATES[function])} {g._said(measure)}"
        tree = g._select([g._col(group, False)], table.name).group_by(g._col(group, False), copy=False)
        tree = tree.having(node(this=g._agg(function, g._col(measure, False)), expression=exp.Literal.number(value)),
                           copy=False)  # fmt: skip
        phrase = g.rng.choice([f"the {many} of {noun} with {word} {value} {what}",
                               f"the {many} whose {noun} have a {what} of {word} {value}",
                               f"{many} where the {what} of {noun} is {word} {value}"])  # fmt: skip
        return finish(g, "list", phrase, tree, "having", "challenging")
    tree = g._select([g._col(group, False)], table.name).group_by(g._col(group, False), copy=False)
    tree = tree.having(node(this=g._count(), expression=exp.Literal.number(k)), copy=False)
    many = phrasing.plural(said)
    phrase = g.rng.choice([f"the {many} with {word} {k} {noun}", f"the {many} that have {word} {k} {noun}",
                           f"{many} having {word} {k} {noun}", f"every {said} with {word} {k} {noun}",
                           f"{many} that occur with {word} {k} {noun}"])  # fmt: skip
    return finish(g, "list", phrase, tree, "having", "moderate")


def most_common(g: Grammar) -> Pair:
    """The category that occurs most (or least) often."""
    table = g._table()
    group = g._pick(table.of("category", "category", "label"))
    condition = some_conditions(g, table.name) if g.rng.random() < 0.35 else None
    down = g.rng.random() < 0.75
    said, rows = g._said(group), name_rows(g, table.name, condition)
    word = g.rng.choice(["most common", "most frequent"] if down else ["least common", "rarest", "least frequent"])
    many = "most" if down else "fewest"
    phrase = g.rng.choice([f"the {word} {said} of {rows}", f"the {word} {said} among {rows}",
                           f"the {said} with the {many} {rows}",
                           f"the {said} that has the {many} {rows}"])  # fmt: skip
    tree = filtered(g._select([g._col(group, False)], table.name), condition).group_by(g._col(group, False), copy=False)
    tree = tree.order_by(ordered(g._count(), down), copy=False).limit(1, copy=False)
    return finish(g, "value", phrase, tree, "most common", "moderate", condition)


def beyond_average(g: Grammar) -> Pair:
    """Rows above or below the average of a measure: a nested query."""
    table = g._table()
    measure = g._pick(table.of("number"))
    above, label, said = g.rng.random() < 0.65, g._label(table.name), g._said(measure)
    inner = g._select([exp.Avg(this=g._col(measure, False))], table.name)
    node = exp.GT if above else exp.LT
    test = node(this=g._col(measure, False), expression=exp.Subquery(this=inner))
    word = g.rng.choice(
        ["above", "higher than", "more than", "over"] if above else ["below", "lower than", "less than"]
    )
    rows = g.rng.choice([f"{g._noun(table.name)} with {said} {word} the average",
                         f"{g._noun(table.name)} whose {said} is {word} average",
                         f"{g._noun(table.name)} with a {said} {word} the average {said}"])  # fmt: skip
    if g.rng.random() < 0.3:
        tree = g._select([g._count()], table.name).where(test, copy=False)
        return finish(g, "count", rows, tree, "beyond average", "moderate")
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.4 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, "beyond average", "moderate")


def share(g: Grammar) -> Pair:
    """Percentage of rows that meet a condition; of all, or of those that meet another one."""
    table = g._table()
    condition = some_conditions(g, table.name, least=1)
    assert condition is not None
    case = exp.Case(ifs=[exp.If(this=condition.tree, true=exp.Literal.number(1))], default=exp.Literal.number(0))
    ratio = exp.Div(
        this=exp.Mul(this=exp.Literal.number("100.0"), expression=exp.Sum(this=case)), expression=g._count(), typed=True
    )
    noun, tree = g._noun(table.name), g._select([ratio], table.name)
    if g.rng.random() < 0.3:
        of = one_condition(g, table.name)
        if {c.name for c in of.tree.find_all(exp.Column)} & {c.name for c in condition.tree.find_all(exp.Column)}:
            raise NotHere
        rows = name_rows(g, table.name, of)
        among = g.rng.choice(["percentage", "share in percent", "percentage"])
        question = g.rng.choice([f"of the {rows}, what {among} {phrasing.predicate(condition.phrase)}?",
                                 f"what percentage of {rows} {phrasing.predicate(condition.phrase)}?",
                                 f"among {rows}, the {among} of those {condition.phrase}",
                                 f"the percentage of those {condition.phrase} among {rows}"])  # fmt: skip
        evidence = "; ".join(filter(None, (of.evidence, condition.evidence)))
        return Pair(phrasing.say(g.rng, ("{x}",), question), evidence, filtered(tree, of), "share", "challenging")
    if g.rng.random() < 0.2:
        question = f"what percentage of {noun} {phrasing.predicate(condition.phrase)}?"
        return Pair(phrasing.say(g.rng, ("{x}",), question), condition.evidence, tree, "share", "challenging")
    short = condition.before and not condition.rest
    known = f"the percentage of {condition.before} {noun}" if short else f"in percent, the {noun} {condition.phrase}"
    phrase = g.rng.choice([f"the percentage of {noun} {condition.phrase}", known,
                           f"the share of {noun} {condition.phrase} in percent",
                           f"percent of {noun} {condition.phrase}",
                           f"the share of {noun} {condition.phrase}, in percent, among all {noun}"])  # fmt: skip
    return finish(g, "value", phrase, tree, "share", "challenging", condition)


def two_measures(g: Grammar) -> Pair:
    """SELECT MIN(price), MAX(price), or COUNT(*) with an aggregate; in all or per category."""
    table = g._table()
    measure = g._pick(table.of("number"))
    said, ref = g._said(measure), g._col(measure, False)
    first, second = g.rng.choice([("MIN", "MAX"), ("MIN", "MAX"), ("AVG", "MAX"), ("MIN", "AVG"), ("", "AVG"),
                                  ("", "SUM")])  # fmt: skip
    outputs = [g._agg(f, ref.copy()) if f else g._count() for f in (first, second)]
    words = [g.rng.choice(phrasing.AGGREGATES[f]) if f else "number" for f in (first, second)]
    condition = some_conditions(g, table.name)
    rows = name_rows(g, table.name, condition)
    both = f"{words[0]} and {words[1]} {said}" if first else f"number and the {words[1]} {said}"
    groups = table.of("category")
    if groups and g.rng.random() < 0.4:
        group = g.rng.choice(groups)
        tree = filtered(g._select([g._col(group, False), *outputs], table.name), condition)
        tree = tree.group_by(g._col(group, False), copy=False)
        phrase = per_group(g, f"the {both}", g._said(group), rows)
        return finish(g, "list", phrase, tree, "two measures", "moderate", condition)
    phrase = g.rng.choice([f"the {both} of {rows}", f"{both} of {rows}", f"{rows}: {both}", f"{both}, {rows}",
                           f"the {both} among {rows}"])  # fmt: skip
    return finish(g, "value", phrase, filtered(g._select(outputs, table.name), condition), "two measures", "moderate",
                  condition)  # fmt: skip


def busiest_time(g: Grammar) -> Pair:
    """The year, or the month of a year, in which most (or fewest) rows fall."""
    table = g._table()
    date = g._pick([c for c in table.of("date") if c.values and not c.nullable])
    year = g.rng.choice(date.values)[:4]
    monthly = g.rng.random() < 0.5 and year.isdigit()
    down = monthly or g.rng.random() < 0.7  # a month without rows would be the one with the fewest
    form = g.rng.choice(["%m", "%Y-%m"]) if monthly else "%Y"
    part = g._part(form, g._col(date, False))
    tree = g._select([part], table.name)
    if monthly:
        tree = tree.where(exp.EQ(this=g._year(g._col(date, False)), expression=exp.Literal.string(year)), copy=False)
        shown = "01 to 12" if form == "%m" else f"{year}-05"
        g.notes.append(g.rng.choice(["show the month as {x}", "Months are written as {x}"]).format(x=shown))
    tree = tree.group_by(part.copy(), copy=False).order_by(ordered(g._count(), down), copy=False).limit(1, copy=False)
    happened, noun, said = what_happened(g, date), g._noun(table.name), g._said(date)
    if happened and g.rng.random() < 0.6:
        rows = f"{noun} {phrasing.that_happened(happened).removeprefix('that ')}"
    elif only_year(g, date) and g.rng.random() < 0.5:
        rows = f"{noun} are there"
    elif re.match(r"(?:when|empty|date it)\b", said):
        raise NotHere
    else:
        rows = f"{noun} have their {said}"
    when = f"month of {year}" if monthly else "year"
    many = "most" if down else "fewest"
    question = g.rng.choice([f"in which {when} the {many} {rows}?", f"which {when} has the {many} {noun} by "
                             f"{said}?", f"the {when} in which the {many} {rows}",
                             f"what was the {when} in which the {many} {rows}?"])  # fmt: skip
    return Pair(phrasing.say(g.rng, ("{x}",), question), "", tree, "busiest time", "moderate")
