"""The query patterns of the grammar: each builds one kind of SQL tree and says what it asks."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import OPENINGS, Column, Condition, Grammar, Link, NotHere, Pair, identifier

Pattern = Callable[[Grammar], Pair]


def _finish(
    g: Grammar, kind: str, phrase: str, tree: exp.Select, name: str, difficulty: str, *conditions: Condition | None
) -> Pair:
    evidence = "; ".join(c.evidence for c in conditions if c and c.evidence)
    return Pair(g.ask(OPENINGS[kind], phrase), evidence, tree, name, difficulty)


def _where(tree: exp.Select, condition: Condition | None) -> exp.Select:
    return tree.where(condition.tree, copy=False) if condition else tree


def _ordered(key: exp.Expr, down: bool) -> exp.Ordered:
    """A sort key in SQLite's own order of NULLs, so that no NULLS clause is written."""
    return exp.Ordered(this=key, desc=True if down else None, nulls_first=not down)


def _rows(g: Grammar, table: str, condition: Condition | None) -> str:
    """``customers whose city is Oslo``, or ``active customers``."""
    noun = g._noun(table)
    if condition and condition.before and g.rng.random() < 0.4:
        return f"{condition.before} {noun} {condition.rest}".strip()
    return f"{noun} {condition.phrase}" if condition else noun


def _asked(g: Grammar, opening: str, condition: Condition, tree: exp.Select, name: str) -> Pair:
    """A question that is a sentence of its own: ``Which customers have a city of Oslo?``"""
    question = phrasing.say(g.rng, ("{x}?",), f"{opening} {phrasing.predicate(condition.phrase)}")
    return Pair(question, condition.evidence, tree, name, "simple")


def _of(g: Grammar, said: str, rows: str) -> str:
    """``the names of customers …``, in one of its forms."""
    many = phrasing.plural(said)
    return g.rng.choice([f"the {said} of {rows}", f"the {many} of {rows}", f"{many} of {rows}",
                         f"the {said} for {rows}",
                         f"the {many} of all {rows}", f"{said} of {rows}", f"the {said} of the {rows}",
                         f"{said} for {rows}"])  # fmt: skip


def listing(g: Grammar) -> Pair:
    """SELECT columns FROM table WHERE …"""
    table = g._table()
    condition = g.conditions(table.name, least=0 if g.rng.random() < 0.15 else 1)
    label = g._label(table.name)
    if condition and label.kind == "label" and g.rng.random() < 0.12:
        tree = _where(g._select([g._col(label, False)], table.name), condition)
        return _asked(
            g, f"{g.rng.choice(['which', 'which', 'what'])} {g._noun(table.name)}", condition, tree, "listing"
        )
    if g.rng.random() < 0.35:
        outputs = [label]
        phrase = g.rng.choice([f"the {_rows(g, table.name, condition)}", _rows(g, table.name, condition),
                               f"all {_rows(g, table.name, condition)}"])  # fmt: skip
    else:
        outputs = g.rng.sample(table.columns, min(len(table.columns), g.rng.choices([1, 2, 3], [0.62, 0.3, 0.08])[0]))
        phrase = _of(g, phrasing.join_words(g.rng, [g._said(c) for c in outputs]), _rows(g, table.name, condition))
    tree = _where(g._select([g._col(c, False) for c in outputs], table.name), condition)
    return _finish(g, "list", phrase, tree, "listing", "simple", condition)


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
    return _finish(g, "value", phrase, g._select([g._col(wanted, False)], table.name).where(test), "lookup", "simple")


def counting(g: Grammar) -> Pair:
    """SELECT COUNT(*) FROM table WHERE …"""
    table = g._table()
    condition = g.conditions(table.name, least=0 if g.rng.random() < 0.2 else 1)
    tree = _where(g._select([g._count()], table.name), condition)
    if condition and g.rng.random() < 0.2:
        return _asked(g, f"how many {g._noun(table.name)}", condition, tree, "counting")
    return _finish(g, "count", _rows(g, table.name, condition), tree, "counting", "simple", condition)


