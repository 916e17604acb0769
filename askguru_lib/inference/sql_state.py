"""Where a scanner is in a query: open brackets, tables in scope, the query's own names, the words that may follow."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from askguru_lib.inference.sql_words import HOLDS_AGGREGATES, HOLDS_WINDOWS

PLAIN = re.compile(r"[a-z_\x80-\xff][a-z0-9_$#\x80-\xff]*")
FORWARD_ALIAS = re.compile(r"[a-z]\d{0,2}")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | {chr(c) for c in range(128, 256)}
DIGITS = frozenset("0123456789")
INSIDE_WORD = LETTERS | DIGITS | {"$", "#"}
OPERATORS = frozenset("+-*/%<>=!|&~:")
SPACE = frozenset(" \t\r\n")
QUOTES = frozenset("'\"`")
ANYTHING = "*"
LONGEST_NAME = 40
SCHEMA_DOT = "schema."
DEEPEST = 6
"""Most brackets within brackets."""
MOST_TABLES = 10
"""Most tables in one FROM: more are a circle, not a query."""
OPERANDS = frozenset({"any", "not", "first", "item", "count"})
"""What is expected where an operand may begin: anywhere, behind NOT, first in a SELECT or a call, as one more item of a
SELECT, first in COUNT."""
FIRST = frozenset({"first", "count"})
ALIASABLE = frozenset({"after_table", "after_twin"})
COLLECTING, AGGREGATE, WINDOW = "collecting call", "aggregate call", "window call"
CALLS = ("call", COLLECTING, AGGREGATE, WINDOW)
"""Kinds of brackets behind a function's name."""
GATHERING = frozenset({COLLECTING, AGGREGATE, WINDOW})
"""Those that make one value of several rows."""
NONE: frozenset[str] = frozenset()
NO_NEED: frozenset[frozenset[str]] = frozenset()
NEED = frozenset({NONE})


class Frame(NamedTuple):
    """A bracket that is open, or the query itself.

    Attributes:
        tables: schema tables that FROM names.
        exposed: names under which FROM offers its tables.
        needs: for each column named before FROM, the tables that own such a column.
        bare: of these, all owners of columns named without a table; None once one was named with its table.
        joined: name of the table whose join condition is being written, until the condition has named it.
        owes: the condition has named another table, so that the next one must be that one.
    """

    kind: str = "paren"
    clause: str = "expression"
    tables: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    loose: bool = False
    needs: frozenset[frozenset[str]] = NO_NEED
    bare: frozenset[str] | None = NONE
    joined: str = ""
    owes: bool = False
    resume: str = "any"

    def into(self, clause: str) -> Frame:
        """The frame in another clause."""
        return self._replace(clause=clause, joined="", owes=False)


class Words:
    """A set of words that can be written without quotes, with every beginning of one; equal sets are one object."""

    __slots__ = ("beginnings", "words")

    def __init__(self, words: frozenset[str]) -> None:
        self.words = tuple(sorted(w for w in words if PLAIN.fullmatch(w)))
        self.beginnings = frozenset(w[:i] for w in self.words for i in range(1, len(w) + 1))

    def after(self, beginning: str) -> list[str]:
        """How each word that begins like that goes on."""
        found = []
        for word in self.words[bisect_left(self.words, beginning) :]:
            if not word.startswith(beginning):
                break
            found.append(word[len(beginning) :])
        return found

    @classmethod
    @lru_cache(maxsize=4096)
    def of(cls, words: frozenset[str]) -> Words:
        return cls(words)


class Lexicon(NamedTuple):
    """Words allowed at one place, by role; a qualifier leads to the table it stands for."""

    words: frozenset[str] = NONE
    columns: frozenset[str] = NONE
    qualifiers: Mapping[str, str] = MappingProxyType({})
    identifiers: frozenset[str] = NONE
    begin: tuple[Words, ...] = ()
    functions: frozenset[str] = NONE


class Situation(NamedTuple):
    """All that decides which words are allowed at a place.

    Attributes:
        scope: tables whose columns may be named; None for all.
        unmet: a column named before FROM belongs to none of its tables yet.
        inside: kind and clause of the innermost bracket.
        starts: tables to begin FROM with.
        taken: tables that FROM does not take once more, or aliases that it has already.
        alone: FROM has one table so far.
        owed: the only table that a join condition may name now.
        deep: no further bracket may be opened.
        full: no further table may be named in this FROM.
        aggregates, windows: whether such functions may stand here.
    """

    want: str
    qualifier: str
    scope: tuple[str, ...] | None
    names: tuple[tuple[str, str], ...]
    unmet: bool
    inside: str
    starts: frozenset[str]
    taken: frozenset[str]
    alone: bool
    owed: str
    deep: bool
    full: bool
    aggregates: bool
    windows: bool


