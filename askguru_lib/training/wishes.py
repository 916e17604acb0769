"""One more wish to a hand-written question: another condition, what to leave out, an order, one more column.

People pile up conditions and columns; few of the written questions have more than one of each. The sentence stays as
it was written, the wish comes before or behind it or into the evidence, and the query gets what it asks for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import identifier, is_number_type
from askguru_lib.data.trees import is_plain, render, sources_of
from askguru_lib.databases.m_schema import MSchema

ONLY = ("Only {t} {n}.", "Only the {t} ones, please.", "{T} ones only.", "I mean {t} ones only.", "Just the {t} {n}.",
        "Consider nothing but {t} {n}.", "({t} ones only)", "- {t} only", "They have to be {t}.", "for {t} {n}",
        "Keep to the {t} ones.")  # fmt: skip
ONLY_BEFORE = ("Only {t} {n}: {q}", "{T} only: {q}", "For {t} {n} only: {q}", "Of the {t} ones alone: {q}",
               "This is about {t} {n}. {q}", "{T} {n}, please. {q}")  # fmt: skip
WITHOUT = ("Leave out {t} ones.", "Without the {t} ones.", "{T} ones do not count.", "Ignore {t} {n}.",
           "not the {t} ones", "All but the {t} ones.", "(no {t} ones)", "Skip what is {t}.", "They must not be {t}.",
           "except {t} {n}")  # fmt: skip
ONLY_NOTED = ("Only {c}.", "Only {c} counts.", "Take {t} {n} only, {c}.", "Keep to {t} ones, {c}.")
WITHOUT_NOTED = ("Leave out {t} {n}, {c}.", "Not {t} ones, {c}.", "Ignore {t} {n} ({c}).", "Without {c}.")
DEFINED = ("{T} is {c}", "{T} means {c}", "{t}: {c}", "{T} {n} have {c}", "{t} is {c}", "{T} stands for {c}")
MORE = ("Show the {c} as well.", "With the {c}, please.", "Add the {c}.", "and the {c}", "Give the {c}, too.",
        "I also need the {c}.", "plus {c}", "Put the {c} beside it.")  # fmt: skip
MORE_NOTED = ("Show the {c}, too", "Add the {c}", "Show {c} as well", "The {c} comes last")
HIGHEST = ("Highest first.", "The most on top.", "biggest first", "in descending order", "Start with the highest.")
LOWEST = ("Lowest first.", "The least on top.", "smallest first", "in ascending order of it", "Start with the lowest.")
Asked = tuple[exp.Query, str, str]
Rows = Mapping[str, Sequence[Sequence[Any]]]
_COLUMNS_SAID = re.compile(r"\b(?:only|just|each|once|nothing|enough|alone|will do|suffices?)\b", re.IGNORECASE)
_ORDER_SAID = re.compile(r"\b(?:order|sort\w*|first|last|top|ranked|ascending|descending)\b", re.IGNORECASE)


class Choice(NamedTuple):
    """A condition on a column, what it is called, whether that must be explained, and whether the column has NULLs."""

    column: exp.Column
    condition: exp.Expr
    term: str
    unexplained: bool
    nullable: bool


def with_a_wish(
    sql: exp.Query,
    question: str,
    evidence: str,
    schema: MSchema,
    rows: Rows,
    rng: random.Random,
    said: Callable[[exp.Expr], str] = render,
) -> Asked:
    """The question with one more wish; as it was where the kind of wish that was drawn does not fit.

    Args:
        rows: of each table, in the order of the schema's columns.
        said: how an evidence writes a condition.
    """
    if not isinstance(sql, exp.Select) or len(list(sql.find_all(exp.Select))) > 1 or sql.find(exp.Window):
        return sql, question, evidence
    tables = sources_of(sql)
    if not tables or any(t.alias for t in tables) or any(j.side for j in sql.find_all(exp.Join)):
        return sql, question, evidence
    kind, asked = rng.choices(("condition", "column", "order"), (5, 2, 2))[0], (sql.copy(), question, evidence)
    if kind == "condition":
        more = _condition(*asked, schema, rows, rng, said)
    elif kind == "column":
        more = _column(*asked, schema, rows, rng)
    else:
        more = _order(*asked, rng)
    return more or (sql, question, evidence)


def _beside(question: str, said: str) -> str:
    if question[-1:] in ".?!":
        return f"{question} {said}"
    return f"{question}{'.' if said[0].isupper() else ',' if said[0].islower() else ''} {said}"


def _noted(evidence: str, note: str, rng: random.Random) -> str:
    note, own = note.rstrip("."), evidence.rstrip(".")
    if not own:
        return note + "."
    first, second = (own, note) if rng.random() < 0.6 else (note, own)
    if rng.random() < 0.5:
        return f"{first}; {second}."
    if re.match(r"[a-z]+ (?![=<>]|IS\b|IN\b)", second):  # a word and no column
        second = second[:1].upper() + second[1:]
    return f"{first}. {second}."


def _reference(sql: exp.Select, table: str, column: str) -> exp.Column:
    """The column as the query's style has it: with its table where there are several."""
    several = len(sources_of(sql)) > 1
    return exp.column(identifier(column), table=identifier(table) if several else None)


