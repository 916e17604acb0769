"""A scanner that reads SQL character by character and knows which identifiers may stand where it is.

It is no parser: it follows quotes, brackets, clauses, operands and names just closely enough to say, after every
character, whether what has been written can still become a query whose identifiers exist. States are immutable and
hashable, so that what follows from a state is computed once.

Text is scanned as UTF-8 bytes, one character per byte, because a token may end in the middle of a character.
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
    CALLS,
    COLLECTING,
    DIGITS,
    FORWARD_ALIAS,
    INSIDE_WORD,
    LETTERS,
    LONGEST_NAME,
    MOST_TABLES,
    NONE,
    OPERANDS,
    OPERATORS,
    SCHEMA_DOT,
    SPACE,
    WINDOW,
    Frame,
    Place,
    State,
    as_bytes,
    is_deep,
    nearest_select,
    spelling,
)
from askguru_lib.inference.sql_words import (
    AGGREGATES,
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

ENDINGS = frozenset({"more", "after_table", "after_alias"})
"""What is expected where a query, a list's item or a bracket may end."""
OPERATOR, SIGN, OPENED = "=", "+", "("
"""What came last, where that matters: an operator (and its characters), a sign, an opening bracket."""
SIGNS = frozenset("-+~")
NO_OPERATORS = frozenset({"--", "/*"})
"""Operators side by side that begin a comment."""
ENDS_BEFORE_SIGN = frozenset({"=", "<", ">", "<=", ">=", "<>", "!=", "==", "+", "*", "/", "%", "||"})
"""Operators behind which a sign belongs to the operand."""
QUOTES = frozenset("'\"`")
BEFORE_BRACKET = frozenset({"over", "filter"})
WANTS = (
    dict.fromkeys(("group", "order", "partition"), "by")
    | dict.fromkeys(("left", "right", "full", "inner", "cross"), "join")
    | {"outer": "outer", "natural": "natural", "not": "not", "select": "first"}
    | {"exists": "bracket", "collate": "collation"}
)
"""What a keyword makes expected, where that is not an operand."""


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
        self.schema_names = frozenset({as_bytes(schema.schema)}) if schema.schema else NONE
        self.dialect = dialect
        self.owners: dict[str, frozenset[str]] = {}
        for table, columns in self.tables.items():
            for column in columns:
                self.owners[column] = self.owners.get(column, frozenset()) | {table}
        self.lexicons = Lexicons(self.tables, self.schema_names, dialect, frozenset(first_words))
        self._ended = lru_cache(maxsize=20_000)(self._complete)
        self._places: dict[tuple[Any, ...], Place] = {}
        self.initial = State("gap", "", "", "", self.place("start", "", (Frame("select", "start"),), ()))

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
                return self._longer(state, char)
            done = self._ended(state, char if char in ".(" or char in QUOTES else " ")
            return None if done is None else self._gap(done, char)
        if mode == "gap":
            return self._gap(state, char)
        if mode == "string":
            return state._replace(mode="string_end") if char == "'" else state
        if mode == "string_end":
            return state._replace(mode="string") if char == "'" else self._gap(self.after_string(state), char)
        if mode == "number":
            if char in DIGITS:
                return state
            if char == ".":
                return None if state.word else state._replace(word=".")
            return None if char in LETTERS else self._gap(self._at(state, want="more"), char)
        if mode == "quoted":
            return self._quoted(state, char)
        return state if char in SPACE else None

    def is_complete(self, state: State) -> bool:
        """Whether the text may end here."""
        if state.mode in ("string", "quoted"):
            return False
        after = state if state.mode in ("gap", "end") else self.step(state, " ")
        if after is None:
            return False
        place = after.place
        if len(place.frames) > 1 or place.qualifier or place.want not in ENDINGS:
            return False
        unfinished = place.top.clause in ("start", "with", "set") or (place.top.clause == "select" and place.top.needs)
        return not unfinished and not place.unmet

    def after_string(self, state: State) -> State:
        """A string literal has ended; one may be an output column's name."""
        return self._at(state, want="more")

    def _longer(self, state: State, char: str) -> State | None:
        word, place = state.word + char.lower(), state.place
        written = spelling(state.quote, char)
        if place.want == "name":
            possible = len(word) <= LONGEST_NAME and char < "\x80"
        else:
            keywords, *names = place.lexicon.begin
            possible = (written != "mixed" and word in keywords.beginnings) or any(word in n.beginnings for n in names)
            possible = possible or (place.forward and FORWARD_ALIAS.fullmatch(word) is not None)
        return State("word", word, written, state.last, place) if possible else None

    def _gap(self, state: State, char: str) -> State | None:
        place = state.place
        want = place.want
        if char in SPACE:
            if place.qualifier:
                return None
            return self._at(state) if state.last.startswith(OPERATOR) else state
        if char in LETTERS:
            return self._longer(state, char)
        if char == ".":
            if state.last == SCHEMA_DOT:
                return self._at(state)
            return self._at(state, qualifier=state.last[1:]) if state.last.startswith(".") else None
        if char in '"`' or (char == "[" and self.dialect == "sqlite"):
            quotable = want == "name" or place.lexicon.identifiers
            return state._replace(mode="quoted", quote="]" if char == "[" else char) if quotable else None
        if place.qualifier:
            return self._star(state) if char == "*" else None
        if char == "(":
            return self._open(state)
        if want in OPERANDS:
            if char in DIGITS:
                return State("number", "", "", "", place)
            if char == "'":
                return State("string", "", "", "", place)
            if char in OPERATORS and (state.last.startswith(OPERATOR) or char in SIGNS):
                return self._operator(state, char)
            if char == "*":
                return self._star(state)
            if char == ")" and state.last == OPENED and self._may_be_empty(place.top):
                return self._close(state)
        if (
            want == "more"
            and char in OPERATORS
            and place.top.kind != "names"
            and place.top.clause not in ("with", "set")
        ):
            return self._at(state, OPERATOR + char, want="any")
        if want == "name" and char == "'" and place.top.clause == "select":
            return State("string", "", "", "", place)
        if want == "star" and char == ",":
            return self._comma(state)
        if want == "counted" and char == ")":
            return self._close(state)
        if want in ENDINGS:
            if char == ")":
                return self._close(state)
            if char == "," and place.top.kind != "case" and place.top.clause not in ("where", "having"):
                return self._comma(state)
            if char == ";" and self.is_complete(state):
                return State("end", "", "", "", place)
        if want in ("any", "first", "item", "more") and char in "[]" and self.dialect != "sqlite":
            return self._at(state)
        return None

    def _star(self, state: State) -> State | None:
        """All columns: an item of SELECT, behind which nothing but a comma or FROM may stand, or what is counted.

        In PostgreSQL a table's name with a star is also a whole row, which may stand anywhere.
        """
        place = state.place
        item = place.want in ("first", "item") and place.top.kind == "select" and place.top.clause == "select"
        if item:
            return self._at(state, want="star", qualifier="")
        if place.qualifier and self.dialect == "postgresql":
            return self._at(state, want="more", qualifier="")
        if place.want == "count" and not (place.qualifier and self.dialect == "sqlite"):
            return self._at(state, want="counted", qualifier="")
        return None

    def _operator(self, state: State, char: str) -> State | None:
        """One more character of an operator, or one sign before an operand."""
        if state.last == SIGN:
            return None
        if not state.last.startswith(OPERATOR):
            return self._at(state, SIGN)
        text = state.last.removeprefix(OPERATOR)
        if text + char in NO_OPERATORS or len(text) == 3:
            return None
        return self._at(state, SIGN if char in SIGNS and text in ENDS_BEFORE_SIGN else OPERATOR + text + char)

    def _may_be_empty(self, top: Frame) -> bool:
        """In SQLite, functions that need no argument are those of windows; a query says what time it means."""
        return self.dialect != "sqlite" or top.kind not in CALLS or top.kind == WINDOW

    def _open(self, state: State) -> State | None:
        place = state.place
        if place.want not in OPERANDS | {"table", "bracket", "query"} and state.last not in ("cte", "type"):
            return None
        if is_deep(place.frames):
            return None
        frame, want = Frame("paren"), "any"
        if place.want in ("bracket", "query"):
            want = "start"
        elif state.last == "count":
            frame, want = Frame(AGGREGATE), "count"
        elif state.last in CALLS:
            frame, want = Frame(state.last), "first"
        elif state.last in BEFORE_BRACKET:
            frame = Frame(state.last)
        elif place.want == "table":
            frame, want = Frame("paren", "from", resume="derived"), "table"
        elif state.last == "cast":
            frame = Frame("cast")
        elif state.last == "cte":
            frame, want = Frame("names"), "name"
        return self._at(state, OPENED, want=want, frames=(*place.frames, frame))

    def _close(self, state: State) -> State | None:
        place = state.place
        if len(place.frames) == 1 or place.unmet or place.top.kind == "case" or place.top.clause == "with":
            return None
        frames = place.frames[:-1]
        if place.top.resume != "derived":
            return self._at(state, want={WINDOW: "over", "names": "cte"}.get(place.top.kind, "more"), frames=frames)
        frames = (*frames[:-1], frames[-1]._replace(loose=True, exposed=(*frames[-1].exposed, "")))
        return self._at(state, ANYTHING, want="after_table", frames=frames)

    def _comma(self, state: State) -> State | None:
        top = state.place.top
        if top.clause in ("from", "on") and top.kind in ("select", "paren"):
            return self._at(state, want="table") if len(top.exposed) < MOST_TABLES else None
        if top.clause == "with" or top.kind == "names":
            return self._at(state, want="name")
        return self._at(state, want="item" if top.kind == "select" and top.clause == "select" else "any")

    def _quoted(self, state: State, char: str) -> State | None:
        place, lexicon, word = state.place, state.place.lexicon, state.word
        if char != state.quote:
            longer = word + char.lower()
            possible = place.want == "name" or any(w.startswith(longer) for w in lexicon.identifiers)
            return state._replace(word=longer) if possible else None
        if place.want == "name":
            return self._declare(state, word) if word else None
        if place.want == "table":
            return self._table(state, word) if word in lexicon.identifiers else None
        qualifier = "" if place.qualifier else lexicon.qualifiers.get(word, "")
        if word in lexicon.columns:
            done = self._column(state, word)
            return done._replace(last=f".{qualifier}") if qualifier else done
        return self._qualify(state, word, qualifier) if qualifier else None

    # -- words --------------------------------------------------------------------------------------------------

    def _complete(self, state: State, following: str) -> State | None:
        """The word has ended: what was it?"""
        word, place = state.word, state.place
        want, lexicon = place.want, place.lexicon
        if following in QUOTES and word not in TYPED:
            return None
        if want == "name":
            if word == "recursive" and state.last == "with":
                return self._at(state)
            return None if word in RESERVED else self._declare(state, word)
        if place.qualifier:
            return self._column(state, word) if word in lexicon.columns else None
        if want == "type":
            return self._at(state, "type", want="more") if word in lexicon.words else None
        if want == "start":
            return self._keyword(state, word) if word in lexicon.words else None
        if want == "table":
            if following == "." and word in self.schema_names:
                return self._at(state, SCHEMA_DOT)
            if word in lexicon.identifiers:
                return self._table(state, word)
            return self._keyword(state, word) if word in lexicon.words else None
        operand = want in OPERANDS
        alias = place.forward and (word in self.lexicons.abbreviations or FORWARD_ALIAS.fullmatch(word) is not None)
        if following == "." and operand:
            qualifier = lexicon.qualifiers.get(word) or (ANYTHING if alias else None)
            return None if qualifier is None else self._qualify(state, word, qualifier)
        if operand and word in lexicon.columns and word not in STRUCTURE and following != "(":
            return self._column(state, word)
        if following == "(" and word in lexicon.functions:
            return self._at(state, _kind_of_call(word))
        if word in lexicon.words and (following != "(" or word in OPENS_BRACKET):
            return self._keyword(state, word)
        if want in ALIASABLE and alias and word not in RESERVED:
            return self._declare(state, word)
        return None

    def _keyword(self, state: State, word: str) -> State:
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
            return self._at(state, want="any", frames=(*place.frames, Frame("case")))
        elif word == "end" and top.kind == "case":
            return self._at(state, want="more", frames=place.frames[:-1])
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
        return self._at(state, last, want=want, frames=(*place.frames[:-1], top))

    def _table(self, state: State, word: str) -> State | None:
        top, known = state.place.top, word in self.tables
        if len(top.exposed) >= MOST_TABLES:
            return None
        # What stands in FROM already needs a name of its own.
        want = "after_twin" if word in top.exposed else "after_table"
        top = top._replace(exposed=(*top.exposed, word))
        top = top._replace(tables=(*top.tables, word)) if known else top._replace(loose=True)
        frames = (*state.place.frames[:-1], top)
        return self._at(state, word if known else ANYTHING, want=want, frames=frames)

    def _qualify(self, state: State, word: str, table: str) -> State:
        """A table was named before a dot. The second one that a join's condition names is the one just joined."""
        frames = state.place.frames
        nearest = nearest_select(frames)
        frame = frames[nearest]
        if frame.joined:
            there = word == frame.joined or frame.owes
            frame = frame._replace(joined="", owes=False) if there else frame._replace(owes=True)
            frames = (*frames[:nearest], frame, *frames[nearest + 1 :])
        return self._at(state, f".{table}", frames=frames)

    def _column(self, state: State, word: str) -> State:
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
        return self._at(state, want="more", qualifier="", frames=frames)

    def _declare(self, state: State, word: str) -> State | None:
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
        return self._at(state, last, want=want, names=names, frames=frames)

    # -- what exists here ---------------------------------------------------------------------------------------

    def place(self, want: str, qualifier: str, frames: tuple[Frame, ...], names: tuple[tuple[str, str], ...]) -> Place:
        """The one place of this description."""
        key = (want, qualifier, frames, names)
        if key not in self._places:
            self._places[key] = Place(self.lexicons.of, want, qualifier, frames, names)
        return self._places[key]

    def _at(self, state: State, last: str = "", **changes: Any) -> State:
        """Between words again, with another ``last``; ``changes`` are to the place."""
        place = state.place
        if changes:
            place = self.place(
                changes.get("want", place.want), changes.get("qualifier", place.qualifier),
                changes.get("frames", place.frames), changes.get("names", place.names),
            )  # fmt: skip
        return State("gap", "", "", last, place)


def _kind_of_call(word: str) -> str:
    if word in ("cast", "try_cast"):
        return "cast"
    if word == "count":
        return "count"
    kinds = {WINDOW: WINDOWS, COLLECTING: COLLECTS, AGGREGATE: AGGREGATES}
    return next((kind for kind, words in kinds.items() if word in words), "call")
