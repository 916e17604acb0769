"""Which words may stand where: keywords by SQL's grammar, names by the schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from askguru_lib.inference.sql_state import (
    ALIASABLE,
    ANYTHING,
    CALLS,
    COLLECTING,
    FIRST,
    NONE,
    OPERANDS,
    Lexicon,
    Situation,
    Words,
)
from askguru_lib.inference.sql_words import (
    AFTER_ALIAS,
    AFTER_CLAUSE,
    AFTER_NOT,
    AFTER_TABLE,
    AFTER_TWIN,
    AGGREGATES,
    BEFORE_FIRST,
    BEFORE_QUERY,
    BEFORE_TABLE,
    BEFORE_VALUE,
    COLLATIONS,
    COLLECTS,
    ENDS_FROM,
    GOES_ON,
    IN_BRACKETS,
    JOINS,
    KEYWORDS,
    MORE_KEYWORDS,
    NEEDS_BRACKET,
    NOT_IN_BRACKETS,
    NOT_IN_CALLS,
    OPERATOR_WORDS,
    ORDERING,
    RESERVED,
    TYPES,
    WINDOWS,
    functions_of,
)

CONDITIONS = frozenset({"on", "using"})
"""What only a join may have."""
OUTER_JOIN = frozenset({"outer", "join"})
WORDY_ALIASES = frozenset({"one", "other"})
"""Aliases that the question grammar gives to two rows of one table."""


class Lexicons:
    """The lexicon of every situation on one schema.

    Args:
        tables: columns by table.
        schema_names: what may stand before a table.
        dialect: decides which functions and keywords are known.
        first_words: how a query may begin.

    Attributes:
        abbreviations: what a table's alias may be before FROM gives it, besides one letter: its name cut short, or a
            word by which two rows of a table are told apart.
    """

    def __init__(
        self,
        tables: Mapping[str, frozenset[str]],
        schema_names: frozenset[str],
        dialect: str,
        first_words: frozenset[str],
    ) -> None:
        self.tables, self.schema_names, self.dialect, self.first_words = tables, schema_names, dialect, first_words
        self.keywords = KEYWORDS if dialect == "sqlite" else KEYWORDS | MORE_KEYWORDS
        self.functions = functions_of(dialect)
        parts = {table: [p for p in table.split("_") if p] for table in tables}
        self.abbreviations = (
            frozenset(
                short
                for t, ps in parts.items()
                for short in (t[:2], t[:3], "".join(p[0] for p in ps))
                if len(short) > 1
            )
            - RESERVED
        ) | WORDY_ALIASES
        self.of = lru_cache(maxsize=20_000)(self._of)

    def _of(self, here: Situation) -> Lexicon:
        if here.want not in OPERANDS:
            return self._fixed(here)
        if here.qualifier and here.qualifier != ANYTHING:
            columns = self.tables[here.qualifier]
            return Lexicon(columns=columns, identifiers=columns, begin=(Words.of(NONE), Words.of(columns)))
        visible = self.tables if here.scope is None else {table: self.tables[table] for table in here.scope}
        real = frozenset(column for columns in visible.values() for column in columns)
        own = frozenset(name for name, kind in here.names if kind == "column")
        if here.qualifier:
            begin: tuple[Words, ...] = (Words.of(NONE), Words.of(real), Words.of(own))
            return Lexicon(columns=real | own, identifiers=real | own, begin=begin)
        qualifiers = {table: table for table in visible}
        for name, kind in here.names:
            if kind != "column":
                qualifiers[name] = kind[1:] if kind.startswith(".") else ANYTHING
        joined = qualifiers.get(here.owed, "")
        if here.scope is not None and joined in self.tables:
            qualifiers, real, own = {here.owed: joined}, self.tables[joined], NONE
        functions = self.functions - (NONE if here.aggregates else AGGREGATES | COLLECTS)
        functions -= NONE if here.windows else WINDOWS
        functions = NONE if here.deep else functions
        words = self._opening(here)
        known = real | frozenset(qualifiers) | own | (self.abbreviations if here.scope is None else NONE)
        begin = (Words.of(words | functions), Words.of(known))
        return Lexicon(words, real | own, qualifiers, real | own | frozenset(qualifiers), begin, functions)

    def _fixed(self, here: Situation) -> Lexicon:
        """Where no operand may begin."""
        ends = (ENDS_FROM if here.unmet else NONE) | (CONDITIONS if here.alone and here.want != "more" else NONE)
        fixed = {
            "start": self.first_words,
            "type": TYPES,
            "table": self._before_table(here.inside),
            "by": frozenset({"by"}),
            "join": OUTER_JOIN,
            "outer": OUTER_JOIN - {"outer"},
            "natural": JOINS - {"natural"},
            "after_table": AFTER_TABLE,
            "after_twin": AFTER_TWIN,
            "after_alias": AFTER_ALIAS,
            "collation": COLLATIONS,
            "over": self.keywords & {"over", "within"},
            "cte": frozenset({"as"}),
            "query": frozenset({"not", "materialized"}),
            "materialized": frozenset({"materialized"}),
            "star": frozenset({"from"}),
            "more": self._continuing(here.inside),
        }
        ends |= (NEEDS_BRACKET if here.deep else NONE) | (JOINS | {"lateral"} if here.full else NONE)
        words, tables = fixed.get(here.want, NONE) - ends, NONE
        if here.want == "table":
            common = {name for name, kind in here.names if kind == "cte"}
            tables = (here.starts or frozenset(self.tables) - here.taken) | common
        others = self.abbreviations - here.taken if here.want in ALIASABLE else tables | self.schema_names
        return Lexicon(words, identifiers=tables, begin=(Words.of(words), Words.of(others)))

    def _before_table(self, inside: str) -> frozenset[str]:
        lateral = NONE if self.dialect == "sqlite" else frozenset({"lateral"})
        return lateral | (BEFORE_TABLE if inside.startswith("paren") else NONE)

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
            return self.keywords & (words | ORDERING | {"order"} if kind == COLLECTING else words)
        if kind == "paren" and clause == "from":
            return self.keywords & (OPERATOR_WORDS | JOINS | {"on", "using"})
        if kind in IN_BRACKETS:
            words = OPERATOR_WORDS | GOES_ON[kind] if self.dialect == "sqlite" else self.keywords - NOT_IN_BRACKETS
            return self.keywords & words
        words = AFTER_CLAUSE.get(clause, NONE) | (ORDERING if clause in ("order", "limit", "offset", "fetch") else NONE)
        return self.keywords & (words if clause in ("with", "limit", "set") else words | OPERATOR_WORDS)

    def _opening(self, here: Situation) -> frozenset[str]:
        """Keywords with which an operand may begin there."""
        kind, clause = here.inside.split("/")
        if self.dialect != "sqlite" and (kind in IN_BRACKETS or kind in CALLS):
            deep = NEEDS_BRACKET if here.deep else NONE
            return self.keywords - NOT_IN_BRACKETS - deep - (NOT_IN_CALLS if kind in CALLS else NONE)
        words = BEFORE_VALUE | (AFTER_NOT if here.want == "not" else NONE)
        words |= IN_BRACKETS.get(kind, NONE)
        words -= NONE if kind == "over" else {"row"}
        words |= BEFORE_FIRST if here.want in FIRST else NONE
        words |= NONE if self.dialect == "sqlite" else BEFORE_QUERY
        if kind == "case":
            words |= {"when"}
        if clause == "set":
            words = frozenset({"select", "all", "distinct", "with", "values"})
        return self.keywords & (words - NEEDS_BRACKET if here.deep else words)
