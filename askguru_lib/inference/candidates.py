"""Several candidate queries per question: beams, temperature samples, or some of both.

The prompt is computed once per question and its keys and values are shared by all its candidates.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from askguru_lib.config import RunConfig
from askguru_lib.data.files import Journal
from askguru_lib.data.synthesis import normalize_sql
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import InferenceError
from askguru_lib.inference.backend import Backend, Generated, Mode
from askguru_lib.inference.predictions import PredictionFile, bounds_of, by_dialect, question_prompt

SPARE = 3
"""Beams, or samples where there are no beams, decoded beside those asked for, in the same passes: they take the places
of duplicates. Beams seldom are any. For five candidates that makes eight rows, up to which a CPU multiplies matrices at
nearly the cost of four."""
HOTTER = 1.5
"""What the temperature is multiplied by in the one further round, of no more samples than are still missing."""


@dataclass(frozen=True)
class Candidate:
    """One of a question's candidates.

    Attributes:
        logprob: log-probability of the SQL: of all texts together that were decoded and came to it; None from a server
            that does not tell.
        source: ``beam``, ``sample``, or ``repeat`` when nothing distinct was left to fill up with.
        count: how many decoded sequences came to this SQL.
        finished: False if the answer was cut off at the limit, or ran in a circle.
    """

    sql: str
    text: str
    logprob: float | None
    new_tokens: int
    source: str
    count: int = 1
    finished: bool = True


class MultiCandidateInference:
    """Exactly ``n`` candidates per prompt, distinct as normalised SQL where the model offers that many.

    Order: beams, most probable first, then samples in the order drawn, and behind them what was cut off. A duplicate is
    dropped and counted on its first occurrence; places that it leaves free are filled, in this order, with spare
    beams, further samples at a higher temperature, and at last with repeats of the first candidates.

    Args:
        generator: answers prompts.
        config: instead of the generator's.
    """

    def __init__(self, generator: Backend, config: RunConfig | None = None) -> None:
        self.generator = generator
        self.config = config or generator.config

    def generate_candidates_beam_search(
        self, prompts: Sequence[str], num_candidates: int | None = None, **options: Any
    ) -> list[list[Candidate]]:
        """Candidates from one beam search; options as :meth:`generate`."""
        return self.generate(prompts, num_candidates, method="beam", **options)

    def generate_candidates_temperature_sampling(
        self, prompts: Sequence[str], num_candidates: int | None = None, **options: Any
    ) -> list[list[Candidate]]:
        """Candidates drawn at the configuration's temperature and top-p."""
        return self.generate(prompts, num_candidates, method="sampling", **options)

    def generate_candidates_hybrid(
        self, prompts: Sequence[str], num_candidates: int | None = None, **options: Any
    ) -> list[list[Candidate]]:
        """``num_beams`` beams (of the configuration), the rest samples, from the same forward passes."""
        return self.generate(prompts, num_candidates, method="hybrid", **options)

    def generate(
        self,
        prompts: Sequence[str],
        num_candidates: int | None = None,
        *,
        method: Mode | None = None,
        schemas: Sequence[MSchema] | None = None,
        dialect: str = "sqlite",
        temperature: float | None = None,
        seed: int | None = None,
        desc: str | None = None,
    ) -> list[list[Candidate]]:
        """Candidates of every prompt, in the prompts' order.

        Args:
            num_candidates: per prompt; by default the configuration's.
            method: ``beam``, ``sampling`` or ``hybrid``; by default the configuration's.
            schemas: one per prompt: constrain identifiers to it.
            dialect: for the constraint and for telling duplicates.
            temperature, seed: of the samples.
            desc: label of a progress bar.

        Raises:
            InferenceError: no candidate is asked for.
        """
        settings = self.config.inference
        n = settings.num_candidates if num_candidates is None else num_candidates
        if n < 1:
            raise InferenceError("at least one candidate is needed", where="num_candidates", hint="5 is usual")
        method = method or settings.generation_method
        beams = {"beam": n, "sampling": 0}.get(method, min(settings.num_beams, n))
        warmth = temperature or settings.temperature
        samples = n - beams
        width = [beams + SPARE, samples] if beams else [0, samples + SPARE]
        found = self.generator.generate(
            prompts, num_return=sum(width), enough=n, mode="hybrid" if beams else "sampling", seed=seed, desc=desc,
            num_beams=width[0] or None, schemas=schemas, dialect=dialect, temperature=warmth,
        )  # fmt: skip
        ranked = [_ranked(answers, beams) for answers in found]
        chosen = [_distinct(candidates, n, dialect) for candidates in ranked]
        short = [i for i, candidates in enumerate(chosen) if len(candidates) < n]
        if samples and short:
            more = self.generator.generate(
                [prompts[i] for i in short], num_return=n - min(len(chosen[i]) for i in short), mode="sampling",
                seed=(self.config.seed if seed is None else seed) + 7919, temperature=HOTTER * warmth, dialect=dialect,
                schemas=[schemas[i] for i in short] if schemas is not None else None,
            )  # fmt: skip
            for i, answers in zip(short, more, strict=True):
                chosen[i] = _distinct([*ranked[i], *map(_candidate, answers)], n, dialect)
        return [_filled(candidates, n) for candidates in chosen]


