"""Choosing among candidates: a vote by execution result, or a critic that reads the results.

Candidates are executed and grouped by equal results. What a candidate counts is its probability: summed over a group it
is the probability that the model gives to a *result*, however it is spelt. That is the vote.

The critic looks at what a vote does not see. It checks which query uses what the question says
(:mod:`askguru_lib.inference.coverage`), and lets a candidate count less for everything that it leaves out. And it reads
results: one candidate per group is put before a model that answers with a letter, so the opinion is read from the
probabilities of the letters after one forward pass; every group stands once at every position, so that position does
not matter. Vote, check and opinion are multiplied, as prior and likelihoods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from askguru_lib.data.linking import Values
from askguru_lib.data.prompts import build_prompt
from askguru_lib.data.synthesis import normalize_sql
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.errors import InferenceError
from askguru_lib.evaluation.matching import ex
from askguru_lib.inference.backend import Backend
from askguru_lib.inference.coverage import unused


@dataclass(frozen=True)
class Selection:
    """A choice among candidates.

    Attributes:
        index, sql: the chosen candidate.
        scores: one per candidate, summing to 1 over groups; candidates with equal results have equal scores.
        method: ``critic`` (it read the results), ``check`` (it only compared queries with the question), ``majority``
            or ``only`` (there was nothing to choose).
    """

    index: int
    sql: str
    scores: tuple[float, ...]
    method: str


def run_candidates(
    lines: Sequence[Mapping[str, Any]], executor: Executor, desc: str | None = None
) -> list[list[Result]]:
    """Execute the candidates of every line of a candidates file, all in one go."""
    items = [(line["db_name"], candidate["sql"]) for line in lines for candidate in line["candidates"]]
    found = iter(executor.run_many(items, desc))
    return [[next(found) for _ in line["candidates"]] for line in lines]


def group_by_result(candidates: Sequence[str], results: Sequence[Result], dialect: str = "sqlite") -> list[list[int]]:
    """Indices of candidates with equal results, groups in order of first appearance; failures are left out."""
    groups: list[list[int]] = []
    for i, result in enumerate(results):
        if not result.ok:
            continue
        for group in groups:
            j = group[0]
            same = result == results[j] and candidates[i] == candidates[j]
            if same or (
                ex(result, results[j], candidates[j], dialect) and ex(results[j], result, candidates[i], dialect)
            ):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def likelihoods(candidates: Sequence[Mapping[str, Any]]) -> list[float]:
    """What each of a question's candidates counts in a vote: its probability under the model.

    Candidates are distinct, so how often each would be drawn is no longer visible in their number; its probability
    says it. From a server that tells no probabilities every sample counts once. A ``repeat`` counts nothing, nor does
    what was cut off, unless all were: that it happens to run does not make it an answer.

    Args:
        candidates: mappings with ``logprob``, ``count``, ``source`` and ``finished``, as a candidates file has them.
    """
    whole = [c.get("finished", True) for c in candidates]
    counted = [c["source"] != "repeat" and (done or not any(whole)) for c, done in zip(candidates, whole, strict=True)]
    if any(c["logprob"] is None for c in candidates):
        weights = [float(c["count"]) for c in candidates]
    else:
        top = max((c["logprob"] for c in candidates), default=0.0)
        weights = [math.exp(c["logprob"] - top) for c in candidates]
    return [weight if counts else 0.0 for weight, counts in zip(weights, counted, strict=True)]


def majority_vote(
    candidates: Sequence[str],
    results: Sequence[Result],
    dialect: str = "sqlite",
    weights: Sequence[float] | None = None,
) -> int:
    """Index of the first candidate of the largest group of equal results.

    A group with a vote beats one with none. Of these, one with rows beats an empty one: a question is asked of data
    that is there. On equal votes the group that appears first wins, which is the one with the most probable beam. If
    every candidate fails, it is the first.

    Args:
        candidates: SQL of each.
        results: of executing each.
        weights: what each candidate counts, by default one; see :func:`likelihoods`.
    """
    groups = group_by_result(candidates, results, dialect)
    if not groups:
        return 0
    votes = [1.0] * len(candidates) if weights is None else list(weights)
    counts = [sum(votes[i] for i in g) for g in groups]
    best = max(range(len(groups)), key=lambda k: (counts[k] > 0, bool(results[groups[k][0]].rows), counts[k], -k))
    return groups[best][0]


class SQLCritic:
    """Chooses the candidate that uses what the question says, and whose result a model finds most convincing.

    Args:
        generator: its model was trained on the ``sql_select`` task.
        enabled: False falls back to the vote; by default the configuration's ``use_critic``.
        max_groups: only the groups with the most votes are put before the model; it was trained on up to four.
        reads: False leaves the model out, so that only the check is added to the vote; by default the configuration's
            ``critic_reads``.
    """

    def __init__(
        self, generator: Backend, enabled: bool | None = None, max_groups: int = 4, reads: bool | None = None
    ) -> None:
        settings = generator.config.inference
        self.generator = generator
        self.enabled = settings.use_critic if enabled is None else enabled
        self.reads = settings.critic_reads if reads is None else reads
        self.max_groups = max_groups

    def select_best_candidate(
        self,
        question: str,
        db_schema: str,
        evidence: str,
        candidates: Sequence[str],
        exec_results: Sequence[Result],
        dialect: str = "sqlite",
        weights: Sequence[float] | None = None,
        values: Values | None = None,
    ) -> Selection:
        """Choose for one question.

        Args:
            db_schema: M-Schema text.
            candidates: SQL of each.
            exec_results: of executing each.
            weights: what each candidate counts in the vote, by default one; see :func:`likelihoods`.
            values: of the data that the question says, for the prompt's links.
        """
        item = {
            "question": question, "db_schema": db_schema, "evidence": evidence, "candidates": candidates,
            "results": exec_results, "dialect": dialect, "weights": weights, "values": values,
        }  # fmt: skip
        return self.select_many([item])[0]

    def select_many(self, items: Sequence[Mapping[str, Any]], desc: str | None = None) -> list[Selection]:
        """Choose for many questions at once.

        Args:
            items: mappings with ``question``, ``db_schema``, ``evidence``, ``candidates`` (SQL), ``results``,
                ``dialect``, ``weights`` and, for the prompt's links, ``values``.
            desc: label of a progress bar.

        Raises:
            InferenceError: a question has no candidate, or not one result for each.
        """
        for number, item in enumerate(items):
            found, run = len(item["candidates"]), len(item["results"])
            if not found or found != run:
                raise InferenceError(f"{found} candidates and {run} results", where=f"item {number}, 'results'",
                                     hint="execute every candidate; at least one is needed")  # fmt: skip
        items = [{**item, "weights": self.weigh(item)} for item in items]
        plans = [self._grouped(item) for item in items]
        prompts: list[str] = []
        places: list[tuple[int, tuple[int, ...]]] = []
        for i, (item, groups) in enumerate(zip(items, plans, strict=True)):
            if self.enabled and self.reads and len(groups) > 1:
                for order in rotations(len(groups)):
                    prompts.append(self.prompt(item, [groups[g][0] for g in order]))
                    places.append((i, order))
        scored = (
            self.generator.score_options(prompts, list(ascii_uppercase[: self.max_groups]), desc) if prompts else []
        )
        sums: dict[int, list[float]] = {}
        for (i, order), letters in zip(places, scored, strict=True):
            shares = letter_shares([letters[ascii_uppercase[p]] for p in range(len(order))])
            total = sums.setdefault(i, [0.0] * len(order))
            for place, group in enumerate(order):
                total[group] += shares[place] / len(order)
        return [
            self._decide(item, groups, sums.get(i)) for i, (item, groups) in enumerate(zip(items, plans, strict=True))
        ]

    def prompt(self, item: Mapping[str, Any], shown: Sequence[int]) -> str:
        """The selection prompt that shows some candidates, in the order given, each with its first rows."""
        rows = self.generator.config.execution.preview_rows
        return build_prompt(
            "sql_select",
            db_schema=item["db_schema"],
            question=item["question"],
            evidence=item.get("evidence") or "",
            order=self.generator.config.model.prompt_order,
            links=self.generator.config.model.schema_links,
            values=item.get("values"),
            dialect=item.get("dialect", "sqlite"),
            candidates=[(item["candidates"][c], item["results"][c].preview(rows)) for c in shown],
        )

    def weigh(self, item: Mapping[str, Any]) -> list[float]:
        """What each candidate counts: as in the vote, less ``coverage_penalty`` nats for all that it leaves unused."""
        weights = list(item.get("weights") or [1.0] * len(item["candidates"]))
        penalty = self.generator.config.inference.coverage_penalty
        if not self.enabled or not penalty:
            return weights
        missing = unused(
            item["candidates"], item["question"], item["db_schema"], item.get("evidence") or "", item.get("values"),
            item.get("dialect", "sqlite"),
        )  # fmt: skip
        return [weight * math.exp(-penalty * len(words)) for weight, words in zip(weights, missing, strict=True)]

    def groups(self, item: Mapping[str, Any]) -> list[list[int]]:
        """The groups that the critic is to see, the weightiest first; an empty result only if there is no other.

        Neither their order nor who speaks for a group depends on the order in which the candidates came: by weight,
        then by the query's text.
        """
        return self._grouped({**item, "weights": self.weigh(item)})

    def _grouped(self, item: Mapping[str, Any]) -> list[list[int]]:
        dialect, weights = item.get("dialect", "sqlite"), item["weights"]
        groups = group_by_result(item["candidates"], item["results"], dialect)
        groups = [g for g in groups if item["results"][g[0]].rows] or groups
        texts = {i: (normalize_sql(item["candidates"][i], dialect), item["candidates"][i]) for g in groups for i in g}
        groups = [sorted(g, key=lambda i: (-weights[i], texts[i])) for g in groups]
        return sorted(groups, key=lambda g: (-sum(weights[i] for i in g), texts[g[0]]))[: self.max_groups]

    def _decide(self, item: Mapping[str, Any], groups: list[list[int]], opinion: list[float] | None) -> Selection:
        candidates, weights = list(item["candidates"]), item["weights"]
        shares = [sum(weights[i] for i in g) for g in groups]
        if opinion is None:
            index = majority_vote(candidates, item["results"], item.get("dialect", "sqlite"), weights)
            method = "only" if len(groups) < 2 else "check" if self.enabled else "majority"
        else:
            shares = [share * said for share, said in zip(shares, opinion, strict=True)]
            index, method = groups[max(range(len(groups)), key=shares.__getitem__)][0], "critic"
        scores, total = [0.0] * len(candidates), sum(shares) or 1.0
        for group, share in zip(groups, shares, strict=True):
            for i in group:
                scores[i] = share / total
        return Selection(index, candidates[index], tuple(scores), method)


def rotations(n: int) -> list[tuple[int, ...]]:
    """Orders in which every one of ``n`` groups stands exactly once at every position."""
    return [tuple((start + i) % n for i in range(n)) for start in range(n)]


def letter_shares(logprobs: Sequence[float], exp: Callable[[float], float] = math.exp) -> list[float]:
    """Log-probabilities of the letters that may be answered, as shares that sum to 1."""
    top = max(logprobs)
    weights = [exp(p - top) for p in logprobs]
    return [w / sum(weights) for w in weights]