def _fields(sql: exp.Select, schema: MSchema, rows: Rows) -> Iterator[tuple[str, str, dict[str, Any], list[Any]]]:
    """Columns that the query could but does not use, with all their values."""
    used = {c.name for c in sql.find_all(exp.Column)}
    for source in sources_of(sql):
        table = source.name
        for number, (column, field) in enumerate(schema.tables[table]["fields"].items()):
            if column not in used and not field["primary_key"]:
                yield table, column, field, [row[number] for row in rows[table]]


def _condition(
    sql: exp.Select,
    question: str,
    evidence: str,
    schema: MSchema,
    rows: Rows,
    rng: random.Random,
    said: Callable[[exp.Expr], str],
) -> Asked | None:
    if sql.args.get("having"):  # of the rows that are counted, or of the groups?
        return None
    fields = [f for f in _fields(sql, schema, rows) if not _is_key(schema, f[0], f[1])]
    rng.shuffle(fields)
    about = [schema.tables[source.name]["fields"] for source in sources_of(sql)]
    told = f"{question} {evidence} {about}".lower()
    terms = [t for t in phrasing.TERMS if t not in told]
    if not terms:
        return None
    found = next((c for f in fields if (c := _choice(_reference(sql, f[0], f[1]), *f[2:], terms, rng))), None)
    if found is None:
        return None
    table = found.column.table or sources_of(sql)[0].name
    noun = "ones" if phrasing.looks_cryptic(table) or rng.random() < 0.5 else phrasing.plural(phrasing.humanize(table))
    without = rng.random() < 0.3 and isinstance(found.condition, exp.EQ) and not found.nullable
    words: dict[str, str] = {"t": found.term, "T": found.term[:1].upper() + found.term[1:], "n": noun}
    words["c"] = said(found.condition)
    new = _narrowed(sql, exp.NEQ(**found.condition.args) if without else found.condition)
    if rng.random() < 0.25:
        note = rng.choice(WITHOUT_NOTED if without else ONLY_NOTED).format(**words)
        return new, question, _noted(evidence, note, rng)
    if not without and rng.random() < 0.35:
        question = rng.choice(ONLY_BEFORE).format(q=question, **words)
    else:
        question = _beside(question, rng.choice(WITHOUT if without else ONLY).format(**words))
    if found.unexplained or rng.random() < 0.4:
        evidence = _noted(evidence, rng.choice(DEFINED).format(**words), rng)
    return new, question, evidence


def _narrowed(sql: exp.Select, condition: exp.Expr) -> exp.Select:
    where = sql.args.get("where")
    if where is None:
        return sql.where(condition, copy=False)
    before = exp.Paren(this=where.this) if isinstance(where.this, exp.Or) else where.this
    where.set("this", exp.And(this=before, expression=condition))
    return sql


def _is_key(schema: MSchema, table: str, column: str) -> bool:
    return any((key[0], key[1]) == (table, column) for key in schema.foreign_keys)


