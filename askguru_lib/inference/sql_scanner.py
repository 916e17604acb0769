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
from askguru_lib.inference.sql_state import (
    ANYTHING,
    DIGITS,
    FORWARD_ALIAS,
    INSIDE_WORD,
    LETTERS,
    LONGEST_NAME,
    NONE,
    OPERATORS,
    SCHEMA_DOT,
    SPACE,
    Frame,
    Lexicon,
    Place,
    State,
    Words,
    as_bytes,
    spelling,
)
from askguru_lib.inference.sql_words import (
    AFTER_ALIAS,
    AFTER_CLAUSE,
    AFTER_NOT,
    AFTER_TABLE,
    AFTER_TWIN,
    BEFORE_TABLE,
    BEFORE_VALUE,
    CLAUSES,
    COLLECTS,
    ENDS_FROM,
    JOINS,
    KEYWORDS,
    MORE_KEYWORDS,
    NOT_IN_BRACKETS,
    NOT_IN_CALLS,
    OPENS_BRACKET,
    OPERATOR_WORDS,
    ORDERING,
    RESERVED,
    SETS,
    STRUCTURE,
    TYPES,
    VALUES,
    functions_of,
)

ENDINGS = frozenset({"more", "after_table", "after_alias"})
"""What is expected where a query, a list's item or a bracket may end."""
ALIASABLE = frozenset({"after_table", "after_twin"})
OPERATOR, OPENED = "operator", "("
SIGNS = frozenset("-+~")
CONDITIONS = frozenset({"on", "using"})
"""What only a join may have."""
BY, OUTER_JOIN = frozenset({"by"}), frozenset({"outer", "join"})
CALLS = ("call", "collecting call")
DEEPEST = 8
"""Most brackets within brackets."""
MOST_TABLES = 10
"""Most tables in one FROM: more are a circle, not a query."""
WANTS = (
    dict.fromkeys(("group", "order", "partition"), "by")
    | dict.fromkeys(("left", "right", "full", "inner", "cross"), "join")
    | {"outer": "outer", "natural": "natural", "not": "not"}
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
        self.schema_names = {as_bytes(schema.schema)} if schema.schema else NONE
        self.dialect = dialect
        self.keywords = KEYWORDS if dialect == "sqlite" else KEYWORDS | MORE_KEYWORDS
        self.functions = functions_of(dialect)
        self.first_words = frozenset(first_words)
        self.owners: dict[str, frozenset[str]] = {}
        for table, columns in self.tables.items():
            for column in columns:
                self.owners[column] = self.owners.get(column, frozenset()) | {table}
        # A table alias may be used before FROM gives it: one letter, or the table's name cut short.
        parts = {table: [p for p in table.split("_") if p] for table in self.tables}
        self.abbreviations = frozenset(
            short for t, ps in parts.items() for short in (t[:2], t[:3], "".join(p[0] for p in ps)) if len(short) > 1
        )
        self.rowid = frozenset({"rowid"}) if dialect == "sqlite" else frozenset()
        self.lexicon = lru_cache(maxsize=20_000)(self._build_lexicon)
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
            done = self._ended(state, char if char in ".(" else " ")
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
            return self._at(state) if state.last == OPERATOR else state
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
            return self._at(state, want="more", qualifier="") if char == "*" else None
        if char == "(":
            return self._open(state)
        if want in ("any", "not"):
            if char in DIGITS:
                return State("number", "", "", "", place)
            if char == "'":
                return State("string", "", "", "", place)
            if char in OPERATORS and (state.last == OPERATOR or char in SIGNS):
                return self._at(state, OPERATOR)
            if char == "*" and (place.top.kind in CALLS or place.top.clause == "select"):
                return self._at(state, want="more")
            if char == ")" and state.last == OPENED:
                return self._close(state)
        if (
            want == "more"
            and char in OPERATORS
            and place.top.kind != "names"
            and place.top.clause not in ("with", "set")
        ):
            return self._at(state, OPERATOR, want="any")
        if want == "name" and char == "'" and place.top.clause == "select":
            return State("string", "", "", "", place)
        if want in ENDINGS:
            if char == ")":
                return self._close(state)
            if char == "," and place.top.kind != "case" and place.top.clause not in ("where", "having"):
                return self._comma(state)
            if char == ";" and self.is_complete(state):
                return State("end", "", "", "", place)
        if want in ("any", "more") and char in "[]" and self.dialect != "sqlite":
            return self._at(state)
        return None

    def _open(self, state: State) -> State | None:
        place = state.place
        if place.want not in ("any", "not", "table") and state.last not in ("cte", "type"):
            return None
        if len(place.frames) >= DEEPEST:
            return None
        frame, want = Frame(state.last if state.last in CALLS else "paren"), "any"
        if place.want == "table":
            frame, want = Frame("paren", "from", resume="derived"), "table"
        elif state.last == "cast":
            frame = Frame("cast")
        elif state.last == "cte":
            frame, want = Frame("names"), "name"
        return self._at(state, OPENED, want=want, frames=(*place.frames, frame))

    def _close(self, state: State) -> State | None:
        place = state.place
        if len(place.frames) == 1 or place.unmet or place.top.kind == "case":
            return None
        frames = place.frames[:-1]
        if place.top.resume != "derived":
            return self._at(state, want="more", frames=frames)
        frames = (*frames[:-1], frames[-1]._replace(loose=True, exposed=(*frames[-1].exposed, "")))
        return self._at(state, ANYTHING, want="after_table", frames=frames)

    def _comma(self, state: State) -> State:
        top = state.place.top
        if top.clause in ("from", "on") and top.kind in ("select", "paren"):
            return self._at(state, want="table")
        return self._at(state, want="name" if top.clause == "with" or top.kind == "names" else "any")

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
        return self._at(state, f".{qualifier}") if qualifier else None

    # -- words --------------------------------------------------------------------------------------------------

    def _complete(self, state: State, following: str) -> State | None:
        """The word has ended: what was it?"""
        word, place = state.word, state.place
        want, lexicon = place.want, place.lexicon
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
        operand = want in ("any", "not")
        alias = place.forward and (word in self.abbreviations or FORWARD_ALIAS.fullmatch(word) is not None)
        if following == "." and operand:
            qualifier = lexicon.qualifiers.get(word) or (ANYTHING if alias else None)
            return None if qualifier is None else self._at(state, f".{qualifier}")
        if operand and word in lexicon.columns and word not in STRUCTURE and following != "(":
            return self._column(state, word)
        if following == "(" and word in self.functions and operand:
            return self._at(state, "cast" if word in ("cast", "try_cast") else CALLS[word in COLLECTS])
        if word in lexicon.words and word in self.keywords and (following != "(" or word in OPENS_BRACKET):
            return self._keyword(state, word)
        if want in ("after_table", "after_twin") and alias and word not in RESERVED:
            return self._declare(state, word)
        return None

    def _keyword(self, state: State, word: str) -> State:
        place, top = state.place, state.place.top
        want, last = "any", ""
        if word in ("select", "with"):
            if top.kind != "select":
                top = Frame("select", resume=top.resume)
            top = top._replace(clause=word, tables=(), exposed=(), needs=frozenset(), bare=NONE)
            want, last = ("name", "with") if word == "with" else ("any", "")
        elif word in ("join", "lateral") or (word == "from" and top.kind == "select"):
            top, want = top._replace(clause="from"), "table"
        elif word in SETS:
            top = top._replace(clause="set", loose=True)
        elif word == "as":
            want = "type" if top.kind == "cast" else "any" if top.clause in ("with", "window") else "name"
            last = state.last if place.want in ("after_table", "after_twin") else ""
        elif word == "case":
            return self._at(state, want="any", frames=(*place.frames, Frame("case")))
        elif word == "end" and top.kind == "case":
            return self._at(state, want="more", frames=place.frames[:-1])
        elif word in CLAUSES and top.kind == "select":
            top = top._replace(clause=word)
        if word in WANTS:
            want = WANTS[word]
        elif word in VALUES:
            want = "more"
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

    def _column(self, state: State, word: str) -> State:
        """A column was named: before FROM, note which tables could own it.

        Where all columns are named without a table, FROM begins with a table that owns one of them. A join could still
        bring them, but a model that is led into a FROM without them adds table after table, and inner joins may as well
        begin at the owner.
        """
        place, frames = state.place, state.place.frames
        owners = frozenset({place.qualifier}) if place.qualifier else self.owners.get(word)
        own = not place.qualifier and any(word == name for name, _ in place.names)
        nearest = max(i for i, f in enumerate(frames) if f.kind == "select")
        if owners and frames[nearest].clause == "select":
            known = place.qualifier != ANYTHING and not own
            frame = frames[nearest]
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
            kind, last = "cte", "cte"
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
            self._places[key] = Place(self.lexicon, want, qualifier, frames, names)
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

    def _build_lexicon(
        self,
        want: str,
        qualifier: str,
        scope: tuple[str, ...] | None,
        names: tuple[tuple[str, str], ...],
        unmet: bool,
        inside: str,
        starts: frozenset[str],
        alone: bool,
    ) -> Lexicon:
        """Words allowed at a place; ``starts``: the tables to begin FROM with, ``alone``: there is but one so far."""
        ends = (ENDS_FROM if unmet else NONE) | (CONDITIONS if alone and want != "more" else NONE)
        if want not in ("any", "not"):
            fixed = {
                "start": self.first_words,
                "type": TYPES,
                "table": BEFORE_TABLE if inside.startswith("paren") else BEFORE_TABLE & {"lateral"},
                "by": BY,
                "join": OUTER_JOIN,
                "outer": OUTER_JOIN - {"outer"},
                "natural": JOINS - {"natural"},
                "after_table": AFTER_TABLE,
                "after_twin": AFTER_TWIN,
                "after_alias": AFTER_ALIAS,
                "more": self._continuing(inside),
            }
            words, tables = fixed.get(want, NONE) - ends, NONE
            if want == "table":
                tables = (starts or frozenset(self.tables)) | {name for name, kind in names if kind == "cte"}
            others = self.abbreviations if want in ALIASABLE else tables | self.schema_names
            return Lexicon(words, identifiers=tables, begin=(Words.of(words), Words.of(others)))
        if qualifier and qualifier != ANYTHING:
            columns = self.tables[qualifier] | self.rowid
            return Lexicon(columns=columns, identifiers=columns, begin=(Words.of(NONE), Words.of(columns)))
        visible = self.tables if scope is None else {table: self.tables[table] for table in scope}
        real = frozenset(column for columns in visible.values() for column in columns)
        own = frozenset(name for name, kind in names if kind == "column")
        if qualifier:
            begin = (Words.of(NONE), Words.of(real), Words.of(own))
            return Lexicon(columns=real | own, identifiers=real | own, begin=begin)
        qualifiers = {table: table for table in visible}
        for name, kind in names:
            if kind != "column":
                qualifiers[name] = kind[1:] if kind.startswith(".") else ANYTHING
        words = self._opening(want, inside) | self.functions
        known = real | frozenset(visible) | (self.abbreviations if scope is None else NONE)
        begin = (Words.of(words), Words.of(known), Words.of(frozenset(n for n, _ in names)))
        return Lexicon(words, real | own, qualifiers, real | own | frozenset(qualifiers), begin)

    def _continuing(self, inside: str) -> frozenset[str]:
        """Keywords that may follow a complete operand, by the bracket or clause it stands in."""
        kind, clause = inside.split("/")
        if kind == "names":
            return NONE
        if kind == "case":
            return self.keywords & (OPERATOR_WORDS | {"when", "then", "else", "end"})
        if kind == "cast":
            return self.keywords & (OPERATOR_WORDS | {"as"})
        if kind in CALLS:
            words = OPERATOR_WORDS if self.dialect == "sqlite" else self.keywords - NOT_IN_BRACKETS - NOT_IN_CALLS
            return self.keywords & (words | ORDERING | {"order"} if kind == CALLS[1] else words)
        if kind == "paren":
            return self.keywords & (OPERATOR_WORDS | JOINS | {"on", "using"}) if clause == "from" else (
                self.keywords - NOT_IN_BRACKETS)  # fmt: skip
        words = AFTER_CLAUSE.get(clause, NONE) | (ORDERING if clause in ("order", "limit", "offset", "fetch") else NONE)
        return self.keywords & (words if clause in ("with", "limit", "set") else words | OPERATOR_WORDS)

    def _opening(self, want: str, inside: str) -> frozenset[str]:
        """Keywords with which an operand may begin there."""
        kind, clause = inside.split("/")
        if kind == "paren" or (kind in CALLS and self.dialect != "sqlite"):
            return self.keywords - NOT_IN_BRACKETS - (NOT_IN_CALLS if kind in CALLS else NONE)
        words = BEFORE_VALUE | (AFTER_NOT if want == "not" else NONE)
        if kind == "case":
            words |= {"when"}
        if clause == "set":
            words = frozenset({"select", "all", "distinct", "with", "values"})
        elif clause in ("with", "window"):
            words |= {"select", "materialized", "not", "as", "partition", "order"}
        return self.keywords & words
