"""The words of a schema: by which of them its tables and columns are called, and how rare each is.

Names, comments, and words that say a measure without naming it (*cheapest*) lead to tables and columns;
:mod:`askguru_lib.data.linking` finds them in a question.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import networkx as nx
from faker.providers.lorem.en_US import Provider

from askguru_lib.data.grammar import column_kind, is_number_type, row_name
from askguru_lib.data.phrasing import BORN, COMPARATIVES, SUPERLATIVES, head, humanize, says_year, spoken
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.values import FUNCTION_WORDS, WORD, ValueIndex

MOST_DATES = 3
"""Columns that may be the time of a table's rows, at most."""


def _verb_root(word: str) -> tuple[str, bool]:
    """What *hire*, *hired* and *hiring* have in common, and whether the word is one of the latter."""
    root, derived = word, False
    if len(root) > 5 and root.endswith("ing"):
        root, derived = root[:-3], True
    elif len(root) > 4 and root.endswith("ed") and not root.endswith("eed"):
        root, derived = root[:-2], True
    elif len(root) > 3 and root.endswith("e"):
        root = root[:-1]
    return root[:-1] if len(root) > 3 and root[-1] == root[-2] else root, derived


SILENT = frozenset(map(stem, FUNCTION_WORDS))
"""Words that neither begin nor end what is named, unless nothing else is left of a name."""
Item = tuple[str, str]
"""A table, with an empty column, or a column."""
Place = tuple[int, int]
"""Where a phrase begins and ends."""


_IN_FULL = frozenset(
    """most next less least more percent percentage include included hundred thousand million second third month months
    week weeks year years minute minutes hour hours still since until without before after than then they them count
    desc asc cent open total start current first should taken brought along somewhere
    """.split()  # noqa: SIM905
)
"""Words that nobody means by an abbreviation in a name unless the schema says so."""
_WORDS = frozenset(Provider.word_list)
"""Common words, which are no abbreviations."""
_MOST_CONSONANTS = 0.55
"""Share of a word's consonants that an abbreviation has, unless it begins with the word's first two letters."""
_LONGEST_SHORT = 5
"""Letters of an abbreviation, at most."""


def abbreviates(short: str, word: str) -> bool:
    """Whether a part of a name abbreviates a word: by its beginning (*cust*), or by its first and last letter and most
    consonants between (*rtg* for *rating*, *acct* for *account*)."""
    fits = 3 <= len(short) <= min(_LONGEST_SHORT, len(word) - 1) and short[0] == word[0]
    if not fits or (short[-1] == "s" != word[-1]) or short in _WORDS or word in _IN_FULL:
        return False
    if word.startswith(short):
        return len(word) >= len(short) + 3
    letters = iter(word)
    inside = all(letter in letters for letter in short) and short[-1] in word[-2:] and len(word) > 3
    if not inside or len(re.findall("[aeiou]", short[1:])) > (short[-1] not in "aeiou"):
        return False
    said, all_of = (len(re.sub("[aeiou]", "", text)) for text in (short, word.replace("y", "")))
    return said >= _MOST_CONSONANTS * all_of or (said > 2 and short[:2] == word[:2])


@dataclass(frozen=True, slots=True)
class Phrase:
    item: Item
    stems: tuple[str, ...]


class SchemaWords:
    """The phrases of a schema by their words, how rare each word is in it, and how its tables hang together."""

    def __init__(self, schema: MSchema) -> None:
        phrases = dict.fromkeys(_phrases(schema))
        phrases |= dict.fromkeys(_in_full(schema, phrases))
        self.values = ValueIndex((t, c, value) for t, c, field in schema.columns() for value in field["examples"])
        self.by_stem: dict[str, list[Phrase]] = defaultdict(list)
        for phrase in phrases:
            for word in dict.fromkeys(phrase.stems):
                self.by_stem[word].append(phrase)
        self.by_root: dict[tuple[str, bool], str] = {}
        for word in self.by_stem:
            root, derived = _verb_root(word)
            self.by_root.setdefault((root, derived), word)
        self.short: dict[str, set[str]] = defaultdict(set)
        """Parts of names that may be abbreviations, by their first letter; not those that a comment spells out."""
        for part in _parts_of_names(schema) - _spelt_out(schema):
            self.short[part[0]].add(part)
        alone = [phrase for phrase in phrases if len(phrase.stems) == 1]
        self.whole = {phrase.stems[0] for phrase in alone}
        """Words that are a name on their own."""
        self.called = {phrase.stems[0] for phrase in alone if not phrase.item[1]}
        """Words that are a table's name."""
        known = Counter(word for phrase in phrases for word in set(phrase.stems))
        self.rarity = {word: 1 + math.log(len(phrases) / n) for word, n in known.items()}
        keys = {(str(k[i]), str(k[i + 1])) for k in schema.foreign_keys for i in (0, 3)}
        kinds = {(t, c): column_kind(c, field, (t, c) in keys) for t, c, field in schema.columns()}
        self.columns = kinds
        """The kind of each column."""
        self.names: dict[str, list[Item]] = defaultdict(list)
        """Tables and columns by their exact names, where these have an underscore."""
        for item in (*((table, "") for table in schema.tables), *kinds):
            if "_" in (item[1] or item[0]):
                self.names[item[1] or item[0]].append(item)
        self.rows: dict[str, str] = {}
        self.keys: dict[str, tuple[str, bool]] = {}
        """The only column of a primary key, and whether it is a number."""
        self.dates: dict[str, list[str]] = {}
        for table, info in schema.tables.items():
            its = {column: kinds[table, column] for column in info["fields"]}
            key = [column for column, field in info["fields"].items() if field["primary_key"]]
            if row := row_name(its, key):
                self.rows[table] = row
            if len(key) == 1:
                self.keys[table] = key[0], is_number_type(str(info["fields"][key[0]]["type"]))
            told = {c: f"{humanize(c)} {info['fields'][c]['comment'].lower()}" for c in its}
            years = [c for c, kind in its.items() if kind == "number" and says_year(told[c])]
            self.dates[table] = [c for c, kind in its.items() if kind == "date" or c in years][:MOST_DATES]
        self.graph = nx.MultiGraph()
        for key in schema.foreign_keys:
            table, column, other, ref = (str(key[i]) for i in (0, 1, 3, 4))
            here = key[2] in (None, schema.schema) and table in schema.tables and other in schema.tables
            if here and table != other:
                self.graph.add_edge(table, other, key=(table, column, other, ref))

    def word(self, said: str) -> str:
        """A question's word as the schema has it: by its stem, or else by the verb that both come from."""
        here = stem(said)
        if here in self.by_stem or here in SILENT or said in FUNCTION_WORDS:
            return here
        root, derived = _verb_root(here)
        found = self.by_root.get((root, not derived)) or (derived and self.by_root.get((root, True)))
        if found and found not in SILENT:
            return found
        one = _singular(said)
        if one in _MEASURED or one.endswith("est"):
            return here
        short = [part for part in self.short.get(said[:1], ()) if abbreviates(part, one)]
        return stem(max(short, key=lambda part: (one.startswith(part), len(part), part))) if short else here


