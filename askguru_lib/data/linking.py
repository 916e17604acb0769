"""Schema linking by words: which tables, columns and values of a schema does a question name?

A model that reads *Who is the dealer with the lowest fine?* has to find ``KUNNR`` behind the comment ``dealer``, and
the way from a comment back to the name before it is what a small model learns last. Names, comments and values that
stand in the question word by word are found by comparing words, as RAT-SQL (Wang et al. 2020) and BRIDGE (Lin et al.
2020) do, and are written into the prompt. The schema's text is read, and the values of the data that a record brings.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice, pairwise
from typing import Any

import networkx as nx
from sqlglot import exp

from askguru_lib.data.definitions import Definition, definitions
from askguru_lib.data.dialects import written
from askguru_lib.data.literals import literals
from askguru_lib.data.named_places import Values, named_places, overlaps, value_places
from askguru_lib.data.phrasing import MONTHS
from askguru_lib.data.schema_words import Item, Place, SchemaWords
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError

MOST_MENTIONS = 10
MOST_LITERALS = 6
MOST_TABLES = 4
MOST_JOINS = 4
LONGEST_WAY = 4
"""Tables on a way between two that are mentioned, at most."""
MOST_MEANINGS = 3
"""Tables or columns that one phrase is said to mean, at most."""

_NUMBERED = re.compile(r"(?: number| no\.?| nr\.?| id)? #?(?!(?:19|20)\d\d\b)(\d+)(?![\w%]|[.,/:-]\d)")
"""Behind a table's name: the key of one of its rows (*order 1004*), unless it looks like a year."""


