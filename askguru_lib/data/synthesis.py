"""Question/SQL pairs, refinement samples and selection samples, made from a connected database."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import sqlglot
from sqlglot import exp

from askguru_lib.data.dialects import render_in
from askguru_lib.data.grammar import Grammar
from askguru_lib.data.mutations import corrupt
from askguru_lib.data.trees import SQLGLOT_DIALECTS
from askguru_lib.databases.executor import Result
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError

BATCH = 200
MAX_CANDIDATES = 4
_LITERAL = re.compile(r"('(?:[^']|'')*')")


class RunsMany(Protocol):
    """What this module needs of ``databases.executor.Executor``."""

    def run_many(self, items: Iterable[tuple[str, str]], desc: str | None = None) -> list[Result]: ...


@lru_cache(maxsize=200_000)
def normalize_sql(sql: str, dialect: str = "sqlite") -> str:
    """One text for all spellings of a query: case and quotes of names, white space and comments do not count."""
    name = SQLGLOT_DIALECTS.get(dialect, dialect)
    try:
        tree = sqlglot.parse_one(sql, dialect=name)
        for identifier in tree.find_all(exp.Identifier):
            identifier.set("this", identifier.name.lower())
            identifier.set("quoted", False)
        # Said of what a model wrote, "not supported" is no news.
        return tree.sql(dialect=name, comments=False, unsupported_level=sqlglot.ErrorLevel.IGNORE)
    except (sqlglot.errors.SqlglotError, RecursionError, AttributeError):
        parts = _LITERAL.split(sql)
        return "".join(p if i % 2 else re.sub(r"\s+", " ", p.lower()) for i, p in enumerate(parts)).strip("; ")


def normalize_question(question: str) -> str:
    """A question without case, punctuation and double spaces, for duplicate and leakage checks."""
    return " ".join("".join(c.lower() if c.isalnum() else " " for c in question).split())


def synthesize(
    mschema: MSchema,
    n: int,
    seed: int,
    *,
    execute: Callable[[list[str]], Sequence[Result]] | None = None,
    exclude: Iterable[str] = (),
    meanings: Mapping[str, Mapping[str, str]] | None = None,
    dialect: str = "sqlite",
) -> list[dict[str, str]]:
    """Draw ``n`` pairs from the grammar over a database's schema.

    Args:
        mschema: with example values; the more per column, the more varied the conditions.
        execute: runs a list of queries; pairs that fail, return nothing, or return only NULLs are thrown away.
        exclude: normalised SQL or normalised questions that must not be drawn again (another split's), normalised in
            ``dialect``.
        meanings: ``{"table.column": {code: meaning}}``, for questions that say what a code stands for.
        dialect: of the queries; the engine's that runs them.

    Returns:
        Raw-format records, no two with the same question or the same normalised SQL; fewer than ``n`` when the schema
        has no more to ask.
    """
    rng = random.Random(f"{seed}/{mschema.db_id}")
    grammar = Grammar(mschema, rng, {k: dict(v) for k, v in (meanings or {}).items()})
    seen = set(exclude)
    pairs: list[dict[str, str]] = []
    barren = 0
    while len(pairs) < n and barren < 5:
        batch: list[dict[str, str]] = []
        for _ in range(4 * BATCH):
            if len(batch) == BATCH or (pair := grammar.draw()) is None:
                if len(batch) == BATCH:
                    break
                continue
            sql = render_in(pair.tree, mschema, dialect)
            keys = {normalize_sql(sql, dialect), normalize_question(pair.question)}
            if keys & seen:
                continue
            seen |= keys
            batch.append({"db_id": mschema.db_id, "question": pair.question, "evidence": pair.evidence, "SQL": sql,
                          "difficulty": pair.difficulty, "pattern": pair.pattern})  # fmt: skip
        results = execute([b["SQL"] for b in batch]) if execute else [None] * len(batch)
        kept = [b for b, r in zip(batch, results, strict=True) if r is None or _says_something(r)]
        barren = 0 if kept else barren + 1
        pairs += kept
    return pairs[:n]


def _says_something(result: Result) -> bool:
    """Whether a result is more than empty, NULL or a count of nothing."""
    if len(result.rows) == 1 and tuple(result.rows[0]) == (0,):
        return False
    return result.failure is None and any(v is not None for row in result.rows for v in row)


def _schemas(records: Iterable[Mapping[str, Any]]) -> Callable[[str], MSchema]:
    known: dict[str, MSchema] = {}

    def schema(text: str) -> MSchema:
        if text not in known:
            known[text] = MSchema.from_text(text)
        return known[text]

    return schema


def _wrong_queries(
    records: Sequence[Mapping[str, Any]], executor: RunsMany, rng: random.Random, per_record: int
) -> list[tuple[Mapping[str, Any], list[tuple[str, Result]], Result]]:
    """For each record: wrong queries whose outcome differs from the gold's, and the gold's own result."""
    if not records:
        raise DataError("no processed records to make samples from", hint="run chapter 03, or askguru process")
    schema = _schemas(records)
    tries: list[list[str]] = []
    for record in records:
        gold = normalize_sql(record["sql"])
        broken = (
            corrupt(record["sql"], schema(record["db_schema"]), rng, record["sql_type"]) for _ in range(per_record)
        )
        wrong = dict.fromkeys(b[0] for b in broken if b and normalize_sql(b[0]) != gold)
        tries.append(list(wrong))
    golds = executor.run_many([(r["db_name"], r["sql"]) for r in records])
    runs = iter(executor.run_many([(r["db_name"], sql) for r, sqls in zip(records, tries, strict=True) for sql in sqls],
                                  desc="running wrong queries"))  # fmt: skip
    found = []
    for record, sqls, gold_result in zip(records, tries, golds, strict=True):
        outcomes = [(sql, next(runs)) for sql in sqls]
        differ = [
            (s, r) for s, r in outcomes if r.failure or sorted(map(repr, r.rows)) != sorted(map(repr, gold_result.rows))
        ]
        found.append((record, differ, gold_result))
    return found


def refine_samples(
    processed: Sequence[Mapping[str, Any]], executor: RunsMany, seed: int, n: int, preview_rows: int = 10
) -> list[dict[str, Any]]:
    """Wrong queries with what the database really said, and the gold to mend them into (DESIGN §4, refine sample)."""
    rng = random.Random(f"{seed}/refine")
    order = rng.sample(list(processed), len(processed))
    samples: list[dict[str, Any]] = []
    per_record = max(3, 2 * n // max(len(order), 1) + 1)
    for record, wrong, _ in _wrong_queries(order, executor, rng, per_record):
        failed = [w for w in wrong if w[1].failure]
        for sql, result in sorted(wrong, key=lambda w: w not in failed or rng.random() < 0.3)[: per_record // 2 + 1]:
            samples.append({**_base(record), "pred_sql_res": [sql, result.preview(preview_rows)]})
    rng.shuffle(samples)
    return samples[:n]


def selection_samples(
    processed: Sequence[Mapping[str, Any]], executor: RunsMany, seed: int, n: int, preview_rows: int = 10
) -> list[dict[str, Any]]:
    """Gold among wrong candidates with other results, all with rows, as a critic meets them; no letter is favoured.

    Candidates that fail or return nothing are never put before a critic, so none is shown here: refinement learns from
    them.
    """
    rng = random.Random(f"{seed}/select")
    order = rng.sample(list(processed), len(processed))
    samples: list[dict[str, Any]] = []
    turn: dict[int, int] = {}
    while order and len(samples) < n:
        before = len(samples)
        for record, wrong, gold in _wrong_queries(order[: n - before], executor, rng, 6):
            distinct = {r.preview(preview_rows): (sql, r) for sql, r in wrong if r.rows}
            distinct.pop(gold.preview(preview_rows), None)
            others = list(distinct.values())
            if not others or not gold.rows:
                continue
            chosen = rng.sample(others, min(len(others), rng.randint(1, MAX_CANDIDATES - 1)))
            # In turn, by the number of candidates: the letters that every size has are answers equally often.
            size = len(chosen) + 1
            answer = turn.get(size, 0) % size
            turn[size] = answer + 1
            ranked = [*chosen[:answer], (record["sql"], gold), *chosen[answer:]]
            candidates = [{"sql": sql, "result": result.preview(preview_rows)} for sql, result in ranked]
            samples.append({**_base(record), "candidates": candidates, "answer": answer})
        if len(samples) == before:
            break
    return samples[:n]


def _base(record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("db_name", "question", "evidence", "db_schema", "sql", "sql_type")
    return {name: record[name] for name in names} | ({"values": record["values"]} if record.get("values") else {})