def _candidate(answer: Generated) -> Candidate:
    source = "sample" if answer.source == "sample" else "beam"
    return Candidate(answer.sql, answer.text, answer.logprob, answer.new_tokens, source, finished=answer.finished)


def _ranked(answers: Sequence[Generated], beams: int) -> list[Candidate]:
    """Beams, samples, then the spare beams; what was cut off comes behind everything that is finished."""
    candidates = [_candidate(a) for a in answers]
    from_beams = sorted((c for c in candidates if c.source == "beam"), key=lambda c: not c.finished)
    samples = [c for c in candidates if c.source == "sample"]
    return sorted([*from_beams[:beams], *samples, *from_beams[beams:]], key=lambda c: not c.finished)


def _distinct(candidates: Sequence[Candidate], n: int, dialect: str) -> list[Candidate]:
    """The first ``n`` that differ as normalised SQL, each with how often it occurs and how probable it is."""
    alike: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        alike.setdefault(normalize_sql(candidate.sql, dialect), []).append(candidate)
    return [replace(same[0], count=len(same), logprob=_together(same)) for same in list(alike.values())[:n]]


def _together(same: Sequence[Candidate]) -> float | None:
    """Log-probability that one of these texts is said.

    What was cut off is the beginning of a text: it does not count beside whole ones.
    """
    texts = {c.text: c.logprob for c in reversed(same) if c.finished == same[0].finished}
    known = [logprob for logprob in texts.values() if logprob is not None]
    if len(known) < len(texts):
        return None
    top = max(known)
    return top + math.log(math.fsum(math.exp(logprob - top) for logprob in known))


def _filled(candidates: list[Candidate], n: int) -> list[Candidate]:
    repeats = [replace(candidates[i % len(candidates)], source="repeat") for i in range(n - len(candidates))]
    return [*candidates, *repeats]


def answer_candidates(
    test_set: Sequence[Mapping[str, Any]],
    several: MultiCandidateInference,
    out_path: str | Path,
    config: RunConfig,
    *,
    method: Mode | None = None,
    num_candidates: int | None = None,
    constrained: bool | None = None,
    desc: str | None = None,
) -> list[dict[str, Any]]:
    """Candidates of every question, one JSON line each; a killed call goes on where it stopped.

    A line's ``candidates`` are mappings of :class:`Candidate`'s fields; its ``sql`` is the first one's.

    Args:
        test_set: processed records with ``id``.
        out_path: JSON Lines file, see :class:`~askguru_lib.inference.predictions.PredictionFile`.
        method, num_candidates, constrained: instead of the configuration's.
        desc: label of a progress bar.
    """
    inference = config.inference
    bound = inference.constrained if constrained is None else constrained
    method, n = method or inference.generation_method, num_candidates or inference.num_candidates
    decides = [method, n, bound, inference.num_beams, inference.temperature, inference.top_p, inference.max_new_tokens]
    prompts = [question_prompt(r, config) for r in test_set]
    file = PredictionFile(out_path, test_set, prompts, [several.generator.fingerprint, config.seed, *decides])
    # Questions on one schema go together, so that a part of the test set shares its prefix as the whole would.
    size, parts = inference.batch_size, []
    for dialect, places in by_dialect([test_set[i] for i in file.todo], config).items():
        order = sorted((file.todo[j] for j in places), key=lambda i: prompts[i])
        parts += [(dialect, order[j : j + size]) for j in range(0, len(order), size)]
    bar = tqdm(total=len(file.todo), desc=desc, unit="question", file=sys.stderr, disable=desc is None)
    with bar, Journal(file.part) as journal:
        for dialect, part in parts:
            started = time.perf_counter()
            schemas = bounds_of([test_set[i] for i in part], config, bound)
            found = several.generate([prompts[i] for i in part], n, method=method, schemas=schemas, dialect=dialect)
            elapsed = round(1000 * (time.perf_counter() - started) / len(part), 2)
            lines = {i: {"sql": c[0].sql, "candidates": list(map(asdict, c)), "elapsed_ms": elapsed}
                     for i, c in zip(part, found, strict=True)}  # fmt: skip
            file.add(journal, lines)
            bar.update(len(part))
    return file.finish()
