"""A typed grammar over a schema graph: SQL trees and the questions that they answer.

A :class:`Grammar` reads an M-Schema (names, comments, types, example values, foreign keys) and builds, from one random
draw, a sqlglot tree and a question for it. Nothing here touches a database: ``data/synthesis.py`` runs what was built.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.phrasing import COUNT_OPENINGS, LIST_OPENINGS, VALUE_OPENINGS, say
from askguru_lib.databases.m_schema import MSchema

NUMBER_TYPES = ("INT", "NUM", "DEC", "REAL", "FLOAT", "DOUBLE", "MONEY")
RESERVED = frozenset(
    """
any add all alter and as asc autoincrement between by case check collate column commit constraint create cross
cube default deferrable delete desc describe distinct drop else end escape except exists false fetch for foreign
from full glob grant group having if ilike in index inner insert intersect into is isnull join key lateral left
like limit lock not notnull null offset on or order outer over primary qualify references regexp returning
revoke rlike rollback rollup select set table tablesample then to transaction true uncache union unique update
using values when where window with xor do of cast current_date current_time current_timestamp nothing raise
""".split()  # noqa: SIM905
)


PART_OF_NAME = re.compile(r"\b(first|middle|given) ?names?\b|\bforenames?\b")
"""Names that many rows have in common."""
OF_A_FAMILY = re.compile(r"\b(?:last|family) ?names?\b|\bsurnames?\b")
"""Names that some rows have in common: they stand for a row, but not for one alone."""


@dataclass(frozen=True)
class Column:
    """A column as the grammar sees it; ``kind`` is key, number, flag, date, label or category."""

    table: str
    name: str
    kind: str
    phrases: tuple[str, ...]
    values: tuple[str, ...]
    nullable: bool
    is_number: bool
    meanings: tuple[tuple[str, str], ...] = ()
    sql_type: str = ""

    @property
    def other_words(self) -> tuple[str, ...]:
        """The phrases that are not made of words of the name alone."""
        words = set(phrasing.humanize(self.name).split())
        return tuple(phrase for phrase in self.phrases if not words >= set(phrase.split()))


@dataclass
class Table:
    """A table as the grammar sees it; ``key`` are the columns of its primary key."""

    name: str
    phrases: tuple[str, ...]
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ()

    def of(self, *kinds: str) -> list[Column]:
        return [c for c in self.columns if c.kind in kinds]


@dataclass(frozen=True)
class Link:
    """``child.column`` refers to ``parent.ref``."""

    child: str
    column: str
    parent: str
    ref: str


@dataclass(frozen=True)
class Pair:
    """One drawn question and its query."""

    question: str
    evidence: str
    tree: exp.Query
    pattern: str
    difficulty: str


class NotHere(Exception):
    """The schema has nothing for the pattern that was drawn (no date column, no foreign key …)."""


def identifier(name: str) -> exp.Identifier:
    """An identifier, quoted exactly if the name needs it."""
    safe = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in RESERVED
    return exp.Identifier(this=name, quoted=not safe)


def is_number_type(sql_type: str) -> bool:
    """Whether values of a type are written without quotes."""
    return any(name in sql_type.upper() for name in NUMBER_TYPES)


def column_kind(name: str, info: dict[str, Any], is_key: bool) -> str:
    """key, number, flag, date, label or category, from type, name, comment and example values."""
    raw, values = str(info["type"]).upper(), info["examples"]
    words = f"{phrasing.humanize(name)} {info['comment'].lower()}"
    if is_key or info["primary_key"]:
        return "key"
    if raw.startswith(("DATE", "TIMESTAMP")) or (values and all(re.match(r"\d{4}-\d\d-\d\d", v) for v in values)):
        return "date"
    if "BOOL" in raw:
        return "flag"
    if is_number_type(raw):
        return "flag" if len(values) > 1 and set(values) <= {"0", "1"} else "number"
    if re.search(r"\b(name|title|label|designation)\b", words):
        return "label"
    return "category"


def row_name(kinds: Mapping[str, str], key: Sequence[str]) -> str | None:
    """The column that says what a row is called: its name, or else its key; where no key is declared, the first column
    that looks like one.

    Args:
        kinds: of a table's columns, by their names.
        key: the columns of its primary key. Where it has several and the table has no name, there is no such column:
            half of a key names no row.
    """
    names = [name for name, kind in kinds.items() if kind == "label"]
    if names:
        return min(names, key=lambda name: bool(PART_OF_NAME.search(phrasing.humanize(name))))
    if len(key) > 1:
        return None
    return next(iter([*key, *(name for name, kind in kinds.items() if kind == "key"), *kinds]), None)


class Grammar:
    """Draws question/SQL pairs for one schema.

    Args:
        schema: M-Schema with example values; more values per column give more varied conditions.
        rng: source of all randomness.
        meanings: ``{"table.column": {code: meaning}}``, what coded values stand for; a question then says the meaning,
            and its evidence defines it.
    """

    def __init__(self, schema: MSchema, rng: random.Random, meanings: dict[str, dict[str, str]] | None = None) -> None:
        self.rng = rng
        self.notes: list[str] = []
        """What the evidence of the pair that is being drawn says besides its conditions."""
        self.terms: set[str] = set()
        """Words that this evidence defines."""
        keys = {(k[0], k[1]) for k in schema.foreign_keys} | {(k[3], k[4]) for k in schema.foreign_keys}
        nouns = {phrasing.singular(phrasing.humanize(name)) for name in schema.tables}
        self.tables: dict[str, Table] = {}
        for name, info in schema.tables.items():
            table = Table(name, self._table_phrases(name, info["comment"], nouns))
            for column, f in info["fields"].items():
                kind = column_kind(column, f, (name, column) in keys)
                known = tuple((meanings or {}).get(f"{name}.{column}", {}).items())
                number = is_number_type(str(f["type"]))
                table.columns.append(
                    Column(name, column, kind, self._column_phrases(name, column, f), tuple(f["examples"]),
                           f["nullable"] and not f["primary_key"], number, known, str(f["type"]).upper())
                )  # fmt: skip
            table.key = tuple(column for column, f in info["fields"].items() if f["primary_key"])
            self.tables[name] = table
        links = [
            Link(str(t), str(c), str(rt), str(rc))
            for t, c, _, rt, rc in schema.foreign_keys
            if rt in self.tables and t in self.tables and t != rt
        ]
        own = [Link(str(t), str(c), str(rt), str(rc)) for t, c, _, rt, rc in schema.foreign_keys
               if t == rt and t in self.tables]  # fmt: skip
        of = Counter(link.child for link in own)
        self.own_links = [link for link in own if of[link.child] == 1]
        """Keys that refer to a row of the same table."""
        # Where two keys lead to the same table (origin and destination), "flights of an airport" would say neither.
        self._ways = Counter((link.child, link.parent) for link in links)
        self.links = [link for link in links if self._ways[link.child, link.parent] == 1]

    # -- names --------------------------------------------------------------------------------------------------

    def _table_phrases(self, name: str, comment: str, others: set[str]) -> tuple[str, ...]:
        plain, short = phrasing.humanize(name), phrasing.head(comment)
        usable = 0 < len(short.split()) <= 3 and short.replace(" ", "").isalpha()
        if not usable or phrasing.is_clause(short) or phrasing.singular(short) in others - {phrasing.singular(plain)}:
            return (plain,)
        return (short,) if phrasing.looks_cryptic(name) else tuple(dict.fromkeys((plain, short)))

    def _column_phrases(self, table: str, name: str, info: dict[str, Any]) -> tuple[str, ...]:
        plain, short = phrasing.humanize(name), phrasing.spoken(info["comment"])
        values = {"or", "and", *(word for value in info["examples"] for word in str(value).lower().split())}
        lists = values >= set(short.split())  # "adult, student or child" names the values
        short = "" if lists or len(short.split()) > 6 or phrasing.says_no_name(short) else short
        own = phrasing.singular(phrasing.humanize(table))
        options = [short] if short and phrasing.looks_cryptic(name) else [plain, short]
        options += [p.removeprefix(f"{own} ") for p in options]
        options += [re.sub(rf" of the {re.escape(own)}$", "", p) for p in options]
        return tuple(dict.fromkeys(p for p in options if p))

    def _noun(self, table: str) -> str:
        return phrasing.plural(self.rng.choice(self.tables[table].phrases))

    def _one(self, table: str) -> str:
        return phrasing.singular(self.rng.choice(self.tables[table].phrases))

    def _said(self, column: Column) -> str:
        return self.rng.choice(column.phrases)

    def _pick(self, options: list[Any]) -> Any:
        if not options:
            raise NotHere
        return self.rng.choice(options)

    def _table(self) -> Table:
        return self.tables[self._pick(list(self.tables))]

    def _label(self, table: str) -> Column:
        """What stands for a row when no column is named (:func:`row_name`).

        Raises:
            NotHere: nothing does.
        """
        t = self.tables[table]
        name = row_name({c.name: c.kind for c in t.columns}, t.key)
        return self._pick([c for c in t.columns if c.name == name])

    # -- trees --------------------------------------------------------------------------------------------------

    def _col(self, column: Column, qualified: bool) -> exp.Column:
        return self._ref(column.table if qualified else None, column.name)

    def _ref(self, table: str | None, name: str) -> exp.Column:
        return exp.Column(this=identifier(name), table=identifier(table) if table else None)

    def _select(self, outputs: list[exp.Expr], table: str) -> exp.Select:
        return exp.Select(expressions=outputs).from_(exp.Table(this=identifier(table)), copy=False)

    def _join(self, query: exp.Select, link: Link, add: str) -> exp.Select:
        on = exp.EQ(this=self._ref(link.child, link.column), expression=self._ref(link.parent, link.ref))
        return query.join(exp.Table(this=identifier(add)), on=on, copy=False)

    def _literal(self, column: Column, value: str) -> exp.Expr:
        if column.is_number and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return exp.Literal.number(value)
        return exp.Literal.string(value)

    def _part(self, form: str, column: exp.Expr) -> exp.Expr:
        return exp.Anonymous(this="strftime", expressions=[exp.Literal.string(form), column])

    def _year(self, column: exp.Expr) -> exp.Expr:
        return self._part("%Y", column)

    def _count(self) -> exp.Expr:
        return exp.Count(this=exp.Star())

    def _agg(self, function: str, inner: exp.Expr) -> exp.Expr:
        classes: dict[str, type[exp.Expr]] = {"AVG": exp.Avg, "SUM": exp.Sum, "MAX": exp.Max, "MIN": exp.Min}
        return classes[function](this=inner)

    def speak_comments(self) -> int:
        """From now on, say a column by its comment alone where that is not its name; the number of such columns."""
        count = 0
        for table in self.tables.values():
            for place, column in enumerate(table.columns):
                if other := column.other_words:
                    table.columns[place] = replace(column, phrases=other)
                    count += 1
        return count

    def draw(self, patterns: Mapping[Callable[[Grammar], Pair], float] | None = None) -> Pair | None:
        """One question/SQL pair, or None if the pattern drawn (from all, unless some are given) does not fit here."""
        from askguru_lib.data.patterns import PATTERNS  # the patterns are functions of a grammar

        pattern, _ = self._weighted(patterns or PATTERNS)
        self.notes.clear()
        self.terms.clear()
        try:
            pair = pattern(self)
        except NotHere:
            return None
        notes = dict.fromkeys(filter(None, [pair.evidence, *self.notes]))
        return replace(pair, evidence="; ".join(notes)) if self.notes else pair

    def _weighted(self, patterns: Mapping[Callable[[Grammar], Pair], float]) -> tuple[Callable[[Grammar], Pair], float]:
        return self.rng.choices(list(patterns.items()), list(patterns.values()))[0]

    @cached_property
    def chains(self) -> list[tuple[Link, Link]]:
        """Two-hop paths, child → parent → grandparent, where no other key and no other such path leads there."""
        ways = Counter(self._ways)
        for a, b in product(self._ways, repeat=2):
            if a[1] == b[0]:
                ways[a[0], b[1]] += self._ways[a] * self._ways[b]
        paths = [(a, b) for a in self.links for b in self.links if a.parent == b.child and a.child != b.parent]
        return [(a, b) for a, b in paths if ways[a.child, b.parent] == 1]

    def ask(self, openings: tuple[str, ...], phrase: str) -> str:
        """A whole question around ``phrase``."""
        return say(self.rng, openings, phrase)


OPENINGS = {"list": LIST_OPENINGS, "value": VALUE_OPENINGS, "count": COUNT_OPENINGS}