def aggregate(g: Grammar) -> Pair:
    """SELECT AVG(measure) FROM table WHERE …"""
    table = g._table()
    measure = g._pick(table.of("number"))
    function = g.rng.choice(list(phrasing.AGGREGATES))
    condition = g.conditions(table.name)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    rows = _rows(g, table.name, condition)
    said = g._said(measure)
    phrase = g.rng.choice([f"the {word} {said} of {rows}", f"the {word} {said} of all {rows}",
                           f"{word} {said} of {rows}",
                           f"the {word} {said} for {rows}", f"the {word} {said} across {rows}",
                           f"{word} {said} over {rows}", f"the {word} of the {said} of {rows}"])  # fmt: skip
    if function == "AVG" and g.rng.random() < 0.15:
        phrase = g.rng.choice([f"the {said} of {rows} on average", f"on average, the {said} of {rows}"])
    tree = _where(g._select([g._agg(function, g._col(measure, False))], table.name), condition)
    return _finish(g, "value", phrase, tree, "aggregate", "simple", condition)


def extreme_date(g: Grammar) -> Pair:
    """SELECT MIN(date) FROM table WHERE …"""
    table = g._table()
    date = g._pick(table.of("date"))
    late = g.rng.random() < 0.5
    condition = g.conditions(table.name)
    rows, said = _rows(g, table.name, condition), g._said(date)
    word = g.rng.choice(["latest", "last", "most recent"] if late else ["earliest", "first", "very first"])
    tree = _where(g._select([g._agg("MAX" if late else "MIN", g._col(date, False))], table.name), condition)
    return _finish(g, "value", f"the {word} {said} of {rows}", tree, "extreme date", "simple", condition)


