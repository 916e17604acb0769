"""Patterns that read one table."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import OPENINGS, Column, Grammar, NotHere, Pair
from askguru_lib.data.patterns.wording import (
    ask_which,
    attribute_of,
    filtered,
    finish,
    measured,
    name_rows,
    ordered,
    per_group,
)

COMPARED = {
    ("date", True): ("after", "before"),
    ("date", False): ("later than", "earlier than"),
    ("number", True): ("greater than", "less than"),
    ("number", False): ("above", "below"),
}
"""How one column is said to exceed another, or to fall short of it: the common words and others."""


def listing(g: Grammar) -> Pair:
    """SELECT columns FROM table WHERE …"""
    table = g._table()
    condition = g.conditions(table.name, least=0 if g.rng.random() < 0.15 else 1)
    label = g._label(table.name)
    if condition and label.kind == "label" and g.rng.random() < 0.12:
        tree = filtered(g._select([g._col(label, False)], table.name), condition)
        return ask_which(
            g, f"{g.rng.choice(['which', 'which', 'what'])} {g._noun(table.name)}", condition, tree, "listing"
        )
    if g.rng.random() < 0.35:
        outputs = [label]
        phrase = g.rng.choice([f"the {name_rows(g, table.name, condition)}", name_rows(g, table.name, condition),
                               f"all {name_rows(g, table.name, condition)}"])  # fmt: skip
    else:
        outputs = g.rng.sample(table.columns, min(len(table.columns), g.rng.choices([1, 2, 3], [0.62, 0.3, 0.08])[0]))
        phrase = attribute_of(
            g, phrasing.join_words(g.rng, [g._said(c) for c in outputs]), name_rows(g, table.name, condition)
        )
    tree = filtered(g._select([g._col(c, False) for c in outputs], table.name), condition)
    return finish(g, "list", phrase, tree, "listing", "simple", condition)


def lookup(g: Grammar) -> Pair:
    """An attribute of the one row that is called by its name."""
    table = g._table()
    label = g._pick([c for c in table.of("label") if c.values] or [c for c in table.of("category") if c.values])
    wanted = g._pick([c for c in table.columns if c.name != label.name and (c.kind != "key" or g.rng.random() < 0.2)])
    value, said, one = g.rng.choice(label.values), g._said(wanted), g._one(table.name)
    phrase = g.rng.choice([f"the {said} of the {value} {one}", f"{said} of {value}", f"{value}: {said}",
                           f"the {said} of {value}", f"the {said} of the {one} {value}", f"{value}'s {said}",
                           f"the {said} for {one} {value}", f"the {said} of the {one} called {value}",
                           f"the {said} of the {one} whose {g._said(label)} is {value}",
                           f"the {said} of the {one} named '{value}'"])  # fmt: skip
    test = exp.EQ(this=g._col(label, False), expression=g._literal(label, value))
    return finish(g, "value", phrase, g._select([g._col(wanted, False)], table.name).where(test), "lookup", "simple")


def counting(g: Grammar) -> Pair:
    """SELECT COUNT(*) FROM table WHERE …"""
    table = g._table()
    condition = g.conditions(table.name, least=0 if g.rng.random() < 0.2 else 1)
    tree = filtered(g._select([g._count()], table.name), condition)
    if condition and g.rng.random() < 0.2:
        return ask_which(g, f"how many {g._noun(table.name)}", condition, tree, "counting")
    return finish(g, "count", name_rows(g, table.name, condition), tree, "counting", "simple", condition)


def aggregate(g: Grammar) -> Pair:
    """SELECT AVG(measure) FROM table WHERE …"""
    table = g._table()
    measure = g._pick(table.of("number"))
    function = g.rng.choice(list(phrasing.AGGREGATES))
    condition = g.conditions(table.name)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    rows = name_rows(g, table.name, condition)
    said = g._said(measure)
    phrase = g.rng.choice([f"the {word} {said} of {rows}", f"the {word} {said} of all {rows}",
                           f"{word} {said} of {rows}",
                           f"the {word} {said} for {rows}", f"the {word} {said} across {rows}",
                           f"{word} {said} over {rows}", f"the {word} of the {said} of {rows}"])  # fmt: skip
    if function == "AVG" and g.rng.random() < 0.15:
        phrase = g.rng.choice([f"the {said} of {rows} on average", f"on average, the {said} of {rows}"])
    tree = filtered(g._select([g._agg(function, g._col(measure, False))], table.name), condition)
    return finish(g, "value", phrase, tree, "aggregate", "simple", condition)


def extreme_date(g: Grammar) -> Pair:
    """SELECT MIN(date) FROM table WHERE …"""
    table = g._table()
    date = g._pick(table.of("date"))
    late = g.rng.random() < 0.5
    condition = g.conditions(table.name)
    rows, said = name_rows(g, table.name, condition), g._said(date)
    word = g.rng.choice(["latest", "last", "most recent"] if late else ["earliest", "first", "very first"])
    tree = filtered(g._select([g._agg("MAX" if late else "MIN", g._col(date, False))], table.name), condition)
    return finish(g, "value", f"the {word} {said} of {rows}", tree, "extreme date", "simple", condition)


def two_columns(g: Grammar) -> Pair:
    """Rows whose one column is greater than another: WHERE a > b."""
    table = g._table()
    kind = g.rng.choice(["date", "number"])
    columns = table.of(kind)
    if len(columns) < 2:
        raise NotHere
    first, second = g.rng.sample(columns, 2)
    more = g.rng.random() < 0.6
    test = (exp.GT if more else exp.LT)(this=g._col(first, False), expression=g._col(second, False))
    word = COMPARED[kind, g.rng.random() < 0.6][not more]
    rows = g.rng.choice([f"{g._noun(table.name)} whose {g._said(first)} is {word} the {g._said(second)}",
                         f"{g._noun(table.name)} with a {g._said(first)} {word} their {g._said(second)}"])  # fmt: skip
    if g.rng.random() < 0.5:
        return finish(g, "count", rows, g._select([g._count()], table.name).where(test, copy=False), "two columns",
                       "moderate")  # fmt: skip
    label = g._label(table.name)
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.4 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, "two columns", "moderate")


def extreme_rows(g: Grammar) -> Pair:
    """All rows that share the highest or lowest value: a nested query, told apart from top 1 by its evidence."""
    table = g._table()
    column, label = g._pick(table.of("number", "date")), g._label(table.name)
    down, words = _direction(g, column)
    inner = g._select([g._agg("MAX" if down else "MIN", g._col(column, False))], table.name)
    test = exp.EQ(this=g._col(column, False), expression=exp.Subquery(this=inner))
    noun = g._noun(table.name)
    rows = f"{noun} {words}" if words.startswith("with") else f"{words} {noun}"
    tie = g.rng.choice(["on a tie show all", "If there is a tie, all of them.", "ties count", "Show all on a tie."])
    phrase = f"the {rows}" if g.rng.random() < 0.5 else f"the {g._said(label)} of the {rows}"
    if g.rng.random() < 0.5:
        phrase, tie = f"{phrase}, {g.rng.choice(['all of them on a tie', 'including ties'])}", ""
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    return Pair(g.ask(OPENINGS["list"], phrase), tie, tree, "extreme rows", "moderate")


def distinct(g: Grammar) -> Pair:
    """SELECT DISTINCT column, or how many different values there are."""
    table = g._table()
    column = g._pick(table.of("category", "label"))
    condition = g.conditions(table.name) if g.rng.random() < 0.6 else None
    said, rows, ref = g._said(column), name_rows(g, table.name, condition), g._col(column, False)
    word = g.rng.choice(["different", "distinct", "unique"])
    if g.rng.random() < 0.4:
        tree = g._select([exp.Count(this=exp.Distinct(expressions=[ref]))], table.name)
        return finish(g, "count", f"{word} {phrasing.plural(said)} of {rows}", filtered(tree, condition),
                       "count distinct", "simple", condition)  # fmt: skip
    tree = g._select([ref], table.name).distinct(copy=False)
    phrase = g.rng.choice([f"the {word} {phrasing.plural(said)} of {rows}",
                           f"all {word} {phrasing.plural(said)} of {rows}",
                           f"{word} {phrasing.plural(said)} among {rows}"])  # fmt: skip
    return finish(g, "list", phrase, filtered(tree, condition), "distinct", "simple", condition)


def _direction(g: Grammar, column: Column) -> tuple[bool, str]:
    """(descending, words such as ``with the highest price`` or ``most expensive``)."""
    down, said = g.rng.random() < 0.6, g._said(column)
    if column.kind == "date":
        word = g.rng.choice(["latest", "most recent", "newest"] if down else ["earliest", "oldest", "first"])
        return down, f"with the {word} {said}"
    known = phrasing.SUPERLATIVES.get(said.split()[-1])
    if known and g.rng.random() < 0.5:
        return down, g.rng.choice(known[0] if down else known[1])
    high = ["highest", "largest", "greatest", "biggest", "most", "maximum", "top"]
    low = ["lowest", "smallest", "least", "minimum", "fewest"]
    return down, f"with the {g.rng.choice(high if down else low)} {said}"


def top_k(g: Grammar) -> Pair:
    """ORDER BY measure LIMIT k."""
    table = g._table()
    column = g._pick(table.of("number", "number", "date"))
    k = 1 if g.rng.random() < 0.55 else g.rng.choice([2, 3, 4, 5, 10])
    condition = g.conditions(table.name) if g.rng.random() < 0.4 else None
    down, words = _direction(g, column)
    if column.nullable and not down:
        raise NotHere  # NULLs sort first: the lowest value would be no value
    output = g._label(table.name)
    if g.rng.random() < 0.25:
        output = g._pick([c for c in table.columns if c is not column])
    noun = g._one(table.name) if k == 1 else g._noun(table.name)
    rest = f" {condition.phrase}" if condition else ""
    spelled = {1: "", 2: "two ", 3: "three ", 4: "four ", 5: "five ", 10: "ten "}[k]
    number = spelled if g.rng.random() < 0.4 else (f"{k} " if k > 1 else "")
    if words.startswith("with"):
        among = f" among those{rest}" if rest else ""
        rows = g.rng.choice([f"{number}{noun}{rest} {words}", f"{number}{noun} {words}{among}"])
    else:
        rows = g.rng.choice([f"{number}{words} {noun}{rest}", f"{words} {number}{noun}{rest}"])
    top = f"top {number}{noun}{rest} by {g._said(column)}" if k > 1 and down and g.rng.random() < 0.3 else ""
    said = g._said(output)
    named = g.rng.choice([f"the {said} of the {rows}", f"the {said} of {rows}"])
    bare = output is g._label(table.name) and g.rng.random() < 0.6
    phrase = f"the {top or rows}" if bare else (f"the {said} of the {top}" if top else named)
    tree = filtered(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(ordered(g._col(column, False), down), copy=False).limit(k, copy=False)
    return finish(g, "list", phrase, tree, "top k", "simple" if not condition else "moderate", condition)


def sorting(g: Grammar) -> Pair:
    """SELECT … ORDER BY …, without a limit."""
    table = g._table()
    column, output = g._pick(table.of("number", "date", "label")), g._label(table.name)
    if column is output:
        raise NotHere
    condition = g.conditions(table.name) if g.rng.random() < 0.6 else None
    down = g.rng.random() < 0.5
    how = g.rng.choice(["from highest to lowest", "in descending order", "descending", "largest first"] if down
                       else ["from lowest to highest", "in ascending order", "ascending", ""])  # fmt: skip
    if column.kind == "label":
        how = "in reverse" if down else ""
    said = g.rng.choice(["sorted by", "ordered by", "in order of", "ranked by"])
    wanted = attribute_of(g, g._said(output), name_rows(g, table.name, condition))
    phrase = f"{wanted} {said} {g._said(column)} {how}".strip()
    tree = filtered(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(ordered(g._col(column, False), down), copy=False)
    return finish(g, "list", phrase, tree, "sorting", "simple", condition)


def grouping(g: Grammar) -> Pair:
    """SELECT category, COUNT(*) … GROUP BY category."""
    table = g._table()
    group = g._pick(table.of("category", "flag"))
    measure, words = measured(g, table.name, False)
    condition = g.conditions(table.name) if g.rng.random() < 0.4 else None
    tree = filtered(g._select([g._col(group, False), measure], table.name), condition)
    tree = tree.group_by(g._col(group, False), copy=False)
    rows = name_rows(g, table.name, condition)
    if words != "how many" and g.rng.random() < 0.15:
        down = g.rng.random() < 0.7
        tree = tree.order_by(ordered(measure.copy(), down), copy=False)
        order = g.rng.choice(["highest first", "from most to least", "largest first"] if down
                             else ["lowest first", "from least to most", "smallest first"])  # fmt: skip
        phrase = f"{per_group(g, words, g._said(group), rows)}, {order}"
        return finish(g, "list", phrase, tree, "grouping", "moderate", condition)
    if words == "how many":
        return Pair(phrasing.say(g.rng, ("How many {x}?",), f"{rows} are there per {g._said(group)}"),
                    condition.evidence if condition else "", tree, "grouping", "moderate")  # fmt: skip
    return finish(g, "list", per_group(g, words, g._said(group), rows), tree, "grouping", "moderate", condition)


def per_year(g: Grammar) -> Pair:
    """COUNT(*) per year of a date."""
    table = g._table()
    date = g._pick(table.of("date"))
    measure, words = measured(g, table.name, False)
    words = "the number" if words == "how many" else words
    year = g._year(g._col(date, False))
    tree = g._select([year, measure], table.name).group_by(year.copy(), copy=False)
    said = g.rng.choice([f"{g._said(date)} year", f"year of {g._said(date)}", "year"])
    return finish(g, "list", per_group(g, words, said, g._noun(table.name)), tree, "per year", "moderate")


def having(g: Grammar) -> Pair:
    """SELECT category … GROUP BY category HAVING …"""
    table = g._table()
    group = g._pick(table.of("category"))
    said, noun, k = g._said(group), g._noun(table.name), g.rng.choice([1, 2, 3, 5, 10, 20, 50])
    operator = g.rng.choice([">", ">=", "<"])
    word = g.rng.choice(phrasing.COMPARISONS[operator])
    node = {">": exp.GT, ">=": exp.GTE, "<": exp.LT}[operator]
    numbers = [c for c in table.of("number") if c.values]
    if numbers and g.rng.random() < 0.35:
        measure, function = g.rng.choice(numbers), g.rng.choice(["AVG", "AVG", "SUM", "MAX"])
        value, many = g._round(g.rng.choice(measure.values)), phrasing.plural(said)
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
                           f"{many} having {word} {k} {noun}"])  # fmt: skip
    return finish(g, "list", phrase, tree, "having", "moderate")


def most_common(g: Grammar) -> Pair:
    """The category that occurs most (or least) often."""
    table = g._table()
    group = g._pick(table.of("category", "category", "label"))
    condition = g.conditions(table.name) if g.rng.random() < 0.35 else None
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
    """Percentage of rows that meet a condition."""
    table = g._table()
    condition = g.conditions(table.name, least=1)
    assert condition is not None
    case = exp.Case(ifs=[exp.If(this=condition.tree, true=exp.Literal.number(1))], default=exp.Literal.number(0))
    ratio = exp.Div(
        this=exp.Mul(this=exp.Literal.number("100.0"), expression=exp.Sum(this=case)), expression=g._count(), typed=True
    )
    noun = g._noun(table.name)
    phrase = g.rng.choice([f"the percentage of {noun} {condition.phrase}",
                           f"what percentage of {noun} are those {condition.phrase}",
                           f"the share of {noun} {condition.phrase} in percent",
                           f"percent of {noun} {condition.phrase}"])  # fmt: skip
    return finish(g, "value", phrase, g._select([ratio], table.name), "share", "challenging", condition)
