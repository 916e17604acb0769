"""Patterns that read rows of one table."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import new_term, one_condition, some_conditions, what_happened
from askguru_lib.data.grammar import Column, Grammar, NotHere, Pair, Table
from askguru_lib.data.patterns.wording import (
    ask_which,
    attribute_of,
    filtered,
    finish,
    in_order,
    name_rows,
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
    if g.rng.random() < 0.12:
        return _who(g, table)
    condition = some_conditions(g, table.name, least=0 if g.rng.random() < 0.15 else 1)
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
    tree, phrase = in_order(g, tree, phrase, outputs[0])
    return finish(g, "list", phrase, tree, "listing", "simple", condition)


def _who(g: Grammar, table: Table) -> Pair:
    """*Who was hired in 2020?* A question that names no table: a column, which only one table has, says which."""
    condition, label = one_condition(g, table.name), g._label(table.name)
    column = condition.tree.find(exp.Column)
    said = column.name if column else ""
    others = [t for t in g.tables.values() if t is not table and any(c.name == said for c in t.columns)]
    if label.kind != "label" or others:
        raise NotHere
    does = phrasing.predicate(condition.phrase)
    if g.rng.random() < 0.3:
        tree = g._select([g._count()], table.name).where(condition.tree, copy=False)
        many = g.rng.choice(["how many people", "how many of them", "how many", "how many people here"])
        return Pair(phrasing.say(g.rng, ("{x}?",), f"{many} {does}"), condition.evidence, tree, "who", "simple")
    if g.rng.random() < 0.15:
        g.notes.append(g.rng.choice([f"Show the {g._said(label)}.", f"show {g._said(label)}"]))
    who = g.rng.choice(["who", "who", "who", "do you know who", "tell me who", "anybody who"])
    tree = g._select([g._col(label, False)], table.name).where(condition.tree, copy=False)
    question = phrasing.say(g.rng, ("{x}?",), f"{who} {phrasing.third_person(does)}")
    return Pair(question, condition.evidence, tree, "who", "simple")


def lookup(g: Grammar) -> Pair:
    """An attribute of the one row that is called by its name."""
    table = g._table()
    label = g._pick([c for c in table.of("label") if c.values] or [c for c in table.of("category") if c.values])
    wanted = g._pick([c for c in table.columns if c.name != label.name and (c.kind != "key" or g.rng.random() < 0.2)])
    value, said, one = g.rng.choice(label.values), g._said(wanted), g._one(table.name)
    key = table.columns[0]
    if g.rng.random() < 0.3 and key.kind == "key" and key.values and wanted is not key:
        number = g.rng.choice(key.values)
        called = g.rng.choice([f"{one} {number}", f"{one} number {number}", f"{one} no. {number}", f"{one} {number}"])
        phrase = g.rng.choice([f"the {said} of {called}", f"{said} of {called}", f"{called}: {said}",
                               f"the {said} for {called}", f"{called}'s {said}"])  # fmt: skip
        test = exp.EQ(this=g._col(key, False), expression=g._literal(key, number))
        return finish(
            g, "value", phrase, g._select([g._col(wanted, False)], table.name).where(test), "lookup", "simple"
        )
    phrase = g.rng.choice([f"the {said} of the {value} {one}", f"{said} of {value}", f"{value}: {said}",
                           f"the {said} of {value}", f"the {said} of the {one} {value}", f"{value}'s {said}",
                           f"the {said} for {one} {value}", f"the {said} of the {one} called {value}",
                           f"the {said} of the {one} whose {g._said(label)} is {value}",
                           f"the {said} of the {one} named '{value}'"])  # fmt: skip
    test = exp.EQ(this=g._col(label, False), expression=g._literal(label, value))
    if g.rng.random() < 0.4:
        question = phrasing.say(g.rng, ("{x}",), g.rng.choice(_asked_of(g, wanted, said, one, value)))
        return Pair(question, "", g._select([g._col(wanted, False)], table.name).where(test), "lookup", "simple")
    return finish(g, "value", phrase, g._select([g._col(wanted, False)], table.name).where(test), "lookup", "simple")


def _asked_of(g: Grammar, wanted: Column, said: str, one: str, value: str) -> tuple[str, ...]:
    """Whole questions for an attribute of what is called ``value``."""
    who = g.rng.choice([value, value, f"the {one} {value}", f"{one} {value}", f"the {value} {one}"])
    happened = what_happened(g, wanted)
    if wanted.kind == "date" and happened and phrasing.that_happened(happened) == f"that {happened}":
        return f"when was it that {who} {happened}?", f"on which day {who} {happened}", f"the day when {who} {happened}"
    if wanted.kind == "date" and happened:
        return (f"when was {who} {happened}?", f"on which day was {who} {happened}?",
                f"when exactly was {who} {happened}?",
                f"what day was {who} {happened}?", f"{who} was {happened} when?")  # fmt: skip
    if wanted.kind == "date":
        return f"when is the {said} of {who}?", f"which {said} does {who} have?", f"when was {who}'s {said}?"
    if wanted.kind == "number":
        if said.endswith("s") and not said.endswith("ss"):
            return (f"how many {said} does {who} have?", f"how many {said} do you get for {who}?",
                    f"how many {said} are there for {who}?", f"how many {said} has {who}?")  # fmt: skip
        return (f"what {said} does {who} have?", f"how high is the {said} of {who}?", f"what is the {said} for {who}?",
                f"which {said} does {who} have?")  # fmt: skip
    if wanted.kind == "flag":
        asks, _, what = said.partition(" ")
        return (f"{asks} {who} {what}?",) if asks in ("is", "was") and what else (f"what is the {said} of {who}?",)
    places = [c for c in g.tables[wanted.table].columns if c.phrases[0].split()[-1] in _PLACES]
    if places == [wanted]:
        return f"where is {who}?", f"where does {who} come from?", f"in which {said} is {who}?", f"where is {who} from?"
    return f"what {said} does {who} have?", f"which {said} is {who}?", f"what kind of {said} is {who}?"


_PLACES = ("city", "country", "region", "state", "address", "location", "origin", "place")


COUNT_THEM = ("Show their number.", "Count them.", "The number is enough.", "just the number",
              "I want the number of them.")  # fmt: skip
"""Evidence that asks for the number of what a question names."""


def counting(g: Grammar) -> Pair:
    """SELECT COUNT(*) FROM table WHERE …"""
    table = g._table()
    condition = some_conditions(g, table.name, least=0 if g.rng.random() < 0.2 else 1)
    tree = filtered(g._select([g._count()], table.name), condition)
    if condition and g.rng.random() < 0.2:
        few = g.rng.choice(["how many", "how many", "how many of the", "how many of our"])
        return ask_which(g, f"{few} {g._noun(table.name)}", condition, tree, "counting")
    rows = name_rows(g, table.name, condition)
    numbered = any(phrase.split()[-1] == "number" for column in table.columns for phrase in column.phrases)
    if g.rng.random() < 0.12 and not numbered:
        g.notes.append(g.rng.choice(COUNT_THEM))
        return finish(g, "list", rows, tree, "counting", "simple", condition)
    return finish(g, "count", rows, tree, "counting", "simple", condition)


def distinct(g: Grammar) -> Pair:
    """SELECT DISTINCT column, or how many different values there are."""
    table = g._table()
    column = g._pick(table.of("category", "label"))
    condition = some_conditions(g, table.name) if g.rng.random() < 0.6 else None
    said, rows, ref = g._said(column), name_rows(g, table.name, condition), g._col(column, False)
    word = g.rng.choice(["different", "distinct", "unique"])
    if g.rng.random() < 0.4:
        tree = g._select([exp.Count(this=exp.Distinct(expressions=[ref]))], table.name)
        return finish(g, "count", f"{word} {phrasing.plural(said)} of {rows}", filtered(tree, condition),
                       "count distinct", "simple", condition)  # fmt: skip
    tree = g._select([ref], table.name).distinct(copy=False)
    if g.rng.random() < 0.5:
        many = phrasing.plural(said)
        once = g.rng.choice(["each one once", "each only once", "without repeats", "no repeats", "each once",
                             "no duplicates", "every one once"])  # fmt: skip
        phrase = g.rng.choice([f"the {many} of {rows}", f"{many} of {rows}", f"the {many} that {rows} have",
                               f"in which {many} {rows} are", f"which {many} there are among {rows}"])  # fmt: skip
        if g.rng.random() < 0.3:
            g.notes.append(f"{once[0].upper()}{once[1:]}.")
        elif g.rng.random() < 0.3:
            phrase = g.rng.choice([f"every {said} of {rows}", f"every {said} there is among {rows}",
                                   f"which kinds of {said} {rows} have"])  # fmt: skip
        else:
            phrase = f"{phrase}, {once}"
        return finish(g, "list", phrase, filtered(tree, condition), "distinct", "simple", condition)
    phrase = g.rng.choice([f"the {word} {phrasing.plural(said)} of {rows}",
                           f"all {word} {phrasing.plural(said)} of {rows}",
                           f"{word} {phrasing.plural(said)} among {rows}"])  # fmt: skip
    return finish(g, "list", phrase, filtered(tree, condition), "distinct", "simple", condition)


def two_columns(g: Grammar) -> Pair:
    """Rows whose one column is greater than another: WHERE a > b."""
    table = g._table()
    kind = g.rng.choice(["date", "number"])
    columns = table.of(kind)
    if len(columns) < 2:
        raise NotHere
    first, second = g.rng.sample(columns, 2)
    if kind == "date" and first.sql_type != second.sql_type:
        raise NotHere  # other engines do not compare dates with texts
    more = g.rng.random() < 0.6
    test = (exp.GT if more else exp.LT)(this=g._col(first, False), expression=g._col(second, False))
    word = COMPARED[kind, g.rng.random() < 0.6][not more]
    rows = g.rng.choice([f"{g._noun(table.name)} whose {g._said(first)} is {word} the {g._said(second)}",
                         f"{g._noun(table.name)} with a {g._said(first)} {word} their {g._said(second)}"])  # fmt: skip
    happened = what_happened(g, first) if kind == "date" else None
    if happened and g.rng.random() < 0.5:
        word = "after" if more else "before"
        rows = g.rng.choice([f"{g._noun(table.name)} {happened} {word} the {g._said(second)}",
                             f"{g._noun(table.name)} {phrasing.that_happened(happened)} {word} their "
                             f"{g._said(second)}"])  # fmt: skip
    elif g.rng.random() < 0.2:
        term = new_term(g, table.name, phrasing.TERMS)
        rows = f"{term} {g._noun(table.name)}"
        g.notes.append(g.rng.choice([f"{term} means {g._said(first)} is {word} {g._said(second)}",
                                     f"{term} is {first.name} {'>' if more else '<'} {second.name}"]))  # fmt: skip
    if g.rng.random() < 0.5:
        return finish(g, "count", rows, g._select([g._count()], table.name).where(test, copy=False), "two columns",
                       "moderate")  # fmt: skip
    label = g._label(table.name)
    tree = g._select([g._col(label, False)], table.name).where(test, copy=False)
    phrase = rows if g.rng.random() < 0.4 else attribute_of(g, g._said(label), rows)
    return finish(g, "list", phrase, tree, "two columns", "moderate")
