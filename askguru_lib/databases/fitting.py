"""A schema that is too long for a prompt, made to fit: what matters least goes first, keys never.

What is dropped, in this order: example values (from three to none), comments (of columns, then of tables), then the
tables and columns that have least to do with the question. Relevance counts the rare words that a name, a comment or an
example shares with the question, and a table on the join path between two relevant ones is as relevant as they are.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import networkx as nx

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


@dataclass(frozen=True)
class Fitted:
    """A schema that fits.

    Attributes:
        schema: what is left.
        text: its M-Schema.
        tokens: of the text.
        example_num: example values shown per column at most.
        dropped: what was left out, one phrase each, in the order in which it went.
    """

    schema: MSchema
    text: str
    tokens: int
    example_num: int
    dropped: tuple[str, ...]


def estimate_tokens(text: str) -> int:
    """Tokens of a text where no tokenizer is at hand: one per four Latin letters, one per other character."""
    return sum(math.ceil(len(word) / 4) for word in re.findall(r"[A-Za-z]+", text)) + len(
        re.findall(r"[^A-Za-z\s]", text)
    )


def fit(
    schema: MSchema,
    max_tokens: int,
    question: str | None = None,
    *,
    count_tokens: Callable[[str], int] = estimate_tokens,
    example_num: int = 3,
) -> Fitted:
    """The schema in at most ``max_tokens`` tokens.

    Args:
        question: with its evidence; without one, tables and columns further down go first.
        count_tokens: of the model's tokenizer.
        example_num: example values per column to begin with.

    Raises:
        DataError: keys and table names alone are longer.
    """
    left, shown, dropped = schema.copy(), example_num, []

    def count(some: MSchema) -> int:
        return count_tokens(some.to_mschema(example_num=shown))

    def tokens() -> int:
        return count(left)

    while tokens() > max_tokens and shown:
        shown -= 1
        dropped.append(f"example values beyond {shown}" if shown else "all example values")
    for what, holders in (
        ("comments of columns", [field for _, _, field in left.columns()]),
        ("comments of tables", list(left.tables.values())),
    ):
        if tokens() > max_tokens and any(holder["comment"] for holder in holders):
            for holder in holders:
                holder["comment"] = ""
            dropped.append(what)
    if tokens() > max_tokens:
        steps = _steps(schema, question)
        # Every step only shortens, so the fewest that are enough are found by halving, not one after the other.
        few = bisect_left(range(len(steps)), True, key=lambda n: count(_without(left, steps[:n])) <= max_tokens)
        left = _without(left, steps[:few])
        dropped += [f"column {table}.{column}" if column else f"table {table}" for table, column in steps[:few]]
    if tokens() > max_tokens:
        raise DataError(f"the keys of the schema alone take {tokens()} tokens, {max_tokens} are allowed",
                        where=f"database {schema.db_id!r}", hint="allow more, or select tables")  # fmt: skip
    return Fitted(left, left.to_mschema(example_num=shown), tokens(), shown, tuple(dropped))


def _steps(schema: MSchema, question: str | None) -> list[tuple[str, str | None]]:
    """What to drop, least relevant first: whole tables as ``(table, None)``, then columns that are no keys."""
    scores = relevance(schema, question)
    keys = {(str(k[i]), str(k[i + 1])) for k in schema.foreign_keys for i in (0, 3)}
    keys |= {(t, c) for t, c, field in schema.columns() if field["primary_key"]}
    tables = dict.fromkeys(schema.tables, 0.0)
    for (table, _), score in scores.items():
        tables[table] = max(tables[table], score)
    best = max(tables.values(), default=0.0)
    needed = _joined({t for t, score in tables.items() if best and score > best / 2}, schema)
    place = {table: number for number, table in enumerate(tables)}
    order = sorted(tables, key=lambda t: (tables[t], -place[t]))
    # Whole tables that neither the question nor a join between its tables needs; one always stays.
    droppable = [t for t in order if t not in needed]
    gone = droppable if needed else droppable[:-1]
    position = {name: number for number, name in enumerate(scores)}
    columns = sorted(
        (name for name in scores if name[0] not in gone and name not in keys),
        key=lambda name: (tables[name[0]], scores[name], -position[name]),
    )
    return [*((table, None) for table in gone), *columns]


def _without(schema: MSchema, steps: Iterable[tuple[str, str | None]]) -> MSchema:
    """The schema after these steps."""
    gone = set(steps)
    left = MSchema(schema.db_id, schema.schema)
    for table, info in schema.tables.items():
        if (table, None) not in gone:
            fields = {column: field for column, field in info["fields"].items() if (table, column) not in gone}
            left.tables[table] = {**info, "fields": fields}
    left.foreign_keys = [k for k in schema.foreign_keys if k[0] in left.tables and (k[3] in left.tables or k[2])]
    return left


def _joined(tables: set[str], schema: MSchema) -> set[str]:
    """``tables`` and those on the shortest join paths between them."""
    graph = nx.Graph((str(k[0]), str(k[3])) for k in schema.foreign_keys)
    found = set(tables)
    for a in tables:
        for b in tables:
            if a < b and a in graph and b in graph and nx.has_path(graph, a, b):
                found |= set(nx.shortest_path(graph, a, b))
    return found


def relevance(schema: MSchema, question: str | None) -> dict[tuple[str, str], float]:
    """How much each (table, column) has to do with a question: the rarity of the words that they share."""
    words = {
        (t, c): _stems([t, schema.tables[t]["comment"], c, field["comment"], *field["examples"]])
        for t, c, field in schema.columns()
    }
    asked = _stems([question or ""])
    known = Counter(word for mine in words.values() for word in mine)
    return {name: sum(math.log(1 + len(words) / known[word]) for word in mine & asked) for name, mine in words.items()}


def _stems(texts: Iterable[str]) -> set[str]:
    return {stem(word.lower()) for text in texts for word in _WORD.findall(text)}


def stem(word: str) -> str:
    """A key that a lower-case word shares with its regular plural (*box, boxes; city, cities; movie, movies*)."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 3 and word.endswith(("se", "xe", "ze", "che", "she")):
        word = word[:-1]
    return re.sub(r"(?:ie|y)$", "i", word) if len(word) > 2 else word
