"""Words and clauses that several patterns have in common."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.conditions import Condition, only_date, what_happened
from askguru_lib.data.grammar import OPENINGS, Column, Grammar, Pair


def finish(
    g: Grammar, kind: str, phrase: str, tree: exp.Query, name: str, difficulty: str, *conditions: Condition | None
) -> Pair:
    evidence = "; ".join(c.evidence for c in conditions if c and c.evidence)
    return Pair(g.ask(OPENINGS[kind], phrase), evidence, tree, name, difficulty)


def filtered(tree: exp.Select, condition: Condition | None) -> exp.Select:
    return tree.where(condition.tree, copy=False) if condition else tree


def ordered(key: exp.Expr, down: bool) -> exp.Ordered:
    """A sort key in SQLite's own order of NULLs, so that no NULLS clause is written."""
    return exp.Ordered(this=key, desc=True if down else None, nulls_first=not down)


def name_rows(g: Grammar, table: str, condition: Condition | None) -> str:
    """``customers whose city is Oslo``, or ``active customers``."""
    noun = g._noun(table)
    if condition and condition.before and g.rng.random() < 0.4:
        return f"{condition.before} {noun} {condition.rest}".strip()
    return f"{noun} {condition.phrase}" if condition else noun


def ask_which(g: Grammar, opening: str, condition: Condition, tree: exp.Select, name: str) -> Pair:
    """A question that is a sentence of its own: ``Which customers have a city of Oslo?``"""
    question = phrasing.say(
        g.rng,
        ("{x}?", "{x}?", "do you know {x}?", "tell me {x}", "I wonder {x}"),
        f"{opening} {phrasing.predicate(condition.phrase)}",
    )
    return Pair(question, condition.evidence, tree, name, "simple")


def attribute_of(g: Grammar, said: str, rows: str) -> str:
    """``the names of customers …``, in one of its forms."""
    many = phrasing.plural(said)
    if g.rng.random() < 0.2:
        g.notes.append(g.rng.choice(["Show the {s}.", "show {s}", "Give the {s}", "The {s} is enough.", "{s} only",
                                     "Show their {s}.", "The {m} are enough."]).format(s=said, m=many))  # fmt: skip
        return g.rng.choice([rows, rows, f"all {rows}", f"the {rows}"])
    return g.rng.choice([f"the {said} of {rows}", f"the {many} of {rows}", f"{many} of {rows}",
                         f"the {said} for {rows}",
                         f"the {many} of all {rows}", f"{said} of {rows}", f"the {said} of the {rows}",
                         f"{said} for {rows}", f"{rows}: {said}", f"{rows}, {many} only",
                         f"{rows} - the {said}, please",
                         f"{rows}, just the {many}"])  # fmt: skip


ALPHABETICAL = ("in alphabetical order", "alphabetically", "from A to Z", "sorted by name", "A to Z")


def in_order(
    g: Grammar, tree: exp.Select, phrase: str, output: Column, qualified: bool = False
) -> tuple[exp.Select, str]:
    """Now and then a list in the order of its labels, as the question or the evidence says."""
    if output.kind != "label" or g.rng.random() >= 0.1:
        return tree, phrase
    tree = tree.order_by(ordered(g._col(output, qualified), False), copy=False)
    said = g.rng.choice([*ALPHABETICAL, f"ordered by {g._said(output)}", f"sorted by {g._said(output)}"])
    if g.rng.random() < 0.25:
        g.notes.append(said)
        return tree, phrase
    return tree, f"{phrase}{g.rng.choice([', ', ' '])}{said}"


def with_or_noted(g: Grammar, phrase: str, words: str, noted: float) -> str:
    """The phrase with ``words`` behind it; a share of ``noted`` without them, and the evidence says them."""
    if g.rng.random() < noted:
        g.notes.append(words)
        return phrase
    return f"{phrase}, {words}"


