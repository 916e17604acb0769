"""A typed grammar over a schema graph: SQL trees and the questions that they answer.

A :class:`Grammar` reads an M-Schema (names, comments, types, example values, foreign keys) and builds, from one random
draw, a sqlglot tree and a question for it. Nothing here touches a database: ``data/synthesis.py`` runs what was built.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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

    @property
    def other_words(self) -> tuple[str, ...]:
        """The phrases that are not made of words of the name alone."""
        words = set(phrasing.humanize(self.name).split())
        return tuple(phrase for phrase in self.phrases if not words >= set(phrase.split()))


@dataclass
class Table:
    name: str
    phrases: tuple[str, ...]
    columns: list[Column] = field(default_factory=list)

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


@dataclass(frozen=True)
class Condition:
    """A test and its words: ``{noun} {phrase}``, or, where ``before`` is given, ``{before} {noun} {rest}`` as well."""

    tree: exp.Expr
    phrase: str
    evidence: str = ""
    before: str = ""
    rest: str = ""


class NotHere(Exception):
    """The schema has nothing for the pattern that was drawn (no date column, no foreign key …)."""


def identifier(name: str) -> exp.Identifier:
    """An identifier, quoted exactly if the name needs it."""
    safe = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in RESERVED
    return exp.Identifier(this=name, quoted=not safe)


def column_kind(name: str, info: dict[str, Any], is_key: bool) -> str:
    """key, number, flag, date, label or category, from type, name, comment and example values."""
    raw, values = str(info["type"]).upper(), info["examples"]
    words = f"{phrasing.humanize(name)} {info['comment'].lower()}"
    if is_key or info["primary_key"]:
        return "key"
    if raw.startswith(("DATE", "TIME")) or (values and all(re.match(r"\d{4}-\d\d-\d\d", v) for v in values)):
        return "date"
    if "BOOL" in raw:
        return "flag"
    if any(t in raw for t in NUMBER_TYPES):
        return "flag" if len(values) > 1 and set(values) <= {"0", "1"} else "number"
    if re.search(r"\b(name|title|label|designation)\b", words):
        return "label"
    return "category"


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
        keys = {(k[0], k[1]) for k in schema.foreign_keys} | {(k[3], k[4]) for k in schema.foreign_keys}
        nouns = {phrasing.singular(phrasing.humanize(name)) for name in schema.tables}
        self.tables: dict[str, Table] = {}
        for name, info in schema.tables.items():
            table = Table(name, self._table_phrases(name, info["comment"], nouns))
            for column, f in info["fields"].items():
                kind = column_kind(column, f, (name, column) in keys)
                known = tuple((meanings or {}).get(f"{name}.{column}", {}).items())
                number = any(t in str(f["type"]).upper() for t in NUMBER_TYPES)
                table.columns.append(
                    Column(name, column, kind, self._column_phrases(name, column, f["comment"]), tuple(f["examples"]),
                           f["nullable"] and not f["primary_key"], number, known)
                )  # fmt: skip
            self.tables[name] = table
        links = [
            Link(str(t), str(c), str(rt), str(rc))
            for t, c, _, rt, rc in schema.foreign_keys
            if rt in self.tables and t in self.tables and t != rt
        ]
        # Where two keys lead to the same table (origin and destination), "flights of an airport" would say neither.
        ways = Counter((link.child, link.parent) for link in links)
        self.links = [link for link in links if ways[link.child, link.parent] == 1]

    # -- names --------------------------------------------------------------------------------------------------

    def _table_phrases(self, name: str, comment: str, others: set[str]) -> tuple[str, ...]:
        plain, short = phrasing.humanize(name), phrasing.head(comment)
        usable = 0 < len(short.split()) <= 3 and short.replace(" ", "").isalpha()
        if not usable or phrasing.singular(short) in others - {phrasing.singular(plain)}:
            return (plain,)
        return (short,) if phrasing.looks_cryptic(name) else tuple(dict.fromkeys((plain, short)))

    def _column_phrases(self, table: str, name: str, comment: str) -> tuple[str, ...]:
        plain, short = phrasing.humanize(name), phrasing.spoken(comment)
        short = short if 0 < len(short.split()) <= 6 else ""
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
        """What stands for a row when no column is named: its name, or else its key."""
        t = self.tables[table]
        return self._pick((t.of("label") or t.of("key") or t.columns)[:1])

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

    # -- conditions ---------------------------------------------------------------------------------------------

    def condition(self, table: str, qualified: bool = False, avoid: str = "") -> Condition:
        """A condition on one column of ``table``, as it is said behind the table's noun."""
        t = self.tables[table]
        options = [c for c in t.columns if c.kind != "key" and c.name != avoid and (c.values or c.nullable)]
        column = self._pick(options)
        roll = self.rng.random()
        if column.nullable and (not column.values or roll < 0.06):
            return self._null(column, qualified)
        if not column.values:
            raise NotHere
        if column.kind == "number":
            return self._number(column, qualified)
        if column.kind == "date":
            return self._date(column, qualified)
        return self._text(column, qualified)

    def _null(self, column: Column, qualified: bool) -> Condition:
        said, ref = self._said(column), self._col(column, qualified)
        test: exp.Expr = exp.Is(this=ref, expression=exp.Null())
        if self.rng.random() < 0.6:
            return Condition(test, self.rng.choice([f"without a {said}", f"that have no {said}", f"with no {said}",
                                                    f"whose {said} is missing", f"where {said} is empty"]))  # fmt: skip
        return Condition(exp.Not(this=test), self.rng.choice([f"that have a {said}", f"with a known {said}",
                                                              f"whose {said} is recorded"]))  # fmt: skip

    def _number(self, column: Column, qualified: bool) -> Condition:
        said, ref = self._said(column), self._col(column, qualified)
        value = self._round(self.rng.choice(column.values))
        roll = self.rng.random()
        bounds = sorted({self._round(v) for v in self.rng.sample(column.values, min(2, len(column.values)))}, key=float)
        if roll < 0.12 and len(bounds) == 2:
            low, high = bounds
            between = exp.Between(this=ref, low=exp.Literal.number(low), high=exp.Literal.number(high))
            return Condition(between, self.rng.choice([f"with {said} between {low} and {high}",
                                                    f"whose {said} is between {low} and {high}",
                                                    f"with a {said} from {low} to {high}"]))  # fmt: skip
        if roll < 0.24:
            value = self.rng.choice(column.values)
            return Condition(exp.EQ(this=ref, expression=self._literal(column, value)),
                             self.rng.choice([f"with {said} {value}", f"whose {said} is {value}",
                                              f"with a {said} of {value}",
                                              f"where {said} equals {value}"]))  # fmt: skip
        operator = self.rng.choice([">", ">", "<", "<", ">=", "<="])
        words = self.rng.choice(phrasing.COMPARISONS[operator])
        node = {">": exp.GT, "<": exp.LT, ">=": exp.GTE, "<=": exp.LTE}[operator]
        short = phrasing.COMPARATIVES.get(said.split()[-1])
        if short and operator in "<>" and self.rng.random() < 0.35:
            return Condition(node(this=ref, expression=exp.Literal.number(value)), f"{short[operator == '<']} {value}")
        form = self.rng.choice(["with {s} {w} {v}", "whose {s} is {w} {v}", "with a {s} {w} {v}",
                                "where {s} is {w} {v}",
                                "with {w} {v} {s}", "having {s} {w} {v}", "that have a {s} of {w} {v}"])  # fmt: skip
        tree = node(this=ref, expression=exp.Literal.number(value))
        if "year" in said.split() and re.fullmatch(r"\d{4}", value):
            words = self.rng.choice(phrasing.YEARS[operator])
            form = self.rng.choice(["with {s} {w} {v}", "whose {s} is {w} {v}", "with a {s} {w} {v}", "{w} {v}"])
            if form == "{w} {v}" and not self._only_year(column):
                form = "with {s} {w} {v}"
        return Condition(tree, form.format(s=said, w=words, v=value))

    def _round(self, value: str) -> str:
        """A threshold that a person would say: two leading digits, but a year whole."""
        try:
            number = float(value)
        except ValueError:
            raise NotHere from None
        if abs(number) < 10 and "." in value:
            return f"{number:g}"
        if 1900 <= number <= 2100:
            return value.removesuffix(".0")
        digits = max(len(str(int(abs(number)))) - 2, 0)
        return str(int(round(number, -digits)))

    def _date(self, column: Column, qualified: bool) -> Condition:
        said, ref, value = self._said(column), self._col(column, qualified), self.rng.choice(column.values)[:10]
        roll, year = self.rng.random(), value[:4]
        if roll < 0.5:
            tree: exp.Expr = exp.EQ(this=self._year(ref), expression=exp.Literal.string(year))
            return Condition(tree, self.rng.choice([f"with {said} in {year}", f"whose {said} is in {year}",
                                                    f"in {year}",
                                                    f"with a {said} in {year}", f"from {year}", f"of {year}"])
                             if self._only(column) else f"with {said} in {year}")  # fmt: skip
        if roll < 0.58 and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            month = phrasing.MONTHS[int(value[5:7]) - 1]
            tree = exp.EQ(this=self._part("%Y-%m", ref), expression=exp.Literal.string(value[:7]))
            return Condition(tree, self.rng.choice([f"with {said} in {month} {year}",
                                                    f"whose {said} is in {month} {year}",
                                                    f"with a {said} in {month} of {year}"]))  # fmt: skip
        spoken = phrasing.spoken_date(self.rng, value)
        if roll < 0.8:
            tree = exp.GT(this=ref, expression=exp.Literal.string(value))
            return Condition(tree, self.rng.choice([f"with {said} after {spoken}", f"whose {said} is after {spoken}",
                                                    f"with {said} later than {spoken}"]))  # fmt: skip
        tree = exp.LT(this=ref, expression=exp.Literal.string(value))
        return Condition(tree, self.rng.choice([f"with {said} before {spoken}", f"whose {said} is before {spoken}",
                                                f"with {said} earlier than {spoken}"]))  # fmt: skip

    def _only_year(self, column: Column) -> bool:
        """Whether nothing else in the table could be meant by a year that is named alone."""
        return sum(c.kind == "date" or "year" in c.phrases[0].split() for c in self.tables[column.table].columns) == 1

    def _only(self, column: Column) -> bool:
        """Whether the column is its table's only one of that kind, so that it need not be named."""
        return len(self.tables[column.table].of(column.kind)) == 1

    def _text(self, column: Column, qualified: bool) -> Condition:
        said, ref, rng = self._said(column), self._col(column, qualified), self.rng
        if column.meanings and rng.random() < 0.8:
            code, meaning = rng.choice(column.meanings)
            definition = rng.choice(["{m} means {c} = {v}", "{m} refers to {c} = {v}", "{m}: {c} = {v}",
                                     "{c} = {v} means {m}", "{v} stands for {m}"])  # fmt: skip
            shown = code if column.is_number else f"'{code}'"
            return Condition(exp.EQ(this=ref, expression=self._literal(column, code)),
                             rng.choice([f"that are {meaning}", f"with {said} {meaning}", f"marked {meaning}",
                                         f"whose {said} is {meaning}", f"which are {meaning}"]),
                             definition.format(m=meaning, c=column.name, v=shown), before=meaning)  # fmt: skip
        value = rng.choice(column.values)
        roll = rng.random()
        if column.kind == "label" and roll < 0.35 and len(value) > 3 and value.isascii():
            return self._like(ref, said, value)
        if roll < 0.14 and len(set(column.values)) > 1:
            a, b = rng.sample(sorted(set(column.values)), 2)
            tree: exp.Expr = exp.In(this=ref, expressions=[self._literal(column, a), self._literal(column, b)])
            return Condition(tree, rng.choice([f"whose {said} is {a} or {b}", f"with {said} {a} or {b}",
                                               f"whose {said} is either {a} or {b}", f"in {a} or {b}"]))  # fmt: skip
        shown = rng.choice(["{v}", "{v}", "{v}", "'{v}'", '"{v}"']).format(v=value)
        if roll < 0.24:
            return Condition(exp.NEQ(this=ref, expression=self._literal(column, value)),
                             rng.choice([f"whose {said} is not {shown}", f"with a {said} other than {shown}",
                                         f"where {said} is not {shown}",
                                         f"with {said} different from {shown}"]))  # fmt: skip
        tree = exp.EQ(this=ref, expression=self._literal(column, value))
        forms = [f"whose {said} is {shown}", f"with {said} {shown}", f"where {said} is {shown}",
                 f"with the {said} {shown}",
                 f"that have {said} {shown}", f"having {said} {shown}", f"for {said} {shown}"]  # fmt: skip
        if column.kind == "category" and not re.fullmatch(r"[\d.\-]+", value) and rng.random() < 0.35:
            forms = [f"in {shown}", f"from {shown}", f"for {shown}", f"that are {shown}", f"of {shown}"]
        worded = column.kind == "category" and re.fullmatch(r"[A-Za-z][A-Za-z -]+", value)
        return Condition(tree, rng.choice(forms), before=value if worded else "")

    def _like(self, ref: exp.Expr, said: str, value: str) -> Condition:
        words = list(re.findall(r"[A-Za-z]{3,}", value)) or [value[:3]]
        word, roll = self.rng.choice(words), self.rng.random()
        if roll < 0.4:
            start = value[: self.rng.choice([1, 2, 3])].strip()
            return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"{start}%")),
                             self.rng.choice([f"whose {said} starts with {start}",
                                              f"with a {said} beginning with {start}",
                                              f"whose {said} begins with '{start}'"]))  # fmt: skip
        if roll < 0.55:
            end = value[-self.rng.choice([1, 2, 3]) :].strip()
            return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"%{end}")),
                             self.rng.choice([f"whose {said} ends with {end}",
                                              f"with a {said} ending in {end}"]))  # fmt: skip
        return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"%{word}%")),
                         self.rng.choice([f"whose {said} contains {word}", f"with {word} in the {said}",
                                          f"whose {said} includes '{word}'",
                                          f"with {word} in their {said}"]))  # fmt: skip

    def conditions(self, table: str, qualified: bool = False, least: int = 0) -> Condition | None:
        """None, one or two conditions on a table, joined by AND or OR."""
        count = max(least, self.rng.choices([0, 1, 2], [0.3, 0.55, 0.15])[0])
        if count == 0:
            return None
        first = self.condition(table, qualified)
        if count == 1:
            return first
        used = first.tree.find(exp.Column)
        second = self.condition(table, qualified, avoid=used.name if used else "")
        either = self.rng.random() < 0.25
        tree: exp.Expr = (exp.Or if either else exp.And)(this=first.tree, expression=second.tree)
        link = " or " if either else self.rng.choice([" and ", " and ", ", "])
        return Condition(tree, f"{first.phrase}{link}{second.phrase}",
                         "; ".join(e for e in (first.evidence, second.evidence) if e),
                         "" if either else first.before, second.phrase)  # fmt: skip

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
        try:
            return pattern(self)
        except NotHere:
            return None

    def _weighted(self, patterns: Mapping[Callable[[Grammar], Pair], float]) -> tuple[Callable[[Grammar], Pair], float]:
        return self.rng.choices(list(patterns.items()), list(patterns.values()))[0]

    @cached_property
    def chains(self) -> list[tuple[Link, Link]]:
        """Two-hop paths: child → parent → grandparent."""
        return [(a, b) for a in self.links for b in self.links if a.parent == b.child and a.child != b.parent]

    def ask(self, openings: tuple[str, ...], phrase: str) -> str:
        """A whole question around ``phrase``."""
        return say(self.rng, openings, phrase)


OPENINGS = {"list": LIST_OPENINGS, "value": VALUE_OPENINGS, "count": COUNT_OPENINGS}
