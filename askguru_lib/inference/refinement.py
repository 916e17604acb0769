"""Generate, execute, and on an error ask again with the engine's message: at most a few times, nothing forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from askguru_lib.data.prompts import build_prompt
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.inference.backend import Backend
from askguru_lib.inference.predictions import bounds_of, by_dialect, dialect_of

UNREACHABLE = "connection"
"""The failure that no other query repairs."""


@dataclass(frozen=True)
class Attempt:
    """One query that was tried, and what the engine said: ``failure`` is a kind of error, ``empty``, or None."""

    sql: str
    failure: str | None
    message: str


@dataclass
class Refinement:
    """What became of one answer.

    Attributes:
        sql: the query to use.
        attempts: every query tried, the first answer first.
        outcome: ``kept`` (nothing was wrong), ``repaired``, ``fallback`` (no attempt worked, another candidate did), or
            ``failed`` (nothing worked).
    """

    sql: str
    attempts: list[Attempt] = field(default_factory=list)
    outcome: str = "kept"


def refine(
    records: Sequence[Mapping[str, Any]],
    answers: Sequence[str],
    generator: Backend,
    executor: Executor,
    *,
    max_attempts: int | None = None,
    on_empty: bool = False,
    fallbacks: Sequence[Sequence[str]] | Callable[[int], str | None] | None = None,
    desc: str | None = None,
) -> list[Refinement]:
    """Repair the answers that do not execute.

    An attempt that fails like the one before it is followed by a sampled one, so that the loop does not say the same
    thing again. If no attempt works, the first of ``fallbacks`` that does is taken, else the first answer stays. A
    database that cannot be reached is no fault of a query: nothing is tried then.

    Args:
        records: processed records.
        answers: the SQL of each.
        max_attempts: further queries per question; by default the configuration's ``max_refine_attempts``.
        on_empty: also repair a query that returns nothing. Never taken back: if the repair fails, the answer stays.
        fallbacks: other candidates of each question, or a function that selects one for the question at an index
            (a vote, a critic; None for none).
        desc: label of a progress bar per round.
    """
    config = generator.config
    rows = config.execution.preview_rows
    limit = config.inference.max_refine_attempts if max_attempts is None else max_attempts
    found = [Refinement(sql) for sql in answers]
    schemas = bounds_of(records, config, config.inference.constrained)
    dialects = by_dialect(records, config)
    results = executor.run_many([(r["db_name"], sql) for r, sql in zip(records, answers, strict=True)])
    for item, sql, result in zip(found, answers, results, strict=True):
        item.attempts.append(attempt(sql, result, on_empty, rows))
    for turn in range(1, limit + 1):
        broken = {i for i, item in enumerate(found) if item.attempts[-1].failure not in (None, UNREACHABLE)}
        if not broken:
            break
        stuck_ones = {i for i in broken if _repeats(found[i])}
        rounds = [(dialect, stuck, [i for i in places if i in those])
                  for dialect, places in dialects.items()
                  for stuck, those in ((False, broken - stuck_ones), (True, stuck_ones))]  # fmt: skip
        for dialect, stuck, chosen in rounds:
            if not chosen:
                continue
            new = generator.generate(
                [refine_prompt(records[i], found[i].attempts[-1], generator) for i in chosen],
                mode="sampling" if stuck else "greedy",
                seed=config.seed + turn,
                schemas=[schemas[i] for i in chosen] if schemas is not None else None,
                dialect=dialect,
                desc=desc and f"{desc}, attempt {turn}",
            )
            sqls = [those[0].sql for those in new]
            again = executor.run_many([(records[i]["db_name"], sql) for i, sql in zip(chosen, sqls, strict=True)])
            for i, sql, result in zip(chosen, sqls, again, strict=True):
                found[i].attempts.append(attempt(sql, result, on_empty, rows))
    for i, item in enumerate(found):
        _settle(item)
        if item.outcome == "failed" and item.attempts[0].failure != "empty":
            _fall_back(item, records[i], executor, _others(fallbacks, i))
    return found


def refine_prompt(record: Mapping[str, Any], failed: Attempt, generator: Backend) -> str:
    """The prompt that shows a failed query and what the engine said."""
    return build_prompt(
        "self_refine",
        db_schema=record["db_schema"],
        question=record["question"],
        evidence=record.get("evidence") or "",
        order=generator.config.model.prompt_order,
        links=generator.config.model.schema_links,
        values=record.get("values"),
        dialect=dialect_of(record, generator.config),
        error_sql=failed.sql,
        error_info=failed.message,
    )


def attempt(sql: str, result: Result, on_empty: bool = False, rows: int = 10) -> Attempt:
    """A query with what executing it says; an empty result counts as a failure only if asked."""
    if result.failure:
        return Attempt(sql, result.failure.kind, result.preview(rows))
    empty = on_empty and not result.rows
    return Attempt(sql, "empty" if empty else None, result.preview(rows))


def _repeats(item: Refinement) -> bool:
    sqls = [a.sql for a in item.attempts]
    return sqls[-1] in sqls[:-1]


def _settle(item: Refinement) -> None:
    first = item.attempts[0]
    if not first.failure:
        return
    # The last attempt that worked; where an empty result counts as a failure, one that runs is still better than none.
    works = next((a for a in reversed(item.attempts) if a.failure is None), None)
    runs = next((a for a in reversed(item.attempts) if a.failure == "empty"), None)
    best = works or (runs if first.failure != "empty" else None)
    item.sql, item.outcome = (best.sql, "repaired") if best else (first.sql, "failed")


def _others(fallbacks: Sequence[Sequence[str]] | Callable[[int], str | None] | None, i: int) -> Sequence[str]:
    if not callable(fallbacks):
        return fallbacks[i] if fallbacks else ()
    chosen = fallbacks(i)
    return () if chosen is None else (chosen,)


def _fall_back(item: Refinement, record: Mapping[str, Any], executor: Executor, others: Sequence[str]) -> None:
    for sql in others:
        if executor.run(record["db_name"], sql).ok:
            item.sql, item.outcome = sql, "fallback"
            return


@dataclass(frozen=True)
class Flips:
    """How many answers changed between right and wrong, both ways."""

    repaired: int
    broken: int
    stayed_right: int
    stayed_wrong: int

    def __iter__(self) -> Iterator[int]:
        return iter((self.repaired, self.broken, self.stayed_right, self.stayed_wrong))


def flips(before: Mapping[str, bool], after: Mapping[str, bool]) -> Flips:
    """Count flips between two runs over the same questions (id → right or wrong)."""
    pairs = [(bool(before[i]), bool(after[i])) for i in before]
    return Flips(*(pairs.count(p) for p in ((False, True), (True, False), (True, True), (False, False))))
