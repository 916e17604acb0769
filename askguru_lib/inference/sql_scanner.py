"""A scanner that reads SQL character by character and knows which identifiers may stand where it is.

It is no parser: it follows quotes, brackets, clauses and names just closely enough to say, after every character,
whether what has been written can still become a query whose identifiers exist. States are immutable and hashable, so
that what follows from a state is computed once.

Text is scanned as UTF-8 bytes, one character per byte, because a token may end in the middle of a character.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.sql_words import (
    AFTER_TABLE,
    BEFORE_TABLE,
    CLAUSES,
    ENDS_FROM,
    KEYWORDS,
    MORE_KEYWORDS,
    OPENS_BRACKET,
    RESERVED,
    STRUCTURE,
    TYPES,
    functions_of,
)

PLAIN = re.compile(r"[a-z_\x80-\xff][a-z0-9_$#\x80-\xff]*")
FORWARD_ALIAS = re.compile(r"[a-z]{1,2}\d{0,2}")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | {chr(c) for c in range(128, 256)}
DIGITS = frozenset("0123456789")
INSIDE_WORD = LETTERS | DIGITS | {"$", "#"}
OPERATORS = frozenset("+-*/%<>=!|&~:")
SPACE = frozenset(" \t\r\n")
ANYTHING = "*"
LONGEST_NAME = 40
SCHEMA_DOT = "schema."
NONE: frozenset[str] = frozenset()


class Frame(NamedTuple):
    """A bracket that is open, or the query itself."""

    kind: str = "paren"
    clause: str = "expression"
    tables: tuple[str, ...] = ()
    loose: bool = False
    needs: frozenset[frozenset[str]] = frozenset()
    resume: str = "any"


class State(NamedTuple):
    """Where the scanner is: inside what (``mode``, ``word``), expecting what (``want``), in which ``frames``."""

    mode: str
    word: str
    quote: str
    want: str
    qualifier: str
    last: str
    frames: tuple[Frame, ...]
    names: tuple[tuple[str, str], ...]


class Lexicon(NamedTuple):
    """Words allowed at one place, by role, and every beginning of one; a qualifier leads to the table it stands for."""

    words: frozenset[str]
    columns: frozenset[str]
    qualifiers: dict[str, str]
    identifiers: frozenset[str]
    beginnings: frozenset[str]
    fixed_beginnings: frozenset[str]


def as_bytes(text: str) -> str:
    """Text as the scanner sees it: one lower-case character per UTF-8 byte."""
    return text.encode().decode("latin-1").lower()


@lru_cache(maxsize=64)
def beginnings(words: frozenset[str]) -> frozenset[str]:
    """Every beginning of every word that can be written without quotes."""
    return frozenset(w[:i] for w in words if PLAIN.fullmatch(w) for i in range(1, len(w) + 1))


class Scanner:
    """Scans SQL against one schema.

    Args:
        schema: tables and columns that exist.
        dialect: decides which functions and keywords are known.
        first_words: how a query may begin.
    """

    def __init__(
        self, schema: MSchema, dialect: str = "sqlite", first_words: tuple[str, ...] = ("select", "with")
    ) -> None:
        self.tables = {
            as_bytes(table): frozenset(as_bytes(c) for c in info["fields"]) for table, info in schema.tables.items()
        }
        self.schema_names = {as_bytes(schema.schema)} if schema.schema else NONE
        self.dialect = dialect
        self.keywords = KEYWORDS if dialect == "sqlite" else KEYWORDS | MORE_KEYWORDS
        self.functions = functions_of(dialect)
        self.first_words = frozenset(first_words)
        self.owners: dict[str, frozenset[str]] = {}
        for table, columns in self.tables.items():
            for column in columns:
                self.owners[column] = self.owners.get(column, frozenset()) | {table}
        self.rowid = frozenset({"rowid"}) if dialect == "sqlite" else frozenset()
        self.initial = State("gap", "", "", "start", "", "", (Frame("select", "start"),), ())
        self._lexicon = lru_cache(maxsize=20_000)(self._build_lexicon)

    def scan(self, text: str) -> State | None:
        """State after a whole text; None when it names something that does not exist."""
        state: State | None = self.initial
        for char in text.encode().decode("latin-1"):
            if state is not None:
                state = self.step(state, char)
        return state

    def accepts(self, sql: str) -> bool:
        """Whether a query's identifiers all exist where it uses them."""
        state = self.scan(sql)
        return state is not None and self.is_complete(state)

    # -- one character ------------------------------------------------------------------------------------------

    def step(self, state: State, char: str) -> State | None:
        """State after one more character, or None if nothing allowed begins like that."""
        mode = state.mode
        if mode == "word":
            if char in INSIDE_WORD:
                longer = state.word + char.lower()
                return state._replace(word=longer) if self._may_begin(state, longer) else None
            done = self._complete(state, char)
            return None if done is None else self._gap(done, char)
        if mode == "gap":
            return self._gap(state, char)
        if mode == "string":
            return state._replace(mode="string_end") if char == "'" else state
        if mode == "string_end":
            return state._replace(mode="string") if char == "'" else self._gap(self._after_value(state), char)
        if mode == "number":
            if char in DIGITS or char == ".":
                return state
            return None if char in LETTERS else self._gap(state._replace(mode="gap"), char)
        if mode == "quoted":
            return self._quoted(state, char)
        return state if char in SPACE else None

    def is_complete(self, state: State) -> bool:
        """Whether the text may end here."""
        if state.mode in ("string", "quoted"):
            return False
        after = state if state.mode in ("gap", "end") else self.step(state, " ")
        if after is None or len(after.frames) > 1 or after.qualifier or after.want not in ("any", "after_table"):
            return False
        query = after.frames[0]
        unfinished = query.clause in ("start", "with", "set") or (query.clause == "select" and query.needs)
        return not unfinished and not self.unmet(after)

    def _after_value(self, state: State) -> State:
        want = "any" if state.want in ("name", "after_table") else state.want
        return state._replace(mode="gap", want=want, last="")

    def _gap(self, state: State, char: str) -> State | None:
        want, qualifier = state.want, state.qualifier
        if char in SPACE:
            return None if qualifier else state
        if char in LETTERS:
            return self._begin_word(state, char)
        if char == ".":
            if state.last == SCHEMA_DOT:
                return state._replace(last="")
            if state.last.startswith("."):
                return state._replace(qualifier=state.last[1:], last="")
            return None
        if char in '"`' or (char == "[" and self.dialect == "sqlite"):
            return state._replace(mode="quoted", word="", quote="]" if char == "[" else char)
        if char == "*" and qualifier:
            return state._replace(qualifier="", want="any")
        if qualifier:
            return None
        if char == "(":
            return self._open(state)
        if want == "any":
            if char in DIGITS:
                return state._replace(mode="number", last="")
            if char == "'":
                return state._replace(mode="string", last="")
            if char in OPERATORS:
                return state._replace(last="")
        if want == "name" and char == "'" and state.frames[-1].clause == "select":
            return state._replace(mode="string", last="")
        if want in ("any", "after_table"):
            if char == ")":
                return self._close(state)
            if char == ",":
                return self._comma(state)
            if char == ";" and len(state.frames) == 1 and self.is_complete(state):
                return state._replace(mode="end", last="")
            if char in "[]" and self.dialect != "sqlite":
                return state._replace(last="")
        return None

    def _begin_word(self, state: State, char: str) -> State | None:
        word = char.lower()
        return state._replace(mode="word", word=word) if self._may_begin(state, word) else None

    def _open(self, state: State) -> State | None:
        top = state.frames[-1]
        if state.want in ("start", "type", "after_table"):
            return None
        if state.want == "name" and top.clause != "with":
            return None
        frame = Frame(resume="any")
        want = "any"
        if state.want == "table":
            frame, want = Frame("paren", "from", resume="derived"), "table"
        elif state.last == "cast":
            frame = Frame("cast")
        elif state.last == "cte":
            frame, want = Frame("names", resume="any"), "name"
        return state._replace(frames=(*state.frames, frame), want=want, last="")

    def _close(self, state: State) -> State | None:
        if len(state.frames) == 1 or self.unmet(state):
            return None
        closed, *_ = state.frames[-1:]
        frames = state.frames[:-1]
        if closed.resume == "derived":
            frames = (*frames[:-1], frames[-1]._replace(loose=True))
            return state._replace(frames=frames, want="after_table", last=ANYTHING)
        return state._replace(frames=frames, want="any", last="")

    def _comma(self, state: State) -> State:
        top = state.frames[-1]
        if top.clause == "from" and top.kind in ("select", "paren"):
            return state._replace(want="table", last="")
        if top.clause == "with" or top.kind == "names":
            return state._replace(want="name", last="")
        return state._replace(want="any", last="")

    def _quoted(self, state: State, char: str) -> State | None:
        if char != state.quote:
            word = state.word + char.lower()
            if state.want == "name":
                return state._replace(word=word)
            known = self._words(state).identifiers
            return state._replace(word=word) if any(w.startswith(word) for w in known) else None
        if state.want == "name":
            return self._declare(state) if state.word else None
        words = self._words(state)
        if state.want == "table":
            return self._table(state, state.word) if state.word in words.identifiers else None
        if state.word in words.columns:
            done = self._column(state, state.word)
            qualifier = words.qualifiers.get(state.word)
            return done._replace(last=f".{qualifier}") if qualifier and not state.qualifier else done
        qualifier = words.qualifiers.get(state.word)
        return state._replace(mode="gap", word="", last=f".{qualifier}") if qualifier else None

    # -- words --------------------------------------------------------------------------------------------------

    def _may_begin(self, state: State, word: str) -> bool:
        if state.want == "name":
            return len(word) <= LONGEST_NAME
        words = self._words(state)
        if word in words.beginnings or word in words.fixed_beginnings:
            return True
        if state.want == "after_table":
            return FORWARD_ALIAS.fullmatch(word) is not None
        return state.want == "any" and not state.qualifier and self._forward(state, word)

    def _forward(self, state: State, word: str) -> bool:
        """A table alias used before FROM declares it: only short ones are believed."""
        return FORWARD_ALIAS.fullmatch(word) is not None and self.scope(state) is None

    def _complete(self, state: State, following: str) -> State | None:
        """The word has ended: what was it?"""
        word, want = state.word, state.want
        state = state._replace(mode="gap", word="")
        if want == "name":
            if word == "recursive" and state.last == "with":
                return state._replace(last="")
            return None if word in RESERVED else self._declare(state._replace(word=word))
        words = self._words(state)
        if state.qualifier:
            return self._column(state, word) if word in words.columns else None
        if want == "type":
            return state._replace(want="any", last="") if word in TYPES else None
        if want == "start":
            return self._keyword(state, word) if word in self.first_words else None
        if want == "table":
            if following == "." and word in self.schema_names:
                return state._replace(last=SCHEMA_DOT)
            if word in words.identifiers:
                return self._table(state, word)
            return self._keyword(state, word) if word in words.words else None
        if following == "." and want == "any":
            qualifier = words.qualifiers.get(word) or (ANYTHING if self._forward(state, word) else None)
            return None if qualifier is None else state._replace(last=f".{qualifier}")
        if word in words.columns and word not in STRUCTURE and following != "(":
            return self._column(state, word)
        if following == "(" and word in self.functions and want == "any":
            return state._replace(last="cast" if word in ("cast", "try_cast") else "")
        if word in words.words and word in self.keywords and (following != "(" or word in OPENS_BRACKET):
            return self._keyword(state, word)
        if want == "after_table" and word not in RESERVED and FORWARD_ALIAS.fullmatch(word):
            return self._declare(state._replace(word=word))
        return None

    def _keyword(self, state: State, word: str) -> State:
        frames, top, want, last = state.frames[:-1], state.frames[-1], "any", ""
        if word in ("select", "with"):
            if top.kind != "select":
                top = Frame("select", resume=top.resume)
            top = top._replace(clause=word, tables=(), needs=frozenset())
            want, last = ("name", "with") if word == "with" else ("any", "")
        elif word in ("join", "lateral") or (word == "from" and top.kind == "select"):
            top, want = top._replace(clause="from"), "table"
        elif word in ("union", "intersect", "except"):
            top = top._replace(clause="set", loose=True)
        elif word == "as":
            want = "type" if top.kind == "cast" else "any" if top.clause in ("with", "window") else "name"
            last = state.last if state.want == "after_table" else ""
        elif word in CLAUSES and top.kind == "select":
            top = top._replace(clause=word)
        return state._replace(frames=(*frames, top), want=want, last=last)

    def _table(self, state: State, word: str) -> State:
        top = state.frames[-1]
        known = word in self.tables
        top = top._replace(tables=(*top.tables, word)) if known else top._replace(loose=True)
        frames = (*state.frames[:-1], top)
        return state._replace(mode="gap", word="", frames=frames, want="after_table", last=word if known else ANYTHING)

    def _column(self, state: State, word: str) -> State:
        """A column was named: before FROM, note which tables could own it."""
        top, qualifier = state.frames[-1], state.qualifier
        frames = state.frames
        owners = frozenset({qualifier}) if qualifier else self.owners.get(word)
        declared = any(word == name for name, _ in state.names)
        if owners and qualifier != ANYTHING and not (declared and not qualifier):
            select = max((i for i, f in enumerate(frames) if f.kind == "select"), default=0)
            if frames[select].clause == "select":
                frame = frames[select]._replace(needs=frames[select].needs | {owners})
                frames = (*frames[:select], frame, *frames[select + 1 :])
        elif top.kind == "names":
            return self._declare(state._replace(word=word))
        return state._replace(mode="gap", word="", frames=frames, want="any", qualifier="", last="")

    def _declare(self, state: State) -> State:
        """A name of the query's own: output column, table alias or common table expression."""
        top, kind, last = state.frames[-1], "column", ""
        if top.clause == "with" and top.kind == "select":
            kind, last = "cte", "cte"
        elif top.clause == "from":
            kind = f".{state.last or ANYTHING}"
        name = (state.word, kind)
        names = state.names if name in state.names else (*state.names, name)
        return state._replace(mode="gap", word="", want="any", last=last, names=names)

    # -- what exists here ---------------------------------------------------------------------------------------

    def scope(self, state: State) -> tuple[str, ...] | None:
        """Tables whose columns may be named here; None while FROM has not said so, or cannot."""
        found: set[str] = set()
        for frame in state.frames:
            if frame.kind == "select" and frame.clause not in ("with", "start"):
                if frame.clause in ("select", "set") or frame.loose:
                    return None
                found.update(frame.tables)
        return tuple(sorted(found))

    def unmet(self, state: State) -> bool:
        """Whether a column named before FROM belongs to none of the tables that FROM names."""
        top = state.frames[-1]
        if top.kind != "select" or not top.needs or top.clause in ("select", "set"):
            return False
        scope = self.scope(state)
        return scope is not None and any(not owners & set(scope) for owners in top.needs)

    def _words(self, state: State) -> Lexicon:
        scope = self.scope(state) if state.want == "any" and not state.qualifier else None
        return self._lexicon(state.want, state.qualifier, scope, state.names, self.unmet(state))

    def _build_lexicon(
        self,
        want: str,
        qualifier: str,
        scope: tuple[str, ...] | None,
        names: tuple[tuple[str, str], ...],
        unmet: bool,
    ) -> Lexicon:
        if want != "any":
            fixed = {"start": self.first_words, "type": TYPES, "after_table": AFTER_TABLE, "table": BEFORE_TABLE}
            words = fixed.get(want, NONE) - (ENDS_FROM if unmet else NONE)
            tables = NONE
            if want == "table":
                tables = frozenset(self.tables) | {name for name, kind in names if kind == "cte"}
            return Lexicon(words, NONE, {}, tables, beginnings(tables | self.schema_names), beginnings(words))
        own = frozenset(name for name, kind in names if kind == "column")
        if qualifier and qualifier != ANYTHING:
            columns = self.tables[qualifier] | self.rowid
            return Lexicon(NONE, columns, {}, columns, beginnings(columns), NONE)
        visible = self.tables if scope is None else {table: self.tables[table] for table in scope}
        columns = frozenset(c for table in visible.values() for c in table) | own
        if qualifier:
            return Lexicon(NONE, columns, {}, columns, beginnings(columns), NONE)
        qualifiers = {table: table for table in visible}
        for name, kind in names:
            if kind != "column":
                qualifiers[name] = kind[1:] if kind.startswith(".") else ANYTHING
        words = self.keywords - (ENDS_FROM if unmet else NONE) | self.functions
        known = columns | frozenset(qualifiers)
        return Lexicon(words, columns, qualifiers, known, beginnings(known), beginnings(words))
