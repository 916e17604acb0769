"""Which values of a database does a question say? *Flights to Oslo* means a city, and the city is in the data.

The few example values of a prompt seldom are those that a question asks for. BRIDGE (Lin et al. 2020) and CodeS (Li et
al. 2024) therefore search the database's text columns for the words of the question.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy import exc

from askguru_lib.databases.fitting import stem
from askguru_lib.databases.schema_engine import SchemaEngine, is_secret

LONGEST_VALUE = 50
MOST_WORDS = 8
MOST_COLUMNS = 5
"""Columns that are named for one value, at most."""
ROWS_READ = 50_000
"""Rows read of a table for each of its text columns, whatever its size."""
FUNCTION_WORDS = frozenset(
    """a an the of in on at for per by to with from and or is are was were be been it its their his her this that these
    those there who whom whose which what when where how many much do does did has have had not no any all each every i
    me my we us our you your can could would please show list give find get tell as if so s""".split()  # noqa: SIM905
)

_NO_PLURALS = FUNCTION_WORDS | {"means", "news", "goods"}
WORD = re.compile(r"[^\W_]+")


class ValueIndex:
    """Short texts of a database's columns.

    Args:
        values: ``(table, column, text)``; long texts are left out, and those without two letters, unless they are one
            word in capitals (``B``, ``Q4``).

    Attributes:
        warnings: columns that could not be read.
    """

    def __init__(self, values: Iterable[tuple[str, str, str]] = ()) -> None:
        self.warnings: list[str] = []
        # Lower-case words → column → how they are written there → the whole text.
        self._spelt: dict[tuple[str, ...], dict[tuple[str, str], dict[str, str]]]
        self._spelt = defaultdict(lambda: defaultdict(dict))
        self._singular: dict[str, tuple[str, ...]] = {}
        """Values of one word in small letters, by their stems."""
        for table, column, text in values:
            words = tuple(WORD.findall(text))
            code = len(words) == 1 and words[0] == text and text.isupper()
            if "\n" in text or (not code and all(word.lower() in FUNCTION_WORDS for word in words)):
                continue
            named = code or sum(c.isalpha() for c in text) > 1
            if named and len(text) <= LONGEST_VALUE and len(words) <= MOST_WORDS:
                self._spelt[tuple(w.lower() for w in words)][table, column].setdefault(" ".join(words), text)
                if len(words) == 1 and text.islower():
                    self._singular[stem(words[0])] = words

    @classmethod
    def read(cls, schema: SchemaEngine, max_values: int) -> ValueIndex:
        """The distinct short texts of all text columns, but for views and columns with secrets.

        One bounded query is sent for each column; of a column with more than ``max_values`` texts, some are left out.
        """
        found: list[tuple[str, str, str]] = []
        warnings: list[str] = []
        length = sa.func.char_length if schema.engine.dialect.name == "mysql" else sa.func.length
        with schema.engine.connect() as connection:
            for table, column, field in schema.mschema.columns():
                if not max_values or table in schema.views or is_secret(column) or not _is_text(str(field["type"])):
                    continue
                plain: sa.ColumnElement[str] = sa.column(column)
                rows = sa.select(plain).select_from(sa.table(table, schema=schema.mschema.schema)).limit(ROWS_READ)
                value = rows.subquery().c[column]
                query = sa.select(value).where(length(value).between(1, LONGEST_VALUE)).distinct().limit(max_values)
                try:
                    found += [(table, column, str(row[0])) for row in connection.execute(query)]
                except exc.SQLAlchemyError as e:
                    connection.rollback()
                    warnings.append(f"{table}.{column}: no values ({str(e).splitlines()[0]})")
        index = cls(found)
        index.warnings = warnings
        return index

    def places(self, text: str) -> dict[tuple[int, int], list[tuple[str, str, str]]]:
        """Where a text says a value, as characters, and the ``(table, column, value)`` in which it stands, the value as
        it is spelt there.

        A single word with a capital must be said with it (*price* is not Mr Price), and a function word is no value,
        unless it is a code in capitals: in quotes, or of several letters in a text that is not all in capitals. A
        letter that belongs to a longer word (*T-shirt*, *A+*) is none either. A word
        in small letters may be said as several (*students*, where the value is ``student``).
        """
        words = [(m.start(), m.end(), m[0]) for m in WORD.finditer(text)]
        found: dict[tuple[int, int], list[tuple[str, str, str]]] = {}
        for first in range(len(words)):
            start, end, _ = words[first]
            if "_" in (text[max(start - 1, 0) : start], text[end : end + 1]):
                continue  # part of a name
            for last in range(first, min(first + MOST_WORDS, len(words))):
                said = [word for _, _, word in words[first : last + 1]]
                spelt = self._spelt.get(tuple(w.lower() for w in said)) or {}
                if not spelt and len(said) == 1 and said[0].lower() not in _NO_PLURALS:
                    said = list(self._singular.get(stem(said[0].lower()), said))
                    spelt = self._spelt.get(tuple(said)) or {}
                columns = [(*c, _likest(" ".join(said), spellings)) for c, spellings in spelt.items()
                           if len(said) > 1 or _is_meant(said[0], text, start, end, spellings)]  # fmt: skip
                if columns:
                    found[words[first][0], words[last][1]] = columns[:MOST_COLUMNS]
        return found

    def mentioned(self, text: str) -> dict[str, list[list[str]]]:
        """Values that a text says, as it says them, each with ``[table, column, value]`` of where it stands and how it
        is spelt there."""
        return {text[a:b]: [list(column) for column in columns] for (a, b), columns in self.places(text).items()}


def _likest(said: str, spellings: Mapping[str, str]) -> str:
    """Of the texts that have these words, the one that is spelt as they are said, or else in small letters."""
    for form in (said, said.lower()):
        if form in spellings:
            return spellings[form]
    return min(spellings.values())


_ON_THE_LEFT = re.compile(r"\w['’.&-]$")
_ON_THE_RIGHT = re.compile(r"[+#]|[.'’&-]\w|-(?!\w)|\. ?[A-Z]")
"""Marks beside a letter that is a part of something longer."""


def _is_meant(word: str, text: str, start: int, end: int, spellings: Collection[str]) -> bool:
    """Whether a single word, which stands in a text from ``start`` to ``end``, stands for a value."""
    if len(word) == 1 and (_ON_THE_LEFT.search(text[:start]) or _ON_THE_RIGHT.match(text, end)):
        return False
    if word.lower() not in FUNCTION_WORDS:
        return word in spellings or word.lower() in spellings
    quoted = start > 0 and text[start - 1] in "'\"" and text[end : end + 1] == text[start - 1]
    return word.isupper() and word in spellings and (quoted or (len(word) > 1 and not text.isupper()))


def _is_text(kind: str) -> bool:
    name = kind.upper().split("(")[0]
    return any(text in name for text in ("CHAR", "TEXT", "STRING")) and "[" not in kind
