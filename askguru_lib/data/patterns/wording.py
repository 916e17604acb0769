"""Words and clauses that several patterns have in common."""

from __future__ import annotations

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import OPENINGS, Condition, Grammar, Pair


def finish(
    g: Grammar, kind: str, phrase: str, tree: exp.Select, name: str, difficulty: str, *conditions: Condition | None
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
    question = phrasing.say(g.rng, ("{x}?",), f"{opening} {phrasing.predicate(condition.phrase)}")
    return Pair(question, condition.evidence, tree, name, "simple")


def attribute_of(g: Grammar, said: str, rows: str) -> str:
    """``the names of customers …``, in one of its forms."""
    many = phrasing.plural(said)
    return g.rng.choice([f"the {said} of {rows}", f"the {many} of {rows}", f"{many} of {rows}",
                         f"the {said} for {rows}",
                         f"the {many} of all {rows}", f"{said} of {rows}", f"the {said} of the {rows}",
                         f"{said} for {rows}"])  # fmt: skip


def per_group(g: Grammar, measure: str, group: str, rows: str) -> str:
    return g.rng.choice([f"{measure} of {rows} for each {group}", f"{measure} of {rows} per {group}",
                         f"{measure} of {rows} by {group}", f"for each {group}, {measure} of {rows}",
                         f"{measure} of {rows} in each {group}",
                         f"{measure} of {rows} grouped by {group}"])  # fmt: skip


def measured(g: Grammar, table: str, qualified: bool) -> tuple[exp.Expr, str]:
    """COUNT(*) or an aggregate of a measure, and its words."""
    numbers = g.tables[table].of("number")
    if not numbers or g.rng.random() < 0.5:
        return g._count(), g.rng.choice(["the number", "the count", "the total number", "how many"])
    function, measure = g.rng.choice(list(phrasing.AGGREGATES)), g.rng.choice(numbers)
    word = g.rng.choice(phrasing.AGGREGATES[function])
    return g._agg(function, g._col(measure, qualified)), f"the {word} {g._said(measure)}"
