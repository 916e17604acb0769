"""A scanner that reads SQL character by character and knows which identifiers may stand where it is.

It is no parser: it follows quotes, brackets, clauses, operands and names just closely enough to say, after every
character, whether what has been written can still become a query whose identifiers exist. States are immutable and
hashable, so that what follows from a state is computed once.

Text is scanned as UTF-8 bytes, one character per byte, because a token may end in the middle of a character.
"""

from __future__ import annotations

from askguru_lib.inference.sql_state import (
    AGGREGATE,
    ANYTHING,
    CALLS,
    DIGITS,
    FORWARD_ALIAS,
    INSIDE_WORD,
    LETTERS,
    LONGEST_NAME,
    MOST_TABLES,
    OPERANDS,
    OPERATORS,
    QUOTES,
    SCHEMA_DOT,
    SPACE,
    WINDOW,
    Frame,
    State,
    is_deep,
    spelling,
)
from askguru_lib.inference.sql_word_reader import WordReader
from askguru_lib.inference.sql_words import BEFORE_BRACKET

ENDINGS = frozenset({"more", "after_table", "after_alias"})
"""What is expected where a query, a list's item or a bracket may end."""
OPERATOR, SIGN, OPENED = "=", "+", "("
"""What came last, where that matters: an operator (and its characters), a sign, an opening bracket."""
SIGNS = frozenset("-+~")
NO_OPERATORS = frozenset({"--", "/*"})
"""Operators side by side that begin a comment."""
ENDS_BEFORE_SIGN = frozenset({"=", "<", ">", "<=", ">=", "<>", "!=", "==", "+", "*", "/", "%", "||"})
"""Operators behind which a sign belongs to the operand."""


class Scanner(WordReader):
    """Scans SQL against one schema, character by character; made as a :class:`.WordReader`."""

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

    def step(self, state: State, char: str) -> State | None:
        """State after one more character, or None if nothing allowed begins like that."""
        mode = state.mode
        if mode == "word":
            if char in INSIDE_WORD:
                return self._longer(state, char)
            done = self.ended(state, char if char in ".(" or char in QUOTES else " ")
            return None if done is None else self._gap(done, char)
        if mode == "gap":
            return self._longer(state, char) if char in LETTERS else self._gap(state, char)
        if mode == "string":
            return state._replace(mode="string_end") if char == "'" else state
        if mode == "string_end":
            return state._replace(mode="string") if char == "'" else self._gap(self.after_string(state), char)
        if mode == "number":
            if char in DIGITS:
                return state
            if char == ".":
                return None if state.word else state._replace(word=".")
            return None if char in LETTERS else self._gap(self.at(state, want="more"), char)
        if mode == "quoted":
            return self._quoted(state, char)
        if mode == "closed":
            if char == ".":
                return self._gap(self.qualify(state, state.word, state.place.lexicon.qualifiers[state.word]), char)
            return self._gap(self.column(state, state.word), char)
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
        return self.at(state, want="more")

    def _longer(self, state: State, char: str) -> State | None:
        word, place = state.word + char.lower(), state.place
        if place.want == "name":
            known, plain = len(word) <= LONGEST_NAME and char < "\x80", False
        else:
            # Most words are refused here, tens of thousands for a schema's masks: how they are written is asked last.
            begin = place.lexicon.begin
            known, plain = False, word in begin[0].beginnings
            for names in begin[1:]:
                known = known or word in names.beginnings
            known = known or (place.forward and FORWARD_ALIAS.fullmatch(word) is not None)
        if not known and not plain:
            return None
        written = spelling(state.quote, char)
        return State("word", word, written, state.last, place) if known or written != "mixed" else None

    def _gap(self, state: State, char: str) -> State | None:
        place = state.place
        want = place.want
        if char in SPACE:
            if place.qualifier:
                return None
            return self.at(state) if state.last.startswith(OPERATOR) else state
        if char in LETTERS:
            return self._longer(state, char)
        if char == ".":
            if state.last == SCHEMA_DOT:
                return self.at(state)
            return self.at(state, qualifier=state.last[1:]) if state.last.startswith(".") else None
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
            return self.at(state, OPERATOR + char, want="any")
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
            return self.at(state)
        return None

    def _star(self, state: State) -> State | None:
        """All columns: an item of SELECT, behind which nothing but a comma or FROM may stand, or what is counted.

        In PostgreSQL a table's name with a star is also a whole row, which may stand anywhere.
        """
        place = state.place
        item = place.want in ("first", "item") and place.top.kind == "select" and place.top.clause == "select"
        if item:
            return self.at(state, want="star", qualifier="")
        if place.qualifier and self.dialect == "postgresql":
            return self.at(state, want="more", qualifier="")
        if place.want == "count" and not (place.qualifier and self.dialect == "sqlite"):
            return self.at(state, want="counted", qualifier="")
        return None

    def _operator(self, state: State, char: str) -> State | None:
        """One more character of an operator, or one sign before an operand."""
        if state.last == SIGN:
            return None
        if not state.last.startswith(OPERATOR):
            return self.at(state, SIGN)
        text = state.last.removeprefix(OPERATOR)
        if text + char in NO_OPERATORS or len(text) == 3:
            return None
        return self.at(state, SIGN if char in SIGNS and text in ENDS_BEFORE_SIGN else OPERATOR + text + char)

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
        return self.at(state, OPENED, want=want, frames=(*place.frames, frame))

    def _close(self, state: State) -> State | None:
        place = state.place
        if len(place.frames) == 1 or place.unmet or place.top.kind == "case" or place.top.clause == "with":
            return None
        frames = place.frames[:-1]
        if place.top.resume != "derived":
            return self.at(state, want={WINDOW: "over", "names": "cte"}.get(place.top.kind, "more"), frames=frames)
        frames = (*frames[:-1], frames[-1]._replace(loose=True, exposed=(*frames[-1].exposed, "")))
        return self.at(state, ANYTHING, want="after_table", frames=frames)

    def _comma(self, state: State) -> State | None:
        top = state.place.top
        if top.clause in ("from", "on") and top.kind in ("select", "paren"):
            return self.at(state, want="table") if len(top.exposed) < MOST_TABLES else None
        if top.clause == "with" or top.kind == "names":
            return self.at(state, want="name")
        return self.at(state, want="item" if top.kind == "select" and top.clause == "select" else "any")

    def _quoted(self, state: State, char: str) -> State | None:
        place, lexicon, word = state.place, state.place.lexicon, state.word
        if char != state.quote:
            longer = word + char.lower()
            possible = place.want == "name" or any(w.startswith(longer) for w in lexicon.identifiers)
            return state._replace(word=longer) if possible else None
        if place.want == "name":
            return self.declare(state, word) if word else None
        if place.want == "table":
            return self.table(state, word) if word in lexicon.identifiers else None
        qualifier = "" if place.qualifier else lexicon.qualifiers.get(word, "")
        if word in lexicon.columns and qualifier:
            return state._replace(mode="closed")  # the next character says whether it is a table's name
        if word in lexicon.columns:
            return self.column(state, word)
        return self.qualify(state, word, qualifier) if qualifier else None