def _choice(
    column: exp.Column, field: dict[str, Any], values: list[Any], terms: list[str], rng: random.Random
) -> Choice | None:
    """A condition on a column: a code by its meaning, a value by itself, all else under a new word."""
    known = [v for v in values if v is not None]
    different, nullable = list(dict.fromkeys(known)), len(known) < len(values)
    new = rng.choice(terms)
    kind = field["type"].upper()

    def equal(value: Any) -> exp.Expr:
        return exp.EQ(this=column, expression=exp.convert(value))

    if kind.startswith("BOOL"):
        return Choice(column, equal(rng.choice([0, 1, 1])), new, True, nullable) if len(different) == 2 else None
    if kind.startswith("DATE"):
        if not nullable or not known:
            return None
        empty = exp.Is(this=column, expression=exp.Null())
        return Choice(column, empty if rng.random() < 0.6 else exp.Not(this=empty), new, True, nullable)
    if is_number_type(kind):
        if len(different) < 4 or not all(isinstance(v, int | float) for v in known):
            return None
        limit = rng.choice(sorted(different)[1:-1])
        sign = rng.choice([exp.GT, exp.GTE, exp.LT, exp.LTE])
        whole = int(limit) if limit == int(limit) else limit
        return Choice(column, sign(this=column, expression=exp.convert(whole)), new, True, nullable)
    if not 2 <= len(different) <= min(8, 0.6 * len(values)):
        return None
    value = str(rng.choice(different))
    meaning = re.search(rf"(?<!\w){re.escape(value)} = ([a-z][^,;=()]*?)(?:[,;)]|$| or )", field["comment"])
    if meaning and len(meaning[1].split()) < 4:
        return Choice(column, equal(value), meaning[1].strip(), False, nullable)
    if value.isalpha() and len(value) > 3 and value.islower() and rng.random() < 0.6:
        return Choice(column, equal(value), value, False, nullable)
    return Choice(column, equal(value), new, True, nullable)


_NO_NOUN = re.compile(r"^(?:is|has|needs|was|can|in|with|order|group)\b|\b(?:on|at|by|in|to|since|until|from|for|of)$")


def _said(column: str, field: dict[str, Any]) -> str | None:
    """What a column is called among people; None if its name is a flag, no noun, or a code that no comment explains."""
    if field["type"].upper().startswith("BOOL"):
        return None
    if not phrasing.looks_cryptic(column):
        name = phrasing.humanize(column)
        return None if _NO_NOUN.search(name) else name
    said = phrasing.spoken(field["comment"])
    return said if said and len(said.split()) < 5 and not phrasing.says_no_name(said) else None


def _column(
    sql: exp.Select, question: str, evidence: str, schema: MSchema, rows: Rows, rng: random.Random
) -> Asked | None:
    wanted = sql.expressions
    named_only = all(isinstance(e, exp.Column) and e.name != "*" for e in wanted)
    if not named_only or len(wanted) > 2 or not _plain_but_for_limit(sql):
        return None
    if _COLUMNS_SAID.search(f"{question} {evidence}") or re.search(r"\bshow\b", evidence, re.IGNORECASE):
        return None
    named = [(f, said) for f in _fields(sql, schema, rows) if (said := _said(f[1], f[2]))]
    if not named:
        return None
    (table, column, *_), said = rng.choice(named)
    new = sql.select(_reference(sql, table, column), copy=False)
    if rng.random() < 0.25:
        return new, question, _noted(evidence, rng.choice(MORE_NOTED).format(c=said), rng)
    return new, _beside(question, rng.choice(MORE).format(c=said)), evidence


def _plain_but_for_limit(sql: exp.Query) -> bool:
    free = sql.copy()
    free.set("limit", None)
    return is_plain(free)


def _order(sql: exp.Select, question: str, evidence: str, rng: random.Random) -> Asked | None:
    """Groups by their only measure, from either end."""
    measure, group = sql.expressions[-1].unalias(), sql.args.get("group")
    if sql.args.get("order") or not group or not isinstance(measure, exp.Count | exp.Sum | exp.Avg):
        return None
    if sum(bool(e.find(exp.AggFunc)) for e in sql.expressions) > 1 or _ORDER_SAID.search(f"{question} {evidence}"):
        return None
    down = rng.random() < 0.7
    names = all(isinstance(e, exp.Column) for e in group.expressions)
    ends = (HIGHEST if down else LOWEST) if names else (HIGHEST if down else LOWEST)[:2]  # of times, which end?
    said = rng.choice(ends)
    new = sql.order_by(exp.Ordered(this=measure.copy(), desc=down or None, nulls_first=not down), copy=False)
    if rng.random() < 0.3:
        return new, question, _noted(evidence, said.lower(), rng)
    return new, _beside(question, said), evidence
