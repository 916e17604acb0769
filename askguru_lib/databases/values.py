"""Which values of a database does a question say? *Flights to Oslo* means a city, and the city is in the data.

The few example values of a prompt seldom are those that a question asks for. BRIDGE (Lin et al. 2020) and CodeS (Li et
al. 2024) therefore search the database's text columns for the words of the question.
"""

from __future__ import annotations

import re
from collections import defaultdict

import sqlalchemy as sa
from sqlalchemy import exc

from askguru_lib.databases.m_schema import MSchema

LONGEST_VALUE = 50
MOST_WORDS = 8
MOST_COLUMNS = 5
"""Columns that are named for one value, at most."""
ROWS_READ = 50_000
"""Rows read of a table, whatever its size."""

_WORD = re.compile(r"[^\W_]+")


class ValueIndex:
    """The distinct short texts of a database's columns.

    Args:
        engine: of the database; one bounded query for each text column is sent.
        mschema: its tables and columns.
        max_values: distinct values kept of a column; one with more of them holds free text or keys.

    Attributes:
        warnings: columns that could not be read.
    """

    def __init__(self, engine: sa.Engine, mschema: MSchema, max_values: int) -> None:
        self.warnings: list[str] = []
        self._columns: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        with engine.connect() as connection:
            for table, column, field in mschema.columns():
                if not max_values or not _is_text(str(field["type"])):
                    continue
                plain: sa.ColumnElement[str] = sa.column(column)
                first = sa.select(plain).select_from(sa.table(table, schema=mschema.schema)).limit(ROWS_READ).subquery()
                value = first.c[column]
                short = sa.func.length(value).between(2, LONGEST_VALUE)
                query = sa.select(value).where(short).distinct().limit(max_values + 1)
                try:
                    found = [row[0] for row in connection.execute(query)]
                except exc.SQLAlchemyError as e:
                    connection.rollback()
                    self.warnings.append(f"{table}.{column}: no values ({str(e).splitlines()[0]})")
                    continue
                for text in (str(v).strip() for v in found[:max_values]):
                    if sum(c.isalpha() for c in text) > 1:
                        self._columns[text.lower()][table, column] = text

    def mentioned(self, text: str) -> dict[str, list[list[str]]]:
        """Values that a text says, as it says them, each with ``[table, column]`` of where it occurs.

        A single word with a capital must be said with it: *price* is not Mr Price.
        """
        words = [m.span() for m in _WORD.finditer(text)]
        found: dict[str, list[list[str]]] = {}
        for first, (start, _) in enumerate(words):
            for _, end in words[first : first + MOST_WORDS]:
                said = text[start:end]
                places = self._columns.get(said.lower(), {})
                columns = [list(c) for c, value in places.items() if " " in said or value in (said, said.lower())]
                if columns:
                    found[said] = columns[:MOST_COLUMNS]
        return found


def _is_text(kind: str) -> bool:
    return any(name in kind.upper() for name in ("CHAR", "TEXT", "CLOB", "STRING", "ENUM"))