def two_columns(g: Grammar) -> Pair:
    """Rows whose one column is greater than another: WHERE a > b."""
    table = g._table()
    kind = g.rng.choice(["date", "number"])
    columns = table.of(kind)
    if len(columns) < 2:
        raise NotHere
    first, second = g.rng.sample(columns, 2)
    more = g.rng.random() < 0.6
    words = ("after", "before") if kind == "date" else ("greater than", "less than")
    test = (exp.GT if more else exp.LT)(this=g._col(first, False), expression=g._col(second, False))
    word = (
        words[not more]
        if g.rng.random() < 0.6
        else ("later than", "earlier than")[not more]
        if kind == "date"
        else ("above", "below")[not more]
    )
    rows = g.rng.choice([f"{g._noun(table.name)} whose {g._said(first)} is {word} the {g._said(second)}",
                         f"{g._noun(table.name)} with a {g._said(first)} {word} their {g._said(second)}"])  # fmt: skip
    if g.rng.random() < 0.5:
        return _finish(g, "count", rows, g._select([g._count()], table.name).where(test, copy=False), "two columns",
                       "moderate")  # fmt: skip
    label = g._label(table.name)
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    return _finish(g, "list", rows if g.rng.random() < 0.4 else _of(g, g._said(label), rows), tree, "two columns",
                   "moderate")  # fmt: skip


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
    said, rows, ref = g._said(column), _rows(g, table.name, condition), g._col(column, False)
    word = g.rng.choice(["different", "distinct", "unique"])
    if g.rng.random() < 0.4:
        tree = g._select([exp.Count(this=exp.Distinct(expressions=[ref]))], table.name)
        return _finish(g, "count", f"{word} {phrasing.plural(said)} of {rows}", _where(tree, condition),
                       "count distinct", "simple", condition)  # fmt: skip
    tree = g._select([ref], table.name).distinct(copy=False)
    phrase = g.rng.choice([f"the {word} {phrasing.plural(said)} of {rows}",
                           f"all {word} {phrasing.plural(said)} of {rows}",
                           f"{word} {phrasing.plural(said)} among {rows}"])  # fmt: skip
    return _finish(g, "list", phrase, _where(tree, condition), "distinct", "simple", condition)


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
    tree = _where(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(_ordered(g._col(column, False), down), copy=False).limit(k, copy=False)
    return _finish(g, "list", phrase, tree, "top k", "simple" if not condition else "moderate", condition)


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
    phrase = f"{_of(g, g._said(output), _rows(g, table.name, condition))} {said} {g._said(column)} {how}".strip()
    tree = _where(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(_ordered(g._col(column, False), down), copy=False)
    return _finish(g, "list", phrase, tree, "sorting", "simple", condition)


def _per(g: Grammar, measure: str, group: str, rows: str) -> str:
    return g.rng.choice([f"{measure} of {rows} for each {group}", f"{measure} of {rows} per {group}",
                         f"{measure} of {rows} by {group}", f"for each {group}, {measure} of {rows}",
                         f"{measure} of {rows} in each {group}",
                         f"{measure} of {rows} grouped by {group}"])  # fmt: skip


def _measured(g: Grammar, table: str, qualified: bool) -> tuple[exp.Expr, str]:
    """COUNT(*) or an aggregate of a measure, and its words."""
    numbers = g.tables[table].of("number")
    if not numbers or g.rng.random() < 0.5:
        return g._count(), g.rng.choice(["the number", "the count", "the total number", "how many"])
    function, measure = g.rng.choice(list(phrasing.AGGREGATES)), g.rng.choice(numbers)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    return g._agg(function, g._col(measure, qualified)), f"the {word} {g._said(measure)}"


def grouping(g: Grammar) -> Pair:
    """SELECT category, COUNT(*) … GROUP BY category."""
    table = g._table()
    group = g._pick(table.of("category", "flag"))
    measure, words = _measured(g, table.name, False)
    condition = g.conditions(table.name) if g.rng.random() < 0.4 else None
    tree = _where(g._select([g._col(group, False), measure], table.name), condition)
    tree = tree.group_by(g._col(group, False), copy=False)
    rows = _rows(g, table.name, condition)
    if words != "how many" and g.rng.random() < 0.15:
        down = g.rng.random() < 0.7
        tree = tree.order_by(_ordered(measure.copy(), down), copy=False)
        order = g.rng.choice(["highest first", "from most to least", "largest first"] if down
                             else ["lowest first", "from least to most", "smallest first"])  # fmt: skip
        phrase = f"{_per(g, words, g._said(group), rows)}, {order}"
        return _finish(g, "list", phrase, tree, "grouping", "moderate", condition)
    if words == "how many":
        return Pair(phrasing.say(g.rng, ("How many {x}?",), f"{rows} are there per {g._said(group)}"),
                    condition.evidence if condition else "", tree, "grouping", "moderate")  # fmt: skip
    return _finish(g, "list", _per(g, words, g._said(group), rows), tree, "grouping", "moderate", condition)


def per_year(g: Grammar) -> Pair:
    """COUNT(*) per year of a date."""
    table = g._table()
    date = g._pick(table.of("date"))
    measure, words = _measured(g, table.name, False)
    words = "the number" if words == "how many" else words
    year = g._year(g._col(date, False))
    tree = g._select([year, measure], table.name).group_by(year.copy(), copy=False)
    said = g.rng.choice([f"{g._said(date)} year", f"year of {g._said(date)}", "year"])
    return _finish(g, "list", _per(g, words, said, g._noun(table.name)), tree, "per year", "moderate")


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
        return _finish(g, "list", phrase, tree, "having", "challenging")
    tree = g._select([g._col(group, False)], table.name).group_by(g._col(group, False), copy=False)
    tree = tree.having(node(this=g._count(), expression=exp.Literal.number(k)), copy=False)
    many = phrasing.plural(said)
    phrase = g.rng.choice([f"the {many} with {word} {k} {noun}", f"the {many} that have {word} {k} {noun}",
                           f"{many} having {word} {k} {noun}"])  # fmt: skip
    return _finish(g, "list", phrase, tree, "having", "moderate")


def most_common(g: Grammar) -> Pair:
    """The category that occurs most (or least) often."""
    table = g._table()
    group = g._pick(table.of("category", "category", "label"))
    condition = g.conditions(table.name) if g.rng.random() < 0.35 else None
    down = g.rng.random() < 0.75
    said, rows = g._said(group), _rows(g, table.name, condition)
    word = g.rng.choice(["most common", "most frequent"] if down else ["least common", "rarest", "least frequent"])
    many = "most" if down else "fewest"
    phrase = g.rng.choice([f"the {word} {said} of {rows}", f"the {word} {said} among {rows}",
                           f"the {said} with the {many} {rows}",
                           f"the {said} that has the {many} {rows}"])  # fmt: skip
    tree = _where(g._select([g._col(group, False)], table.name), condition).group_by(g._col(group, False), copy=False)
    tree = tree.order_by(_ordered(g._count(), down), copy=False).limit(1, copy=False)
    return _finish(g, "value", phrase, tree, "most common", "moderate", condition)


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
        return _finish(g, "count", rows, tree, "beyond average", "moderate")
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.4 else _of(g, g._said(label), rows)
    return _finish(g, "list", phrase, tree, "beyond average", "moderate")


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
    return _finish(g, "value", phrase, g._select([ratio], table.name), "share", "challenging", condition)


# -- more than one table ----------------------------------------------------------------------------------------


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
    phrase = rows if output.kind == "label" and g.rng.random() < 0.4 else _of(g, g._said(output), rows)
    return _finish(g, "list", phrase, tree, "join listing", "moderate", condition)


def join_pair(g: Grammar) -> Pair:
    """A column of each side."""
    link = g._pick(g.links)
    left, right = g._pick(g.tables[link.child].columns), g._label(link.parent)
    side = g.rng.choice([link.child, link.parent])
    condition = g.condition(side, qualified=True) if g.rng.random() < 0.6 else None
    tree = _where(_joined(g, [g._col(left, True), g._col(right, True)], link), condition)
    one = g._one(link.parent)
    and_parent = g.rng.choice([f"the {g._said(right)} of their {one}", f"the {one} {g._said(right)}",
                               f"their {one}'s {g._said(right)}"])  # fmt: skip
    rows = _rows(g, link.child, condition if side == link.child else None)
    rest = f" for {g._noun(link.parent)} {condition.phrase}" if condition and side == link.parent else ""
    phrase = f"the {g._said(left)} of {rows} and {and_parent}{rest}"
    return _finish(g, "list", phrase, tree, "join pair", "moderate", condition)


def join_measure(g: Grammar) -> Pair:
    """COUNT or an aggregate over a child, condition on its parent."""
    link = g._pick(g.links)
    condition = g.condition(link.parent, qualified=True)
    measure, words = _measured(g, link.child, True)
    tree = _joined(g, [measure], link).where(condition.tree, copy=False)
    rows = f"{_owned(g, g._noun(link.child), link.parent)} {condition.phrase}"
    if isinstance(measure, exp.Count):
        return _finish(g, "count", rows, tree, "join measure", "moderate", condition)
    return _finish(g, "value", f"{words} of {rows}", tree, "join measure", "moderate", condition)


def join_grouping(g: Grammar) -> Pair:
    """A measure of the children per parent."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    measure, words = _measured(g, link.child, True)
    words = "the number" if words == "how many" else words
    condition = g.condition(link.child, qualified=True) if g.rng.random() < 0.25 else None
    tree = _where(_joined(g, [g._col(label, True), measure], link), condition).group_by(g._col(label, True), copy=False)
    one = g._one(link.parent)
    if isinstance(measure, exp.Count) and g.rng.random() < 0.3:
        rows = _rows(g, link.child, condition)
        forms = (f"how many {rows} does each {one} have?", f"how many {rows} are there for each {one}?",
                 f"for every {one}, how many {rows} are there?", f"how many {rows} per {one}?")  # fmt: skip
        return Pair(phrasing.say(g.rng, forms, ""), condition.evidence if condition else "", tree, "join grouping",
                    "moderate")  # fmt: skip
    group = g.rng.choice([one, f"{one} {g._said(label)}"])
    phrase = _per(g, words, group, _rows(g, link.child, condition))
    return _finish(g, "list", phrase, tree, "join grouping", "moderate", condition)


def top_parent(g: Grammar) -> Pair:
    """The parents with most children, or with the largest measure of them."""
    link = g._pick(g.links)
    label = g._label(link.parent)
    measure, words = _measured(g, link.child, True)
    down, k = g.rng.random() < 0.75, 1 if g.rng.random() < 0.6 else g.rng.choice([2, 3, 5])
    tree = _joined(g, [g._col(label, True)], link).group_by(g._col(label, True), copy=False)
    tree = tree.order_by(_ordered(measure, down), copy=False).limit(k, copy=False)
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
    return _finish(g, "list", phrase, tree, "top parent", "challenging")


def parent_having(g: Grammar) -> Pair:
    """Parents with more than k children."""
    link = g._pick(g.links)
    label, k = g._label(link.parent), g.rng.choice([1, 2, 3, 5, 10, 20])
    operator = g.rng.choice([">", ">="])
    word = g.rng.choice(phrasing.COMPARISONS[operator])
    test = (exp.GT if operator == ">" else exp.GTE)(this=g._count(), expression=exp.Literal.number(k))
    tree = _joined(g, [g._col(label, True)], link).group_by(g._col(label, True), copy=False).having(test, copy=False)
    rows = f"{g._noun(link.parent)} {g.rng.choice(['with', 'that have', 'having'])} {word} {k} {g._noun(link.child)}"
    phrase = rows if g.rng.random() < 0.4 else _of(g, g._said(label), rows)
    return _finish(g, "list", phrase, tree, "parent having", "challenging")


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
        return _finish(
            g, "count", rows, g._select([g._count()], link.parent).where(test, copy=False), "childless", "moderate"
        )
    phrase = rows if g.rng.random() < 0.5 else _of(g, g._said(label), rows)
    tree = g._select([g._col(label, False)], link.parent).where(test, copy=False)
    return _finish(g, "list", phrase, tree, "childless", "moderate")


def two_hops(g: Grammar) -> Pair:
    """Child → parent → grandparent: list, count or aggregate."""
    lower, upper = g._pick(g.chains)
    condition = g.condition(upper.parent, qualified=True)
    far, near = g._noun(upper.parent), g._noun(lower.child)
    rows = g.rng.choice([f"{near} of {far} {condition.phrase}", f"{near} belonging to {far} {condition.phrase}",
                         f"{near} whose {g._one(lower.parent)} belongs to {far} {condition.phrase}"])  # fmt: skip
    measure, words = _measured(g, lower.child, True)
    counted = isinstance(measure, exp.Count)
    listed = g.rng.random() < 0.5
    output = g._label(lower.child)
    first: exp.Expr = g._col(output, True) if listed else measure
    tree = g._join(g._join(g._select([first], lower.child), lower, lower.parent), upper, upper.parent)
    tree = tree.where(condition.tree, copy=False)
    if listed:
        return _finish(g, "list", _of(g, g._said(output), rows), tree, "two hops", "challenging", condition)
    kind, phrase = ("count", rows) if counted else ("value", f"{words} of {rows}")
    return _finish(g, kind, phrase, tree, "two hops", "challenging", condition)


def both_conditions(g: Grammar) -> Pair:
    """Count or list of a child with conditions on it and on its parent."""
    link = g._pick(g.links)
    here, there = g.condition(link.child, qualified=True), g.condition(link.parent, qualified=True)
    test = exp.And(this=here.tree, expression=there.tree)
    rows = f"{g._noun(link.child)} {here.phrase} of {g._noun(link.parent)} {there.phrase}"
    if g.rng.random() < 0.5:
        tree = _joined(g, [g._count()], link).where(test, copy=False)
        return _finish(g, "count", rows, tree, "both conditions", "challenging", here, there)
    output = g._label(link.child)
    tree = _joined(g, [g._col(output, True)], link).where(test, copy=False)
    return _finish(g, "list", _of(g, g._said(output), rows), tree, "both conditions", "challenging", here, there)


PATTERNS: dict[Pattern, float] = {
    listing: 14, lookup: 8, counting: 10, aggregate: 8, extreme_date: 1.5, two_columns: 1.5, extreme_rows: 1.5,
    distinct: 5, top_k: 9, sorting: 3, grouping: 6, per_year: 1.5,
    having: 3, most_common: 4, beyond_average: 3, share: 1.5, join_listing: 9, join_pair: 3, join_measure: 7,
    join_grouping: 6, top_parent: 5, parent_having: 3, childless: 3, two_hops: 4, both_conditions: 4,
}  # fmt: skip
"""Every pattern with its weight in a draw."""

__all__ = ["PATTERNS", "Pattern", "identifier"]
