"""Patterns that compute: products of columns, days between dates, running totals, the best of a group."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import new_term, only_date, some_conditions, what_happened
from askguru_lib.data.grammar import Column, Grammar, NotHere, Pair, identifier
from askguru_lib.data.patterns.wording import attribute_of, filtered, finish, name_rows, ordered, per_group, superlative


def product(g: Grammar) -> Pair:
    """SUM(a * b), AVG(a - b): a value that the evidence defines, in all or per category."""
    table = g._table()
    first, second = _two(g, table.of("number"))
    times = g.rng.random() < 0.7
    node = exp.Mul if times else exp.Sub
    value = node(this=g._col(first, False), expression=g._col(second, False))
    terms = phrasing.PRODUCTS if times else ("difference", "gap", "margin", "gain", "surplus", "rest")
    term = new_term(g, table.name, terms)
    function = g.rng.choice(["SUM", "SUM", "AVG", "MAX"])
    word = g.rng.choice(phrasing.AGGREGATES[function])
    sign, words = ("*", "times") if times else ("-", "minus")
    note = g.rng.choice(["{t} is {a} {s} {b}", "{t} = {a} {s} {b}", "{t} means {a} {s} {b}", "{t}: {x} {w} {y}",
                         "{t} is {x} {w} {y}"])  # fmt: skip
    note = note.format(t=term, a=first.name, b=second.name, s=sign, w=words, x=g._said(first), y=g._said(second))
    g.notes.append(note[:1].upper() + note[1:] if g.rng.random() < 0.5 else note)
    condition = some_conditions(g, table.name)
    rows = name_rows(g, table.name, condition)
    measure = g._agg(function, value)
    groups = table.of("category")
    if groups and g.rng.random() < 0.35:
        group = g.rng.choice(groups)
        tree = filtered(g._select([g._col(group, False), measure], table.name), condition)
        tree = tree.group_by(g._col(group, False), copy=False)
        phrase = per_group(g, f"the {word} {term}", g._said(group), rows)
        return finish(g, "list", phrase, tree, "product", "challenging", condition)
    phrase = g.rng.choice([f"the {word} {term} of {rows}", f"{word} {term}, {rows}", f"the {word} {term} from {rows}"])
    return finish(g, "value", phrase, filtered(g._select([measure], table.name), condition), "product", "moderate",
                  condition)  # fmt: skip


def days_between(g: Grammar) -> Pair:
    """julianday(b) - julianday(a): how many days lie between two dates of a row; an aggregate, or rows with many."""
    table = g._table()
    first, second = sorted(_two(g, table.of("date")), key=lambda date: min(date.values, default=""))
    days = exp.Sub(this=_day(g, second), expression=_day(g, first))
    condition = some_conditions(g, table.name)
    a, b, rows = g._said(first), g._said(second), name_rows(g, table.name, condition)
    between = g.rng.choice([f"days from {a} to {b}", f"days it takes from {a} to {b}",
                            f"days that pass from {a} to {b}",
                            f"days that lie between the {a} and the later {b}"])  # fmt: skip
    if g.rng.random() < 0.6:
        function = g.rng.choice(["AVG", "AVG", "MAX", "MIN"])
        word = g.rng.choice(phrasing.AGGREGATES[function])
        tree = g._select([g._agg(function, days)], table.name)
        return finish(g, "value", f"the {word} number of {between} of {rows}", filtered(tree, condition),
                      "days between", "moderate", condition)  # fmt: skip
    if condition and isinstance(condition.tree, exp.Or):
        raise NotHere  # which part the days belong to could not be said
    limit = g.rng.choice([3, 7, 10, 14, 30, 60, 90])
    test = exp.GT(this=days, expression=exp.Literal.number(limit))
    forms = [f"{rows} with more than {limit} {between}", f"{rows} whose {b} is more than {limit} days after the {a}",
             f"{rows} with a {b} over {limit} days after their {a}"]  # fmt: skip
    if happened := what_happened(g, second):
        forms += [f"{rows} {happened} more than {limit} days after the {a}"] * 2
    said = g.rng.choice(forms)
    if g.rng.random() < 0.15 and not condition:
        term = new_term(g, table.name, phrasing.TERMS)
        g.notes.append(g.rng.choice([f"{term} means the {b} is more than {limit} days after the {a}",
                                     f"{term} is {b} more than {limit} days after {a}",
                                     f"{term}: over {limit} days from {first.name} to {second.name}"]))  # fmt: skip
        said = g.rng.choice([f"{term} {rows}", f"{rows} that are {term}"])
    if g.rng.random() < 0.5:
        label = g._label(table.name)
        tree = filtered(g._select([g._col(label, False)], table.name), condition).where(test, copy=False)
        phrase = said if g.rng.random() < 0.5 else attribute_of(g, g._said(label), said)
        return finish(g, "list", phrase, tree, "days between", "moderate", condition)
    tree = filtered(g._select([g._count()], table.name), condition).where(test, copy=False)
    return finish(g, "count", said, tree, "days between", "moderate", condition)


def best_of_group(g: Grammar) -> Pair:
    """The row with the highest value of every category: a correlated subquery."""
    table = g._table()
    group = g._pick(table.of("category"))
    measure = g._pick([c for c in table.of("number", "date") if not c.nullable])
    label, down = g._label(table.name), g.rng.random() < 0.7
    if label is group:
        raise NotHere
    inner = g._select([g._agg("MAX" if down else "MIN", g._ref("other", measure.name))], table.name)
    inner.args["from_"].this.set("alias", exp.TableAlias(this=identifier("other")))
    inner = inner.where(exp.EQ(this=g._ref("other", group.name), expression=g._ref("one", group.name)), copy=False)
    test = exp.EQ(this=g._ref("one", measure.name), expression=exp.Subquery(this=inner))
    tree = g._select([g._ref("one", group.name), g._ref("one", label.name)], table.name)
    tree.args["from_"].this.set("alias", exp.TableAlias(this=identifier("one")))
    tree = tree.where(test, copy=False)
    one, said = g._one(table.name), g._said(group)
    adjective, value_said = superlative(g, measure, down)
    best = f"{adjective} {one}" if adjective and g.rng.random() < 0.5 else f"{one} with the {value_said}"
    phrase = g.rng.choice([f"the {best} of every {said}", f"the {best} in each {said}", f"for each {said} the {best}",
                           f"in every {said} the {best}", f"the {best} by {said}"])  # fmt: skip
    if g.rng.random() < 0.7:
        both = f"{said} and {g._said(label)}"
        g.notes.append(g.rng.choice([f"Show {both}.", f"show {both}; on a tie show all", both]))
    return finish(g, "list", phrase, tree, "best of group", "challenging")


def running_total(g: Grammar) -> Pair:
    """Months or years with the total so far, or with the change against the one before: a window over a CTE."""
    table = g._table()
    date = g._pick([c for c in table.of("date") if c.values])
    numbers = table.of("number")
    measure, words = g._count(), f"number of {g._noun(table.name)}"
    if numbers and g.rng.random() < 0.5:
        number = g.rng.choice(numbers)
        measure = g._agg("SUM", g._col(number, False))
        words = f"{g._said(number)} of {g._noun(table.name)}"
    year, monthly, total = g.rng.choice(date.values)[:4], g.rng.random() < 0.6, g.rng.random() < 0.6
    part = g._part("%Y-%m" if monthly else "%Y", g._col(date, False))
    name, unit = ("monthly", "month") if monthly else ("yearly", "year")
    if name in map(str.lower, g.tables):
        raise NotHere
    if not only_date(g, date):
        happened = what_happened(g, date)
        words += f" {happened}" if happened else f" by {g._said(date)}"
    inner = g._select([exp.alias_(part, unit), exp.alias_(measure, "n")], table.name)
    if monthly:
        inner = inner.where(exp.EQ(this=g._year(g._col(date, False)), expression=exp.Literal.string(year)), copy=False)
    inner = inner.group_by(part.copy(), copy=False)
    of, n = exp.column(unit), exp.column("n")
    by = exp.Order(expressions=[ordered(of.copy(), False)])
    if total:
        value: exp.Expr = exp.Window(this=exp.Sum(this=n), order=by)
    else:
        value = exp.Sub(this=n, expression=exp.Window(this=exp.Lag(this=n.copy()), order=by))
    tree = g._select([of, value], name).order_by(ordered(of.copy(), False), copy=False).with_(name, inner, copy=False)
    when = f" of {year}" if monthly else ""
    said = g.rng.choice([f"{unit} by {unit}", f"for every {unit}", f"per {unit}"])
    if total:
        phrase = g.rng.choice([f"the running total of the {words} {said}{when}", f"the {words} so far, {said}{when}",
                               f"the {words} added up {said}{when}",
                               f"the cumulative {words} {said}{when}"])  # fmt: skip
    else:
        phrase = g.rng.choice([f"how the {words} changed {said}{when}", f"the change of the {words} {said}{when}",
                               f"the {words} {said}{when} against the {unit} before"])  # fmt: skip
    if g.rng.random() < 0.6:
        shown = "the total so far" if total else f"the change against the {unit} before"
        g.notes.append(g.rng.choice([f"Show the {unit} and {shown}, in order.", f"{unit} and {shown}, in order"]))
    return finish(g, "list", phrase, tree, "running total", "challenging")


def _two(g: Grammar, columns: list[Column]) -> list[Column]:
    if len(columns) < 2:
        raise NotHere
    return g.rng.sample(columns, 2)


def _day(g: Grammar, date: Column) -> exp.Expr:
    return exp.Anonymous(this="julianday", expressions=[g._col(date, False)])