def _singular(word: str) -> str:
    """A word with its regular plural's ending gone (*properties*, *property*)."""
    return re.sub(r"i$", "y", stem(word)) if len(word) > 3 else word


def _spelt_out(schema: MSchema) -> set[str]:
    """Parts of names that the comment of the same table or column has in full: they abbreviate no other word."""
    comments = {(table, column): field["comment"] for table, column, field in schema.columns()}
    comments |= {(table, ""): info["comment"] for table, info in schema.tables.items()}
    return {
        part
        for (table, column), comment in comments.items()
        for part in humanize(column or table).split()
        if any(abbreviates(part, _singular(word)) for word in WORD.findall(comment.lower()))
    }


def _parts_of_names(schema: MSchema) -> set[str]:
    names = chain(schema.tables, (column for _, column, _ in schema.columns()))
    return {part for name in names for part in humanize(name).split() if part.isalpha()}


def _in_full(schema: MSchema, phrases: Iterable[Phrase]) -> Iterable[Phrase]:
    """Phrases in which an abbreviation is spelled out, where the schema has the whole word elsewhere; a table's own in
    the names of its columns is not (``pmt_dt`` of ``pmt`` is a day, and not the payment)."""
    parts = _parts_of_names(schema)
    words: dict[str, set[str]] = defaultdict(set)
    for _, text in _texts(schema):
        for word in WORD.findall(text.lower()):
            words[word[0]].add(_singular(word))
    meant = {}
    for part in sorted(parts):
        full = {stem(word) for word in words[part[0]] if abbreviates(part, word)}
        if len(full) == 1:
            meant[stem(part)] = full.pop()
    called = {phrase.stems for phrase in phrases if not phrase.item[1]}
    called |= {tuple(meant.get(word, word) for word in stems) for stems in called}
    for phrase in phrases:
        table, column = phrase.item
        own = {stem(part) for part in humanize(table).split()} if column else ()
        stems = tuple(word if word in own else meant.get(word, word) for word in phrase.stems)
        if stems != phrase.stems and not (column and stems in called):
            yield Phrase(phrase.item, stems)


def _texts(schema: MSchema) -> Iterable[tuple[Item, str]]:
    """Names, as they are spoken, and comments."""
    for table, info in schema.tables.items():
        yield (table, ""), humanize(table)
        yield (table, ""), info["comment"]
    for table, column, field in schema.columns():
        yield (table, column), humanize(column)
        yield (table, column), field["comment"]


def _phrases(schema: MSchema) -> Iterable[Phrase]:
    for table, info in schema.tables.items():
        for text in (humanize(table), spoken(info["comment"]), head(info["comment"])):
            yield from _phrase((table, ""), text)
    for table, column, field in schema.columns():
        texts = humanize(column), spoken(field["comment"]), field["comment"]
        for text in (*texts, *_IMPLIED.get(texts[0].split(" ")[-1], ()), *_IMPLIED.get(texts[1].split(" ")[-1], ())):
            yield from _phrase((table, column), text)
        if "birth" in texts[0].split():
            dated = column_kind(column, field, False) == "date" or says_year(texts[0])
            for text in ("born", *(chain.from_iterable(BORN) if dated else ())):
                yield from _phrase((table, column), text)


def _implied() -> dict[str, list[str]]:
    """Words that name a measure without saying it, by the measure: ``expensive`` says *price*, ``heavier`` *weight*."""
    vague = """most least best worst top highest lowest largest biggest smallest more less than larger smaller
        costing paid earning rated scoring""".split()  # noqa: SIM905
    found: dict[str, list[str]] = {}
    for measure in (*SUPERLATIVES, *COMPARATIVES):
        said = " ".join((*chain.from_iterable(SUPERLATIVES.get(measure, ())), *COMPARATIVES.get(measure, ()))).split()
        found[measure] = [word for word in dict.fromkeys(said) if word not in vague]
    return found


_IMPLIED = _implied()
_MEASURED = frozenset(chain.from_iterable(_IMPLIED.values()))


def _phrase(item: Item, text: str) -> Iterable[Phrase]:
    words = [stem(w.lower()) for w in WORD.findall(text)]
    stems = tuple(w for w in words if w not in SILENT)
    if stems:
        yield Phrase(item, stems)
