"""What a word means where it stands in a query: a keyword, a table, a column, or a name of the query's own.

Moves go from state to state; which characters make a word is the business of :mod:`askguru_lib.inference.sql_scanner`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.sql_lexicon import Lexicons
from askguru_lib.inference.sql_state import (
    AGGREGATE,
    ALIASABLE,
    ANYTHING,
    COLLECTING,
    FORWARD_ALIAS,
    MOST_TABLES,
    NONE,
    OPERANDS,
    QUOTES,
    SCHEMA_DOT,
    WINDOW,
    Frame,
    Place,
    State,
    as_bytes,
    nearest_select,
)
from askguru_lib.inference.sql_words import (
    AGGREGATES,
    BEFORE_BRACKET,
    BEFORE_FIRST,
    CLAUSES,
    COLLECTS,
    OPENS_BRACKET,
    RESERVED,
    SETS,
    STRUCTURE,
    TYPED,
    VALUES,
    WINDOWS,
)

WANTS = (
    dict.fromkeys(("group", "order", "partition"), "by")
    | dict.fromkeys(("left", "right", "full", "inner", "cross"), "join")
    | {"outer": "outer", "natural": "natural", "not": "not", "select": "first"}
    | {"exists": "bracket", "collate": "collation"}
)
"""What a keyword makes expected, where that is not an operand."""


class WordReader:
    """Reads words against one schema.

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
        self.schema_names = frozenset({as_bytes(schema.schema)}) if schema.schema else NONE
        self.dialect = dialect
        self.owners: dict[str, frozenset[str]] = {}
        for table, columns in self.tables.items():
            for column in columns:
                self.owners[column] = self.owners.get(column, frozenset()) | {table}
        self.lexicons = Lexicons(self.tables, self.schema_names, dialect, frozenset(first_words))
        self.ended = lru_cache(maxsize=20_000)(self._complete)
        self._places: dict[tuple[Any, ...], Place] = {}
        self.initial = State("gap", "", "", "", self.place("start", "", (Frame("select", "start"),), ()))

    def place(self, want: str, qualifier: str, frames: tuple[Frame, ...], names: tuple[tuple[str, str], ...]) -> Place:
        """The one place of this description."""
        key = (want, qualifier, frames, names)
        if key not in self._places:
            self._places[key] = Place(self.lexicons.of, want, qualifier, frames, names)
        return self._places[key]

    def at(self, state: State, last: str = "", **changes: Any) -> State:
        """Between words again, with another ``last``; ``changes`` are to the place."""
        place = state.place
        if changes:
            place = self.place(
                changes.get("want", place.want), changes.get("qualifier", place.qualifier),
                changes.get("frames", place.frames), changes.get("names", place.names),
            )  # fmt: skip
        return State("gap", "", "", last, place)

    def _complete(self, state: State, following: str) -> State | None:
        """The word has ended: what was it?"""
        word, place = state.word, state.place
        want, lexicon = place.want, place.lexicon
        if following in QUOTES and word not in TYPED:
            return None
        if want == "name":
            if word == "recursive" and state.last == "with":
                return self.at(state)
            return None if word in RESERVED else self.declare(state, word)
        if place.qualifier:
            return self.column(state, word) if word in lexicon.columns else None
        if want == "type":
            return self.at(state, "type", want="more") if word in lexicon.words else None
        if want == "start":
            return self.keyword(state, word) if word in lexicon.words else None
        if want == "table":
            if following == "." and word in self.schema_names:
                return self.at(state, SCHEMA_DOT)
            if word in lexicon.identifiers:
                return self.table(state, word)
            return self.keyword(state, word) if word in lexicon.words else None
        operand = want in OPERANDS
        alias = place.forward and (word in self.lexicons.abbreviations or FORWARD_ALIAS.fullmatch(word) is not None)
        if following == "." and operand:
            qualifier = lexicon.qualifiers.get(word) or (ANYTHING if alias else None)
            return None if qualifier is None else self.qualify(state, word, qualifier)
        if operand and word in lexicon.columns and word not in STRUCTURE and following != "(":
            return self.column(state, word)
        if following == "(" and word in lexicon.functions:
            return self.at(state, _kind_of_call(word))
        if word in lexicon.words and (following != "(" or word in OPENS_BRACKET):
            return self.keyword(state, word)
        if want in ALIASABLE and alias and word not in RESERVED:
            return self.declare(state, word)
        return None

    def keyword(self, state: State, word: str) -> State:
        place, top = state.place, state.place.top
        want, last = "any", ""
        if word in ("select", "with"):
            if top.kind != "select":
                top = Frame("select", resume=top.resume)
            top = top.into(word)._replace(tables=(), exposed=(), needs=frozenset(), bare=NONE)
            want, last = ("name", "with") if word == "with" else ("any", "")
        elif word in ("join", "lateral") or (word == "from" and top.kind == "select"):
            top, want = top.into("from"), "table"
        elif word in SETS:
            top = top.into("set")._replace(loose=True)
        elif word == "as":
            want = "type" if top.kind == "cast" else "query" if place.want == "cte" else "name"
            last = state.last if place.want in ALIASABLE else ""
        elif word == "case":
            return self.at(state, want="any", frames=(*place.frames, Frame("case")))
        elif word == "end" and top.kind == "case":
            return self.at(state, want="more", frames=place.frames[:-1])
        elif word in CLAUSES and top.kind == "select":
            top = top.into(word)
            if word == "on" and top.exposed:
                top = top._replace(joined=top.exposed[-1])
        if place.want in ("query", "materialized"):
            want = "materialized" if word == "not" else "query"
        elif word in WANTS:
            want = WANTS[word]
        elif word in BEFORE_FIRST:
            want = "item" if place.want == "first" and top.kind == "select" else want
        elif word in VALUES:
            want = "more"
        elif word in BEFORE_BRACKET:
            last = word
        return self.at(state, last, want=want, frames=(*place.frames[:-1], top))

    def table(self, state: State, word: str) -> State | None:
        top, known = state.place.top, word in self.tables
        if len(top.exposed) >= MOST_TABLES:
            return None
        # What stands in FROM already needs a name of its own.
        want = "after_twin" if word in top.exposed else "after_table"
        top = top._replace(exposed=(*top.exposed, word))
        top = top._replace(tables=(*top.tables, word)) if known else top._replace(loose=True)
        frames = (*state.place.frames[:-1], top)
        return self.at(state, word if known else ANYTHING, want=want, frames=frames)

    def qualify(self, state: State, word: str, table: str) -> State:
        """A table was named before a dot. The second one that a join's condition names is the one just joined."""
        frames = state.place.frames
        nearest = nearest_select(frames)
        frame = frames[nearest]
        if frame.joined:
            there = word == frame.joined or frame.owes
            frame = frame._replace(joined="", owes=False) if there else frame._replace(owes=True)
            frames = (*frames[:nearest], frame, *frames[nearest + 1 :])
        return self.at(state, f".{table}", frames=frames)

    def column(self, state: State, word: str) -> State:
        """A column was named: before FROM, note which tables could own it.

        Where all columns are named without a table, FROM begins with a table that owns one of them. A join could still
        bring them, but a model that is led into a FROM without them adds table after table, and inner joins may as well
        begin at the owner.
        """
        place, frames = state.place, state.place.frames
        owners = frozenset({place.qualifier}) if place.qualifier else self.owners.get(word)
        own = not place.qualifier and any(word == name for name, _ in place.names)
        nearest = nearest_select(frames)
        frame = frames[nearest]
        if frame.joined and not place.qualifier:
            frames = (*frames[:nearest], frame._replace(joined="", owes=False), *frames[nearest + 1 :])
        elif owners and frame.clause == "select":
            known = place.qualifier != ANYTHING and not own
            frame = frame._replace(
                needs=frame.needs | {owners} if known else frame.needs,
                bare=frame.bare | owners if known and not place.qualifier and frame.bare is not None else None,
            )
            frames = (*frames[:nearest], frame, *frames[nearest + 1 :])
        return self.at(state, want="more", qualifier="", frames=frames)

    def declare(self, state: State, word: str) -> State | None:
        """A name of the query's own: output column, table alias or common table expression.

        No two tables of one FROM may have the same name: every reference to it would be ambiguous.
        """
        top, kind, last, want, frames = state.place.top, "column", "", "more", state.place.frames
        if top.clause == "with" and top.kind == "select":
            if (word, "cte") in state.place.names:
                return None
            kind, last, want = "cte", "cte", "cte"
        elif top.clause == "from":
            kind, want = f".{state.last or ANYTHING}", "after_alias"
            if word in top.exposed[:-1]:
                return None
            frames = (*frames[:-1], top._replace(exposed=(*top.exposed[:-1], word)))
        names = state.place.names
        if (word, kind) not in names:
            names = (*names, (word, kind))
        return self.at(state, last, want=want, names=names, frames=frames)


def _kind_of_call(word: str) -> str:
    if word in ("cast", "try_cast"):
        return "cast"
    if word == "count":
        return "count"
    kinds = {WINDOW: WINDOWS, COLLECTING: COLLECTS, AGGREGATE: AGGREGATES}
    return next((kind for kind, words in kinds.items() if word in words), "call")
