"""The second data round: the model answers training questions, and its own mistakes become lessons.

Mutations break a right query in ways that a program thought of; a model's mistakes are those that it will make again.
Candidates that fail become refinement samples, with what the engine said to them. Candidates that disagree become
selection samples, built by the critic's own rules: what is learnt here is what :class:`SQLCritic` shows later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from askguru_lib.config import RunConfig
from askguru_lib.data.files import write_jsonl
from askguru_lib.data.leakage import question_key, sql_key
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.evaluation.matching import ex
from askguru_lib.inference.candidates import MultiCandidateInference, answer_candidates
from askguru_lib.inference.critic import SQLCritic, likelihoods, rotations, run_candidates
from askguru_lib.inference.predictions import dialect_of
from askguru_lib.inference.refinement import UNREACHABLE

REPAIRS = 2
"""Failing candidates of one question that are learnt from, at most."""

LOOPS = 1
"""How many of them may be queries that never came to an end: they are long, and all alike."""


@dataclass(frozen=True)
class HarvestReport:
    """What a second round found.

    Attributes:
        refine, select: the files of samples.
        candidates: distinct candidates that were ``right``, ``wrong`` (they ran) and ``failing``.
        questions: what became of each question as a selection sample: ``learnt from``, ``nothing to choose`` (one
            result or none), ``none right``, ``several right`` (no letter would be the answer), ``look alike`` (the
            right result and a wrong one, as far as a prompt shows them), ``gold failed``.
        samples: made of each task.
        loops: failing candidates that ran on and on and were left out, as one of the question's is shown already.
    """

    refine: Path
    select: Path
    candidates: dict[str, int]
    questions: dict[str, int]
    samples: dict[str, int]
    loops: int = 0


@dataclass
class _Tally:
    candidates: Counter[str] = field(default_factory=lambda: Counter(right=0, wrong=0, failing=0))
    questions: Counter[str] = field(default_factory=Counter)
    loops: int = 0


def harvest(
    records: Sequence[Mapping[str, Any]],
    several: MultiCandidateInference,
    executor: Executor,
    out_dir: str | Path,
    config: RunConfig,
    *,
    desc: str | None = None,
) -> HarvestReport:
    """Sample on training questions, execute, and write ``self_refine_own.jsonl`` and ``sql_select_own.jsonl``.

    A killed call goes on where it stopped; the candidates stay in ``own_candidates.jsonl``.

    Args:
        records: processed records with ``id``, of questions that the model was not trained on (:func:`fresh`): on
            those that it was, it makes fewer mistakes and other ones.
        several: the model that is to learn from its mistakes.
        config: of the candidates, and of how many rows a prompt shows.
        desc: label of progress bars.
    """
    out = Path(out_dir)
    lines = answer_candidates(records, several, out / "own_candidates.jsonl", config, desc=desc)
    results = run_candidates(lines, executor, desc and f"{desc}: executing")
    golds = executor.run_many([(r["db_name"], r["sql"]) for r in records])
    critic, rows, tally = SQLCritic(several.generator, enabled=True), config.execution.preview_rows, _Tally()
    repairs: list[dict[str, Any]] = []
    choices: list[dict[str, Any]] = []
    for record, line, found, gold in zip(records, lines, results, golds, strict=True):
        if not gold.ok:
            tally.questions["gold failed"] += 1
            continue
        dialect, candidates = dialect_of(record, config), line["candidates"]
        base = {k: record.get(k) or "" for k in ("id", "db_name", "question", "evidence", "db_schema", "sql")}
        base |= {"sql_type": dialect, "values": record.get("values") or {}}
        right = [ex(result, gold, record["sql"], dialect) for result in found]
        for candidate, result, good in zip(candidates, found, right, strict=True):
            if candidate["source"] != "repeat":
                tally.candidates["right" if good else "wrong" if result.ok else "failing"] += 1
        repairs += _repairs(base, candidates, found, rows, tally)
        item = {
            **base, "candidates": [c["sql"] for c in candidates], "results": found, "dialect": dialect,
            "weights": likelihoods(candidates),
        }  # fmt: skip
        shown = [group[0] for group in critic.groups(item)]
        choices += _choices(base, item, shown, [right[i] for i in shown], rows, tally)
    return HarvestReport(
        write_jsonl(out / "self_refine_own.jsonl", repairs),
        write_jsonl(out / "sql_select_own.jsonl", choices),
        dict(tally.candidates), dict(tally.questions),
        {"self_refine": len(repairs), "sql_select": len(choices)}, tally.loops,
    )  # fmt: skip


def _repairs(
    base: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], found: Sequence[Result], rows: int, tally: _Tally
) -> Iterator[dict[str, Any]]:
    """A few failing candidates with the gold as the answer: those that ended first, and different messages first."""
    failed = [
        (not candidate["finished"], candidate["sql"], result.preview(rows))
        for candidate, result in zip(candidates, found, strict=True)
        if result.failure and result.failure.kind != UNREACHABLE and candidate["source"] != "repeat"
    ]
    loops = [f for f in failed if f[0]]
    tally.loops += len(loops[LOOPS:])
    said: Counter[str] = Counter()
    ranked = []
    for loop, sql, message in [f for f in failed if not f[0]] + loops[:LOOPS]:
        ranked.append((loop, said[message], sql, message))
        said[message] += 1
    for _, _, sql, message in sorted(ranked, key=lambda r: r[:2])[:REPAIRS]:
        yield {**base, "pred_sql_res": [sql, message]}


def _choices(
    base: Mapping[str, Any],
    item: Mapping[str, Any],
    shown: Sequence[int],
    right: Sequence[bool],
    rows: int,
    tally: _Tally,
) -> Iterator[dict[str, Any]]:
    """What the critic would be shown, once in each of its orders, so that every letter is the answer equally often.

    The right option is a candidate of the model's own: with the gold's text among its queries, the critic would learn
    to tell a hand from a machine.
    """
    options = [{"sql": item["candidates"][i], "result": item["results"][i].preview(rows)} for i in shown]
    results = [option["result"] for option, good in zip(options, right, strict=True) if good]
    if len(options) < 2:
        fate = "nothing to choose"
    elif len(results) != 1:
        fate = "several right" if results else "none right"
    else:
        alike = sum(option["result"] == results[0] for option in options) > 1
        fate = "look alike" if alike else "learnt from"
    tally.questions[fate] += 1
    for order in rotations(len(options)) if fate == "learnt from" else ():
        yield {**base, "candidates": [options[i] for i in order], "answer": [right[i] for i in order].index(True)}


def fresh(records: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Records that share neither question nor query with what was trained on, of whatever task.

    Args:
        records: processed records.
        trained: training samples, with ``db_name``, ``question`` and ``sql``.
    """
    questions, queries = set(map(question_key, trained)), set(map(sql_key, trained))
    return [r for r in records if question_key(r) not in questions and sql_key(r) not in queries]
