"""Does a query use what its question says?

A wrong query often gives itself away before anybody sees its rows: the question names a price, a town or a number, and
the query has none of them. Words are compared as for the links of a prompt (:mod:`askguru_lib.data.linking`); neither a
model nor a database is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp

from askguru_lib.data.linking import Mention, Values, is_m_schema, schema_links
from askguru_lib.data.trees import shared_tree

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def unused(
    queries: Sequence[str],
    question: str,
    db_schema: str,
    evidence: str = "",
    values: Values | None = None,
    dialect: str = "sqlite",
) -> list[tuple[str, ...]]:
    """What a question says and each of some queries does not use.

    Phrases of question and evidence that name tables, columns or values of the schema, of which a query has none; and
    numbers of the question that are not in it. A phrase inside a longer one that is used is used with it (*part*
    in *part name*).

    Args:
        queries: one that sqlglot cannot read is taken to use everything.
        db_schema: M-Schema text; in another form nothing can be compared, and everything is taken to be used.
        evidence, values: as the prompt has them.
        dialect: of the queries.
    """
    if not is_m_schema(db_schema):
        return [()] * len(queries)
    mentions = schema_links(db_schema, f"{question}\n{evidence}", values).mentions
    named = "\n".join(mention.words for mention in mentions if not mention.is_number)
    numbers = [number for number in _NUMBER.findall(question) if not _inside(number, named)]
    return [_missing(_read(sql, dialect), mentions, numbers) for sql in queries]


def _missing(query: _Query | None, mentions: Sequence[Mention], numbers: Sequence[str]) -> tuple[str, ...]:
    if query is None:
        return ()
    used = [m.words for m in mentions if query.says(m.words) or any(map(query.has, m.items))]
    missing = [m.words for m in mentions if not any(_inside(m.words, words) for words in used)]
    missing += [number for number in numbers if not query.counts(float(number.replace(",", "")))]
    return tuple(dict.fromkeys(missing))


@dataclass(frozen=True)
class _Query:
    names: frozenset[str]
    texts: tuple[str, ...]
    numbers: frozenset[float]

    def has(self, item: str) -> bool:
        """Whether a table or a column, as a link prints it, is in the query; of whatever table the column is."""
        return item.rpartition(".")[2].strip('"`[]').lower() in self.names

    def says(self, words: str) -> bool:
        """Whether one of its strings holds these words."""
        return any(words.lower() in text for text in self.texts)

    def counts(self, number: float) -> bool:
        """Whether a number is in the query, be it inside a date, or as a share of 100."""
        return number in self.numbers or number / 100 in self.numbers


@lru_cache(maxsize=4096)
def _read(sql: str, dialect: str) -> _Query | None:
    tree = shared_tree(sql, dialect)
    if tree is None:
        return None
    literals = list(tree.find_all(exp.Literal))
    return _Query(
        frozenset(node.name.lower() for node in tree.find_all(exp.Column, exp.Table)),
        tuple(node.name.lower() for node in literals if node.is_string),
        frozenset(float(number) for node in literals for number in _DIGITS.findall(node.name)),
    )


def _inside(words: str, text: str) -> bool:
    """Whether words stand in a text as whole words."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
