"""What the small base model reads: packed documents of one schema and several independent tasks on it.

A packed document saves most of the cost of a long schema: the schema is read once,
every question's positions go on from
the schema's end, and the questions do not see each other (:mod:`askguru_lib.training.sharing`). What a question sees is
exactly what it would see alone.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from askguru_lib.data.dialects import render_in
from askguru_lib.data.grammar import Grammar, Pair, identifier
from askguru_lib.data.mutations import mutate
from askguru_lib.data.patterns import PATTERNS, PLAIN, Pattern
from askguru_lib.data.patterns.computed import product
from askguru_lib.data.patterns.joins import both_conditions, far_groups, join_pair, two_hops
from askguru_lib.data.prompts import build_prompt
from askguru_lib.data.trees import render
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.values import ValueIndex
from askguru_lib.training.hurried import hurried
from askguru_lib.training.random_schemas import random_database

PREVIEW_ROWS = 3
CONTEXT_WEIGHT = 0.3
SELECTION_LABELS = "ABCD"
VALUES_KNOWN = 0.7
"""Share of documents with links in which all values of the data are known, not only those that the schema shows."""
PRACTISED = PATTERNS | {two_hops: 9, far_groups: 6, both_conditions: 6, join_pair: 5, product: 4}
"""What takes most practice comes more often than in a test set."""
OTHER_DIALECTS = ("postgresql", "mysql", "duckdb")


@dataclass(frozen=True)
class Task:
    """One question on a schema: the prompt behind the schema's text, and the answer."""

    rest: str
    answer: str


@dataclass(frozen=True)
class Document:
    """A packed document: ``ids``, ``positions``, ``segments`` (0 is the schema) and loss ``weights``, all of length
    L."""

    ids: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    weights: np.ndarray


class PaperDatabase:
    """A schema with rows, or its few example values as rows, in memory: enough for an engine's real messages."""

    def __init__(self, schema: MSchema, rows: Mapping[str, Sequence[Sequence[Any]]] | None = None) -> None:
        self.connection = sqlite3.connect(":memory:")
        for table, info in schema.tables.items():
            name = identifier(table).sql("sqlite")
            columns = [(identifier(c).sql("sqlite"), f) for c, f in info["fields"].items()]
            typed = ", ".join(f"{column} {field['type']}" for column, field in columns)
            self.connection.execute(f"CREATE TABLE {name} ({typed})")
            count = max((len(f["examples"]) for _, f in columns), default=0)
            shown: Sequence[Sequence[Any]] = [
                [f["examples"][i % len(f["examples"])] if f["examples"] else None for _, f in columns]
                for i in range(count)
            ]
            marks = ", ".join("?" * len(columns))
            self.connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows[table] if rows else shown)
        self.connection.commit()

    def outcome(self, sql: str) -> str:
        """The engine's message, or the first rows, as ``Result.preview`` prints them."""
        try:
            cursor = self.connection.execute(sql)
            rows = cursor.fetchmany(PREVIEW_ROWS)
        except sqlite3.Error as e:
            return f"Error: {e}"
        if not rows:
            return "(no rows)"
        header = " | ".join(d[0] for d in cursor.description)
        return "\n".join([header, *(" | ".join("NULL" if v is None else str(v) for v in row) for row in rows)])