class Place:
    """What changes only from word to word: what is expected (``want``), open brackets, the query's own names.

    Places are made once per scanner (:meth:`Scanner.place`) and compared by identity. Most are only passed by, so what
    takes its time is computed when it is asked for.
    """

    def __init__(
        self,
        lexicon: Callable[[Situation], Lexicon],
        want: str,
        qualifier: str,
        frames: tuple[Frame, ...],
        names: tuple[tuple[str, str], ...],
    ) -> None:
        self._lexicon = lexicon
        self.want, self.qualifier, self.frames, self.names = want, qualifier, frames, names

    @property
    def top(self) -> Frame:
        return self.frames[-1]

    @cached_property
    def scope(self) -> tuple[str, ...] | None:
        """Tables whose columns may be named; None while FROM has not said so, or cannot."""
        return _scope(self.frames)

    @cached_property
    def unmet(self) -> bool:
        """Whether a column named before FROM belongs to none of the tables that FROM names."""
        return _unmet(self.top, self.scope)

    @property
    def _operand(self) -> bool:
        return self.want in OPERANDS and not self.qualifier

    @cached_property
    def forward(self) -> bool:
        """Whether an alias may stand here that nothing has declared yet."""
        return self.want in ALIASABLE or (self._operand and self.scope is None)

    @cached_property
    def _calls(self) -> tuple[Frame, bool, bool, bool]:
        """The innermost query; whether an aggregate may stand here, one with another in it, and a window function."""
        inner = nearest_select(self.frames)
        nearest, calls = self.frames[inner], sum(frame.kind in GATHERING for frame in self.frames[inner + 1 :])
        # One aggregate within another is a sum of sums over a window. A window function stands in none.
        aggregates = nearest.clause in HOLDS_AGGREGATES and calls < 2
        return nearest, aggregates, aggregates and not calls, nearest.clause in HOLDS_WINDOWS and not calls

    @cached_property
    def lexicon(self) -> Lexicon:
        """The words that may stand here."""
        top, operand = self.top, self._operand
        nearest, aggregates, _, windows = self._calls
        source = self.want == "table" and top.kind == "select"
        return self._lexicon(
            Situation(
                want=self.want,
                qualifier=self.qualifier,
                scope=self.scope if operand else None,
                names=self.names,
                unmet=self.unmet,
                inside=f"{top.kind}/{top.clause}",
                starts=top.bare if source and not top.exposed and top.bare else NONE,
                taken=_taken(self.want, top, self.unmet),
                alone=len(top.exposed) == 1,
                owed=nearest.joined if operand and nearest.owes else "",
                deep=is_deep(self.frames),
                full=len(top.exposed) >= MOST_TABLES,
                aggregates=operand and aggregates,
                windows=operand and windows,
            )
        )

    @cached_property
    def view(self) -> tuple[Any, ...]:
        """Everything that decides which tokens may follow: places with equal views share their masks."""
        nearest, *functions = self._calls
        # Brackets between the last two and the query decide only by how many calls of which kind they are.
        query = nearest.clause, nearest.joined, nearest.owes
        # Before FROM it matters whether a need exists, not which: no token holds a whole FROM clause. Inside FROM it
        # matters which, because a token may end the table's name and begin the next clause.
        shape = tuple(
            f._replace(
                tables=(),
                needs=(NEED if f.needs else NO_NEED) if f.clause == "select" else f.needs,
                bare=NONE if f.exposed else f.bare,
            )
            for f in self.frames[-2:]
        )
        # A token may close several brackets.
        around = tuple((f.kind, f.clause, f.resume) for f in self.frames[:-2])
        return (self.want, self.qualifier, shape, around, query, *functions, self.unmet, self.scope, self.names)


class State(NamedTuple):
    """Where the scanner is: inside what (``mode``, ``word``, ``quote``), after what (``last``), at which ``place``.

    Of a word, ``quote`` is how it is written (:func:`spelling`). A name in quotes that may be a table's as well as a
    column's is ``closed`` until the next character.
    """

    mode: str
    word: str
    quote: str
    last: str
    place: Place


SPELLINGS = ("", "lower", "capital", "upper", "title", "mixed")


def spelling(before: str, char: str) -> str:
    """How a word is written after one more character; "capital" is one capital letter so far.

    Keywords and functions in mixed case are allowed by SQL, but nobody writes them. A model that is kept from the word
    it means would otherwise go on in tokens that it has never seen together.
    """
    if not char.isalpha():
        return before
    return (_AFTER_CAPITAL if char.isupper() else _AFTER_SMALL).get(before, "mixed")


_AFTER_CAPITAL = {"": "capital", "capital": "upper", "upper": "upper"}
_AFTER_SMALL = {"": "lower", "lower": "lower", "capital": "title", "title": "title"}


def _scope(frames: tuple[Frame, ...]) -> tuple[str, ...] | None:
    found: set[str] = set()
    for frame in frames:
        if frame.kind == "select" and frame.clause not in ("with", "start"):
            if frame.clause in ("select", "set") or frame.loose:
                return None
            found.update(frame.tables)
    return tuple(sorted(found))


def _unmet(top: Frame, scope: tuple[str, ...] | None) -> bool:
    if top.kind != "select" or not top.needs or scope is None:
        return False
    return any(not owners & set(scope) for owners in top.needs)


def _taken(want: str, top: Frame, unmet: bool) -> frozenset[str]:
    if want in ALIASABLE:
        return frozenset(top.exposed[:-1])
    return frozenset(top.tables) if want == "table" and top.kind == "select" and unmet else NONE


def is_deep(frames: Sequence[Frame]) -> bool:
    """Whether as many brackets are open as may be; a CASE is none."""
    return sum(frame.kind != "case" for frame in frames) > DEEPEST


def nearest_select(frames: Sequence[Frame]) -> int:
    """Index of the innermost query."""
    return max((i for i, frame in enumerate(frames) if frame.kind == "select"), default=0)


def as_bytes(text: str) -> str:
    """Text as the scanner sees it: one lower-case character per UTF-8 byte."""
    return text.encode().decode("latin-1").lower()
