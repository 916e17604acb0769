"""Patterns that ask for what comes first: extremes, the top k, and lists in an order."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import some_conditions
from askguru_lib.data.grammar import OPENINGS, Column, Grammar, NotHere, Pair
from askguru_lib.data.patterns.wording import (
    attribute_of,
    filtered,
    finish,
    name_rows,
    ordered,
    superlative,
)


def extreme_date(g: Grammar) -> Pair:
    """SELECT MIN(date) FROM table WHERE …"""
    table = g._table()
    date = g._pick(table.of("date"))
    late = g.rng.random() < 0.5
    condition = some_conditions(g, table.name)
    rows, said = name_rows(g, table.name, condition), g._said(date)
    word = g.rng.choice(["latest", "last", "most recent"] if late else ["earliest", "first", "very first"])
    tree = filtered(g._select([g._agg("MAX" if late else "MIN", g._col(date, False))], table.name), condition)
    return finish(g, "value", f"the {word} {said} of {rows}", tree, "extreme date", "simple", condition)


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


def _direction(g: Grammar, column: Column) -> tuple[bool, str]:
    """(descending, words such as ``with the highest price`` or ``most expensive``)."""
    down = g.rng.random() < 0.6
    adjective, value = superlative(g, column, down)
    return down, adjective if adjective and g.rng.random() < 0.5 else f"with the {value}"


def top_k(g: Grammar) -> Pair:
    """ORDER BY measure LIMIT k."""
    table = g._table()
    column = g._pick(table.of("number", "number", "date"))
    k = 1 if g.rng.random() < 0.55 else g.rng.choice([2, 3, 4, 5, 10])
    condition = some_conditions(g, table.name) if g.rng.random() < 0.4 else None
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
    tree = filtered(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(ordered(g._col(column, False), down), copy=False).limit(k, copy=False)
    said = g._said(output)
    named = g.rng.choice([f"the {said} of the {rows}", f"the {said} of {rows}"])
    bare = output is g._label(table.name) and g.rng.random() < 0.6
    if k == 1 and bare and g.rng.random() < 0.35:
        has = words.replace("with the", "has the", 1) if words.startswith("with") else f"is the {words} one"
        question = phrasing.say(g.rng, ("which {x}?", "what {x}?", "do you know which {x}?"), f"{noun}{rest} {has}")
        return Pair(question, condition.evidence if condition else "", tree, "top k",
                    "simple" if not condition else "moderate")  # fmt: skip
    if k > 1 and g.rng.random() < 0.2:
        rows = f"{rows}, {g.rng.choice(['best first', 'in that order', 'top first', 'beginning with the first'])}"
    phrase = f"the {top or rows}" if bare else (f"the {said} of the {top}" if top else named)
    return finish(g, "list", phrase, tree, "top k", "simple" if not condition else "moderate", condition)


def sorting(g: Grammar) -> Pair:
    """SELECT … ORDER BY …, without a limit."""
    table = g._table()
    column, output = g._pick(table.of("number", "date", "label")), g._label(table.name)
    if column is output:
        raise NotHere
    condition = some_conditions(g, table.name) if g.rng.random() < 0.6 else None
    down = g.rng.random() < 0.5
    tree = filtered(g._select([g._col(output, False)], table.name), condition)
    tree = tree.order_by(ordered(g._col(column, False), down), copy=False)
    how = g.rng.choice(["from highest to lowest", "in descending order", "descending", "largest first"] if down
                       else ["from lowest to highest", "in ascending order", "ascending", ""])  # fmt: skip
    if column.kind == "label":
        how = "in reverse" if down else ""
    elif g.rng.random() < 0.3:
        words = g.rng.choice([w for w in superlative(g, column, down) if w])
        phrase = f"{attribute_of(g, g._said(output), name_rows(g, table.name, condition))}, {words} first"
        return finish(g, "list", phrase, tree, "sorting", "simple", condition)
    said = g.rng.choice(["sorted by", "ordered by", "in order of", "ranked by"])
    wanted = attribute_of(g, g._said(output), name_rows(g, table.name, condition))
    phrase = f"{wanted} {said} {g._said(column)} {how}".strip()
    return finish(g, "list", phrase, tree, "sorting", "simple", condition)