def tasks(
    schema: MSchema,
    grammar: Grammar,
    text: str,
    count: int,
    rng: random.Random,
    shares: tuple[float, float],
    patterns: Mapping[Pattern, float] = PATTERNS,
    links: bool = False,
    dialect: str = "sqlite",
    hurry: float = 0.0,
) -> list[Task]:
    """``count`` tasks on one schema: questions of ``patterns``, and by ``shares`` refinements and selections.

    Args:
        links: say in the prompts what the words of a question are called in the schema.
        dialect: of plain questions; refinements and selections are SQLite's, whose messages are real.
        hurry: share of questions with links that are put as nobody's grammar would (:mod:`.hurried`).
    """
    paper: PaperDatabase | None = None
    known = rng.random() < VALUES_KNOWN and links
    values = ValueIndex((c.table, c.name, v) for t in grammar.tables.values() for c in t.columns for v in c.values)
    shown: dict[str, Any] = {"db_schema": text, "links": links}
    out: list[Task] = []
    attempts = 0
    while len(out) < count and attempts < 20 * count:
        attempts += 1
        pair = grammar.draw(patterns)
        if pair is None:
            continue
        if known:
            shown["values"] = values.mentioned(f"{pair.question}\n{pair.evidence}")
        # Without the words between them nobody can tell what is a part of what.
        of_a_part = pair.pattern == "share" and pair.tree.args.get("where") is not None
        if rng.random() < hurry and links and not of_a_part:
            pair = replace(pair, question=hurried(pair, text, shown.get("values", {}), rng))
            if known:  # a word that came in may be one of the data's
                shown["values"] = values.mentioned(f"{pair.question}\n{pair.evidence}")
        sql, roll = render(pair.tree), rng.random()
        if roll < sum(shares):
            paper = paper or PaperDatabase(schema)
            task = (refinement if roll < shares[0] else selection)(Asked(schema, paper, shown, pair, sql), rng)
            if task:
                out.append(task)
            continue
        sql = render_in(pair.tree, schema, dialect)
        prompt = build_prompt(f"nl2{dialect}", **shown, question=pair.question, evidence=pair.evidence)
        out.append(Task(prompt.removeprefix(shown["db_schema"]), sql))
    return out


@dataclass(frozen=True)
class Asked:
    """A question and its query on a schema, with rows to run on, and what a prompt shows of them."""

    schema: MSchema
    paper: PaperDatabase
    shown: Mapping[str, Any]
    pair: Pair
    sql: str
    like: str = ""
    """Query whose spelling of functions wrong ones take over."""

    def wrong(self, rng: random.Random) -> str | None:
        """A query that is wrong in one place; None if nothing in it can be."""
        broken = mutate(self.pair.tree, self.schema, rng)
        return render(broken[0], like=self.like) if broken else None

    def prompt(self, task: str, **extra: Any) -> str:
        """The prompt of a task, from behind the schema."""
        whole = build_prompt(task, **self.shown, question=self.pair.question, evidence=self.pair.evidence, **extra)
        return whole.removeprefix(self.shown["db_schema"])


def refinement(asked: Asked, rng: random.Random) -> Task | None:
    """A wrong query with what the engine says of it, to be mended; None if it does what the right one does."""
    wrong = asked.wrong(rng)
    if wrong is None:
        return None
    outcome = asked.paper.outcome(wrong)
    if outcome == asked.paper.outcome(asked.sql):
        return None
    return Task(asked.prompt("self_refine", error_sql=wrong, error_info=outcome), asked.sql)


def selection(asked: Asked, rng: random.Random) -> Task | None:
    """The right query among wrong ones, each with its rows; None if all do the same."""
    options = {asked.paper.outcome(asked.sql): asked.sql}
    for _ in range(rng.choice([2, 3, 5])):
        if wrong := asked.wrong(rng):
            options.setdefault(asked.paper.outcome(wrong), wrong)
    if len(options) < 2:
        return None
    candidates = [(s, outcome) for outcome, s in list(options.items())[: len(SELECTION_LABELS)]]
    rng.shuffle(candidates)
    right = SELECTION_LABELS[[s for s, _ in candidates].index(asked.sql)]
    return Task(asked.prompt("sql_select", candidates=candidates), right)


