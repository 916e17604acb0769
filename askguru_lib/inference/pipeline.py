"""Generating, executing, repairing and choosing as one resumable stage: what ``infer`` and ``multi-infer`` run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from askguru_lib.data.files import Journal
from askguru_lib.databases.executor import Executor
from askguru_lib.inference.backend import Backend
from askguru_lib.inference.candidates import MultiCandidateInference, answer_candidates
from askguru_lib.inference.critic import SQLCritic, likelihoods, run_candidates
from askguru_lib.inference.generation import answer
from askguru_lib.inference.predictions import PredictionFile, dialect_of, question_prompt
from askguru_lib.inference.refinement import Refinement, refine


def answer_and_refine(
    test_set: Sequence[Mapping[str, Any]],
    generator: Backend,
    executor: Executor,
    out_path: str | Path,
    desc: str | None = None,
) -> list[dict[str, Any]]:
    """One query per question, repaired where it does not run; a killed call goes on where it stopped.

    The first answers stay beside ``out_path``, as ``<name>.first.jsonl``. A line also has ``first``, ``outcome`` and
    ``attempts``, see :class:`~askguru_lib.inference.refinement.Refinement`.
    """
    first = answer(test_set, generator, _beside(out_path, "first"), generator.config, desc=desc)
    sqls = [line["sql"] for line in first]
    file = PredictionFile(out_path, test_set, _asked(test_set, sqls, generator), ["refine", *_settings(generator)])

    def repair(part: Sequence[int]) -> dict[int, dict[str, Any]]:
        found = refine([test_set[i] for i in part], [sqls[i] for i in part], generator, executor)
        return {i: {"sql": item.sql, "first": sqls[i], **_history(item)} for i, item in zip(part, found, strict=True)}

    _in_parts(file, generator.config.inference.batch_size, repair, desc and "repairing")
    return file.finish()


def answer_and_choose(
    test_set: Sequence[Mapping[str, Any]],
    generator: Backend,
    executor: Executor,
    out_path: str | Path,
    *,
    repair: bool = True,
    desc: str | None = None,
) -> list[dict[str, Any]]:
    """Several queries per question, their results, and a choice; a killed call goes on where it stopped.

    The critic chooses, or a majority vote where the configuration's ``use_critic`` is false. The candidates stay beside
    ``out_path``, as ``<name>.candidates.jsonl``.

    Args:
        repair: where no candidate runs, the first is repaired, see :func:`~askguru_lib.inference.refinement.refine`.
        desc: label of progress bars.

    Returns:
        One prediction per question: ``sql, method, scores, candidates``; ``method`` is that of
        :class:`~askguru_lib.inference.critic.Selection`, or what became of a repair, then with its ``attempts``.
    """
    config = generator.config
    several = MultiCandidateInference(generator)
    lines = answer_candidates(test_set, several, _beside(out_path, "candidates"), config, desc=desc and "candidates")
    critic = SQLCritic(generator)
    candidates = [[c["sql"] for c in line["candidates"]] for line in lines]
    judging = [critic.enabled, critic.reads, config.inference.coverage_penalty]
    settings = ["choose", *judging, repair, *_settings(generator)]
    file = PredictionFile(out_path, test_set, _asked(test_set, candidates, generator), settings)

    def choose(part: Sequence[int]) -> dict[int, dict[str, Any]]:
        results = run_candidates([lines[i] for i in part], executor)
        items = [
            {
                **test_set[i], "candidates": candidates[i], "results": found,
                "dialect": dialect_of(test_set[i], config), "weights": likelihoods(lines[i]["candidates"]),
            }
            for i, found in zip(part, results, strict=True)
        ]  # fmt: skip
        chosen: dict[int, dict[str, Any]] = {
            i: {"sql": s.sql, "method": s.method, "scores": [round(score, 4) for score in s.scores]}
            for i, s in zip(part, critic.select_many(items), strict=True)
        }
        broken = [i for i, found in zip(part, results, strict=True) if not any(r.ok for r in found)] if repair else []
        mended = refine([test_set[i] for i in broken], [candidates[i][0] for i in broken], generator, executor)
        for i, item in zip(broken, mended, strict=True):
            chosen[i] = {"sql": item.sql, "method": item.outcome, "scores": chosen[i]["scores"], **_history(item)}
        return {i: {**line, "candidates": candidates[i]} for i, line in chosen.items()}

    _in_parts(file, config.inference.batch_size, choose, desc and "choosing")
    return file.finish()


def _asked(test_set: Sequence[Mapping[str, Any]], given: Sequence[Any], generator: Backend) -> list[str]:
    """What a line's key depends on besides the settings: the question as it is asked, and the queries there are."""
    return [json.dumps([question_prompt(r, generator.config), sqls]) for r, sqls in zip(test_set, given, strict=True)]


def _settings(generator: Backend) -> list[Any]:
    config, inference = generator.config, generator.config.inference
    decides = [inference.constrained, inference.max_new_tokens, inference.max_refine_attempts]
    return [generator.fingerprint, config.seed, config.execution.preview_rows, *decides]


def _history(item: Refinement) -> dict[str, Any]:
    return {"outcome": item.outcome, "attempts": [asdict(a) for a in item.attempts]}


def _beside(path: str | Path, what: str) -> Path:
    return Path(path).with_suffix(f".{what}.jsonl")


def _in_parts(
    file: PredictionFile,
    size: int,
    work: Callable[[Sequence[int]], Mapping[int, Mapping[str, Any]]],
    desc: str | None,
) -> None:
    """Do what a prediction file lacks, ``size`` questions at a time; a kill loses at most the part in flight."""
    bar = tqdm(total=len(file.todo), desc=desc, unit="question", file=sys.stderr, disable=desc is None)
    with bar, Journal(file.part) as journal:
        for part in _chunks(file.todo, size):
            file.add(journal, work(part))
            bar.update(len(part))


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[j : j + size] for j in range(0, len(items), size))