_HALVES = frozenset("name names date dates code codes number numbers day year month week".split())  # noqa: SIM905
"""Words that are the lesser half of too many names: alone they stand for one of a table that is named, or of none."""
_OF_TIME = re.compile(
    rf"""\b(?:(?:1[6-9]|20)\d\d|(?-i:{"|".join(MONTHS)})|when|dates?|weeks?|months?|years?|since|until|before|after|ago
    |earliest|latest|newest|oldest|youngest|recent(?:ly)?|first|last|today|now|current(?:ly)?|still|already|yet|early
    |late|new|old|born|long(?:est)?)\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""A question that may ask for a time."""


@dataclass(frozen=True, slots=True)
class Mention:
    """What a phrase of the question may mean.

    Attributes:
        words: the phrase, as the question says it.
        items: tables as ``table``, columns as ``table.column``, as a query has the names; the likeliest first.
        values: if the phrase is a value, what each of these columns has for it, as a query says it.
        meaning: if the evidence defines the phrase, its SQL.
    """

    words: str
    items: tuple[str, ...]
    values: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it is the number of a row."""
        return self.values[:1] != () and self.values[0].strip("'").isdigit()

    def __str__(self) -> str:
        """``words = name, name``; for a value ``words: name = 'value', name = 'value'``, for a term its SQL."""
        if self.meaning:
            return f"{self.words}: {self.meaning}"
        if not self.values:
            return f"{self.words} = {', '.join(self.items)}"
        return f"{self.words}: {', '.join(map(' = '.join, zip(self.items, self.values, strict=True)))}"


@dataclass(frozen=True, slots=True)
class Links:
    """What a question names in a schema, and what goes with it.

    Attributes:
        mentions: in the question's order.
        literals: dates and numbers, as the question and as SQL writes them.
        rows: for each table that is mentioned, the column that says what a row is called.
        dates: where the question may ask for a time, the dates and years of each table that is mentioned.
        joins: the foreign keys between these tables, as SQL says them.
    """

    mentions: tuple[Mention, ...]
    rows: tuple[str, ...] = ()
    dates: tuple[tuple[str, ...], ...] = ()
    joins: tuple[str, ...] = ()
    literals: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """What a prompt shows: a line for each mention, literal, row, table with dates, and join."""
        lines = [str(mention) for mention in self.mentions]
        lines += [f"{said}: {literal}" for said, literal in self.literals]
        lines += [f"row = {row}" for row in self.rows]
        lines += [f"time = {', '.join(dates)}" for dates in self.dates]
        return "\n".join([*lines, *self.joins]) or "None"


@lru_cache(maxsize=256)
def _index(db_schema: str) -> SchemaWords:
    return SchemaWords(MSchema.from_text(db_schema))


def well_formed(values: Any) -> bool:
    """Whether a record's ``values`` are ``{text: [[table, column, value], …]}``."""
    return isinstance(values, Mapping) and all(
        isinstance(places, Sequence)
        and all(
            isinstance(p, Sequence) and len(p) in (2, 3) and all(isinstance(name, str) for name in p) for p in places
        )
        for places in values.values()
    )


def is_m_schema(db_schema: str) -> bool:
    """Whether a schema's text is M-Schema, so that there is something to link to."""
    try:
        return bool(_index(db_schema))
    except DataError:
        return False


def schema_links(db_schema: str, question: str, values: Values | None = None, dialect: str = "sqlite") -> Links:
    """What a question names in a schema.

    Args:
        db_schema: M-Schema text.
        question: with its evidence, if there is any.
        values: what the question says of the data, and ``[table, column, value]`` of where that stands and how it is
            spelt there (:meth:`askguru_lib.databases.values.ValueIndex.mentioned`); columns that the schema does not
            show are passed over.
        dialect: in which names are written.

    Raises:
        DataError: ``db_schema`` is not M-Schema, or ``values`` are malformed.
    """
    if values and not well_formed(values):
        raise DataError(f"expected {{text: [[table, column, value], …]}}, got {values!r}"[:300], where="values",
                        hint="askguru process writes them")  # fmt: skip
    index = _index(db_schema)
    spelt = value_places(index, question, values or {})
    defined = definitions(question, index.columns, dialect)
    found = named_places(index, question, spelt)
    named = {table for scores in found.values() for table, column in scores if not column}
    found = {place: s for place, s in found.items() if not any(_told_by(d, place, s) for d in defined)}
    named |= {tables[0] for d in defined for tables in _its_tables(index, d) if len(tables) == 1}
    halves = {place for place in found if place not in spelt and _is_half(index, question[slice(*place)])}
    sure = (scores for place, scores in found.items() if place not in halves and len({t for t, _ in scores}) == 1)
    told = named | {table for scores in sure for table, _ in scores}
    found = {place: s for place, s in found.items() if place not in halves or any(table in told for table, _ in s)}
    mentions: list[tuple[Place, Mention]] = []
    tables: dict[Place, list[str]] = defaultdict(list)
    for (start, end), scores in found.items():
        items = _likeliest(scores, named, told)
        names = tuple(_written(item, dialect) for item in items)
        texts = tuple(_literal(spelt[start, end][item]) for item in items) if (start, end) in spelt else ()
        mentions.append(((start, end), Mention(" ".join(question[start:end].split()), names, texts)))
        number = _NUMBERED.match(question, end)
        if number and not items[0][1] and items[0][0] in index.keys:
            column, is_number = index.keys[items[0][0]]
            value = number[1] if is_number else _literal(number[1])
            place = start, number.end()
            said = " ".join(question[slice(*place)].split())
            mentions.append((place, Mention(said, (_written((items[0][0], column), dialect),), (value,))))
        tables[start, end] += [table for table, column in items if not column] or [items[0][0]]
    for definition in defined:
        meaning, items = _meaning(index, definition, dialect, named, told)
        said = " ".join(question[slice(*definition.term)].split())
        mentions.append((definition.term, Mention(said, tuple(_written(i, dialect) for i in items), meaning=meaning)))
        clear = len(items) == len({column for _, column in items})
        tables[definition.term] += dict.fromkeys(table for table, _ in items[: None if clear else 1])
    taken = [place for place, _ in mentions] + [definition.place for definition in defined]
    several = list(dict.fromkeys(table for _, here in sorted(tables.items()) for table in here))[:MOST_TABLES]
    rows = tuple(_written((table, index.rows[table]), dialect) for table in several if table in index.rows)
    dated = [table for table in several if index.dates[table]] if _OF_TIME.search(question) else []
    return Links(
        tuple(islice(dict.fromkeys(mention for _, mention in sorted(mentions, key=lambda m: m[0])), MOST_MENTIONS)),
        rows,
        tuple(tuple(_written((table, column), dialect) for column in index.dates[table]) for table in dated),
        _joins(index, several, dialect),
        _said_as_sql(index, question, taken, dated),
    )


def _said_as_sql(
    index: SchemaWords, question: str, taken: Sequence[Place], dated: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Dates and numbers outside of what is taken; a year is a number where no date is among the tables' times."""
    in_years = bool(dated) and not any(index.columns[t, c] == "date" for t in dated for c in index.dates[t])
    found = {
        (question[slice(*place)], literal.strip("'") if in_years and len(literal) == len("'2024'") else literal): None
        for place, literal in literals(question).items()
        if not overlaps(place, dict.fromkeys(taken, 1.0), 0)
    }
    return tuple(islice(found, MOST_LITERALS))


def _is_half(index: SchemaWords, said: str) -> bool:
    """Whether a word is but the lesser half of names."""
    return said.lower() in _HALVES and stem(said.lower()) not in index.whole


def _told_by(definition: Definition, place: Place, scores: Mapping[Item, float]) -> bool:
    """Whether a definition says what stands there: inside it, or, if it is no table, where its term is."""
    if overlaps(place, {definition.place: 1.0}, 0):
        return True
    start, end = definition.term
    return start <= place[0] and place[1] <= end and all(column for _, column in scores)


def _its_tables(index: SchemaWords, definition: Definition) -> list[list[str]]:
    """For each column of a definition the tables that may be meant: one that has them all, if there is any.

    A primary key is never NULL, so a test for that means another table's column.
    """
    missing = {a for a, b in pairwise(definition.sql) if not isinstance(a, str) and str(b).startswith(" IS NULL")}
    having = []
    for table, column in definition.columns:
        tables = [t for t, c in index.columns if c == column and table in ("", t)]
        if (table, column) in missing:
            tables = [t for t in tables if index.keys.get(t, ("",))[0] != column] or tables
        having.append(tables or [t for t, c in index.columns if c == column])
    whole = [table for table in having[0] if all(table in tables for tables in having)]
    return [[t for t in tables if t in whole] or tables for tables in having]


def _meaning(index: SchemaWords, definition: Definition, dialect: str, *told: set[str]) -> tuple[str, list[Item]]:
    """A definition's SQL, its columns with their tables where these are clear, and the columns."""
    its_tables = iter(_its_tables(index, definition))
    meaning = ""
    items: list[Item] = []
    for part in definition.sql:
        if isinstance(part, str):
            meaning += part
            continue
        tables = next(its_tables)
        for known in told:
            tables = [t for t in tables if t in known] or tables
        items += [(t, part[1]) for t in tables]
        meaning += _written((tables[0] if len(tables) == 1 else "", part[1]), dialect)
    return " ".join(meaning.split()), list(dict.fromkeys(items))[:MOST_MEANINGS]


def _joins(index: SchemaWords, tables: Sequence[str], dialect: str) -> tuple[str, ...]:
    """The foreign keys on the shortest ways between tables."""
    keys: dict[tuple[str, str, str, str], None] = {}
    for a, b in combinations([t for t in tables if t in index.graph], 2):
        if nx.has_path(index.graph, a, b):
            way = nx.shortest_path(index.graph, a, b)
            if len(way) <= LONGEST_WAY:
                keys |= dict.fromkeys(key for here, there in pairwise(way) for key in index.graph[here][there])
    return tuple(
        f"{_written((t, ''), dialect)} JOIN {_written((u, ''), dialect)} "
        f"ON {_written((t, c), dialect)} = {_written((u, d), dialect)}"
        for t, c, u, d in islice(keys, MOST_JOINS)
    )


def _likeliest(scores: Mapping[Item, float], *told: set[str]) -> list[Item]:
    """Tables, then columns, the best first; of columns, those of the tables that are told first, if there are any, or
    else of those told next."""
    among = (tables for tables in told if any(table in tables and column for table, column in scores))
    here = next(among, {table for table, _ in scores})
    items = [item for item in scores if not item[1] or item[0] in here]
    return sorted(items, key=lambda item: (item[1] != "", -scores[item]))[:MOST_MEANINGS]


def _literal(value: str) -> str:
    return exp.Literal.string(value).sql()


def _written(item: Item, dialect: str) -> str:
    return ".".join(written(name, dialect) for name in item if name)