def pack(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    items: Sequence[Task],
    context_weight: float = CONTEXT_WEIGHT,
    skips: tuple[tuple[float, int], ...] = (),
) -> Document:
    """Tokenise a schema and its tasks into one document.

    Args:
        skips: ``(place in the schema as a share of it, positions left out there)``: with them a short document trains
            the distances of a long one (positional skips, Zhu et al. 2023, PoSE).
    """

    def encode(s: str) -> list[int]:
        return list(tokenizer(s, add_special_tokens=False)["input_ids"])

    prefix = encode("<s>[INST]" + text)
    jumps = np.zeros(len(prefix) + 1, dtype=np.int64)
    for share, width in skips:
        jumps[1 + int(share * (len(prefix) - 1)) :] += width
    start = len(prefix) + int(jumps[-1])
    positions = (np.arange(len(prefix)) + jumps[:-1]).tolist()
    ids, segments = list(prefix), [0] * len(prefix)
    weights = [context_weight] * len(prefix)
    for number, task in enumerate(items, 1):
        question, answer = encode(task.rest + "[/INST]"), encode(task.answer + "</s>")
        ids += question + answer
        positions += range(start, start + len(question) + len(answer))
        segments += [number] * (len(question) + len(answer))
        weights += [0.0] + [context_weight] * (len(question) - 1) + [1.0] * len(answer)
    weights[0] = 0.0
    return Document(np.array(ids), np.array(positions), np.array(segments), np.array(weights, dtype=np.float32))


def draw_skips(rng: random.Random, most: int) -> tuple[tuple[float, int], ...]:
    """For half of the documents two places at which up to ``most`` positions are left out, see :func:`pack`."""
    return tuple((rng.random(), rng.randint(0, most // 2)) for _ in range(2 if rng.random() < 0.5 else 0))


def random_document(
    tokenizer: PreTrainedTokenizerBase,
    rng: random.Random,
    *,
    questions: int = 8,
    tables: tuple[int, int] = (2, 6),
    max_columns: int = 6,
    shares: tuple[float, float] = (0.1, 0.04),
    max_tokens: int = 2400,
    max_skip: int = 0,
    by_comment: float = 0.0,
    links: float = 0.0,
    elsewhere: float = 0.0,
    hurry: float = 0.0,
) -> Document:
    """A document over a database drawn at random; drawn again if it is longer than ``max_tokens``.

    Args:
        elsewhere: share of documents in another dialect than SQLite.
        links: share of documents whose prompts link the question's words to the schema.
        hurry: share of the questions of these documents that are put as nobody's grammar would.
        max_skip: half of the documents leave out up to this many positions at two places (see :func:`pack`).
        by_comment: share of documents that ask plain questions in the words of the columns' comments alone.
    """
    with_links = rng.random() < links
    only_comments = rng.random() < by_comment
    while True:
        database = random_database(rng, tables, max_columns)
        text = database.schema.to_mschema(example_num=rng.choice([1, 2, 2, 2, 3]))
        grammar = Grammar(database.schema, rng, database.meanings)
        if only_comments:
            share = grammar.speak_comments() / sum(len(t.columns) for t in grammar.tables.values())
            if share < 0.5:
                continue
        patterns = PLAIN if only_comments else PRACTISED
        dialect = rng.choice(OTHER_DIALECTS) if rng.random() < elsewhere else "sqlite"
        others = shares if dialect == "sqlite" else (0.0, 0.0)
        items = tasks(database.schema, grammar, text, questions, rng, others, patterns, with_links, dialect,
                      hurry)  # fmt: skip
        document = pack(tokenizer, text, items, skips=draw_skips(rng, max_skip))
        if items and len(document.ids) <= max_tokens:
            return document


def sample_texts(seed: int, count: int) -> Iterator[str]:
    """Texts to learn a tokenizer from."""
    for i in range(count):
        rng = random.Random(f"{seed}/tokenizer/{i}")
        database = random_database(rng, (2, 6), 9)
        text = database.schema.to_mschema(example_num=2)
        grammar = Grammar(database.schema, rng, database.meanings)
        yield text + "".join(t.rest + t.answer for t in tasks(database.schema, grammar, text, 8, rng, (0.1, 0.0)))