def superlative(g: Grammar, column: Column, down: bool) -> tuple[str, str]:
    """``("most expensive", "highest price")``: an adjective, empty where none is clear, and the words for the value."""
    said = g._said(column)
    words, dated = said.split(), column.kind == "date" or phrasing.says_year(said)
    if column.kind == "date":
        word = g.rng.choice(["latest", "most recent", "newest"] if down else ["earliest", "oldest", "first"])
    else:
        high = ["highest", "largest", "greatest", "biggest", "most", "maximum", "top"]
        word = g.rng.choice(high if down else ["lowest", "smallest", "least", "minimum", "fewest"])
    adjectives: tuple[str, ...] = ()
    if dated and "birth" in words:
        adjectives = phrasing.BORN[not down]
    elif dated and (happened := what_happened(g, column)):
        first = ("last", "most recently", "latest") if down else ("first", "earliest")
        adjectives = tuple(f"{when} {happened}" for when in first)
    elif column.kind == "date" and only_date(g, column):
        adjectives = (word,)
    elif known := phrasing.SUPERLATIVES.get(words[-1]):
        others = (c for c in g.tables[column.table].of("number") if c is not column)
        taken = {
            a for c in others for p in c.phrases for a in phrasing.SUPERLATIVES.get(p.split()[-1], ((), ()))[not down]
        }
        adjectives = tuple(a for a in known[not down] if a not in taken)
    return g.rng.choice(adjectives) if adjectives else "", f"{word} {said}"


def of_one(g: Grammar, parent: str, many: str) -> tuple[exp.Expr, str] | None:
    """The rows of one parent that is called by its name: ``orders of Acme``, ``Acme's orders``; qualified."""
    labels = [c for c in g.tables[parent].of("label") if c.values]
    key = g.tables[parent].columns[0]
    if key.kind == "key" and key.values and g.rng.random() < 0.25:
        value, one = g.rng.choice(key.values), g._one(parent)
        test = exp.EQ(this=g._col(key, True), expression=g._literal(key, value))
        return test, g.rng.choice([f"{many} of {one} {value}", f"{many} of {one} number {value}",
                                   f"{many} for {one} {value}", f"{one} {value}'s {many}"])  # fmt: skip
    if not labels:
        return None
    label = g.rng.choice(labels)
    value, one = g.rng.choice(label.values), g._one(parent)
    test = exp.EQ(this=g._col(label, True), expression=g._literal(label, value))
    said = g.rng.choice([f"{many} of {value}", f"{value}'s {many}", f"{many} from {value}", f"{many} for {value}",
                         f"{many} by {value}", f"{many} of the {one} {value}", f"{many} at {value}",
                         f"{many} belonging to {value}", f"{many} of {one} {value}", f"{many} that {value} has",
                         f"{many} of the {value} {one}", f"{many} with {value}"])  # fmt: skip
    return test, said


def per_group(g: Grammar, measure: str, group: str, rows: str) -> str:
    if measure in COUNTS and g.rng.random() < 0.35:
        return g.rng.choice([f"{rows} per {group}", f"{rows} by {group}", f"{rows} in each {group}",
                             f"for each {group} how many {rows}", f"{group} and number of {rows}",
                             f"how {rows} spread over {phrasing.plural(group)}",
                             f"every {group} with its number of {rows}"])  # fmt: skip
    return g.rng.choice([f"{measure} of {rows} for each {group}", f"{measure} of {rows} per {group}",
                         f"{measure} of {rows} by {group}", f"for each {group}, {measure} of {rows}",
                         f"{measure} of {rows} in each {group}",
                         f"{measure} of {rows} grouped by {group}",
                         f"{measure} of {rows} for every {group}", f"{group} by {group}: {measure} of {rows}",
                         f"per {group}, {measure} of {rows}", f"{group} and {measure} of {rows}"])  # fmt: skip


COUNTS = ("the number", "the count", "the total number")


def measured(g: Grammar, table: str, qualified: bool) -> tuple[exp.Expr, str]:
    """COUNT(*) or an aggregate of a measure, and its words."""
    numbers = g.tables[table].of("number")
    if not numbers or g.rng.random() < 0.5:
        return g._count(), g.rng.choice([*COUNTS, "how many"])
    function, measure = g.rng.choice(list(phrasing.AGGREGATES)), g.rng.choice(numbers)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    return g._agg(function, g._col(measure, qualified)), f"the {word} {g._said(measure)}"
