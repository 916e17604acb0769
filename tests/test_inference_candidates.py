"""Candidates: exactly n per prompt, whatever the batch; beams as transformers finds them; duplicates counted once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inference_tools import records, small_config, small_generator, small_model

from askguru_lib.errors import InferenceError
from askguru_lib.inference import candidates
from askguru_lib.inference.candidates import MultiCandidateInference, answer_candidates
from askguru_lib.inference.decoding import SharedDecoder
from askguru_lib.inference.generation import Generated, Generator

METHODS = ("beam", "sampling", "hybrid")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return small_generator(max_new_tokens=8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prompts", [1, 3, 4, 7])
def test_reference_defect_candidate_lists_cut_by_zip(generator: Generator, method: str, prompts: int) -> None:
    """Four prompts times five beams gave four candidates to the first prompt and none to the rest."""
    questions = [f"Question number {i}?" for i in range(prompts)]
    found = MultiCandidateInference(generator).generate(questions, 5, method=method)
    assert [len(candidates) for candidates in found] == [5] * prompts
    assert all(c.source in ("beam", "sample") for candidates in found for c in candidates)


def test_the_three_methods_by_name(generator: Generator) -> None:
    several = MultiCandidateInference(generator, small_config(num_candidates=3, num_beams=2))
    assert {c.source for c in several.generate_candidates_beam_search(["a"])[0]} == {"beam"}
    assert {c.source for c in several.generate_candidates_temperature_sampling(["a"])[0]} == {"sample"}
    assert [c.source for c in several.generate_candidates_hybrid(["a"])[0]] == ["beam", "beam", "sample"]


def test_beams_are_those_of_transformers() -> None:
    model = small_model()
    prompt = torch.randint(5, 400, (1, 12), generator=torch.Generator().manual_seed(5))
    model.set_attn_implementation("eager")
    theirs = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), num_beams=4, num_return_sequences=4, max_new_tokens=6,
        do_sample=False, eos_token_id=399, pad_token_id=0, length_penalty=0.0,
    )  # fmt: skip
    ours = SharedDecoder(model, [399]).decode(prompt.tolist(), 8, beams=4, samples=0, max_new_tokens=6)[0]
    assert [h.tokens for h in ours] == [tuple(row) for row in theirs[:, 12:].tolist()]
    assert [h.logprob for h in ours] == sorted((h.logprob for h in ours), reverse=True)


def test_beams_and_samples_do_not_disturb_each_other() -> None:
    decoder = SharedDecoder(small_model(), [2])
    prompts = [[1, *range(10, 50), i] for i in (60, 70)]
    options = {"max_new_tokens": 8, "seeds": [1, 2]}
    both = decoder.decode(prompts, 41, beams=3, samples=2, **options)
    beams = decoder.decode(prompts, 41, beams=3, samples=0, **options)
    samples = decoder.decode(prompts, 41, beams=0, samples=2, **options)
    for together, left, right in zip(both, beams, samples, strict=True):
        assert [h.tokens for h in together] == [h.tokens for h in [*left, *right]]


class Scripted:
    """A generator whose answers are given."""

    def __init__(self, *rounds: Sequence[tuple[str, str]]) -> None:
        self.config, self.rounds = small_config(), list(rounds)

    def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
        found = self.rounds.pop(0)
        return [
            [Generated(sql, sql, -float(i), 3, source, not sql.endswith("…")) for i, (source, sql) in enumerate(found)]
            for _ in prompts
        ]


FIRST = [
    ("beam", "SELECT a"), ("beam", "select  a"), ("beam", "SELECT b"), ("beam", "SELECT c"), ("beam", "SELECT d"),
    ("sample", "SELECT a"), ("sample", "SELECT e"),
]  # fmt: skip


def test_order_is_beams_then_samples_then_spare_beams() -> None:
    several = MultiCandidateInference(Scripted(FIRST), small_config(num_beams=3))  # type: ignore[arg-type]
    [found] = several.generate_candidates_hybrid(["q"], 5)
    assert [c.sql for c in found] == ["SELECT a", "SELECT b", "SELECT e", "SELECT c", "SELECT d"]
    assert [c.count for c in found] == [3, 1, 1, 1, 1]


def test_a_candidate_is_as_probable_as_all_its_spellings_together() -> None:
    several = MultiCandidateInference(Scripted(FIRST), small_config(num_beams=3))  # type: ignore[arg-type]
    [found] = several.generate_candidates_hybrid(["q"], 5)
    # Log-probabilities are 0, -1, -2, …; "SELECT a" is there twice, "select  a" is another text for it.
    assert [c.logprob for c in found] == pytest.approx([math.log(1 + math.exp(-1)), -2, -6, -3, -4])
    unlikely = [replace(c, logprob=-2000.0, text=text) for c, text in zip(found, "abcde", strict=True)]
    assert candidates._together(unlikely) == pytest.approx(math.log(5) - 2000)
    assert candidates._together([*unlikely, replace(found[0], logprob=None)]) is None
    begun = replace(found[0], text="SELECT a FROM", logprob=-0.1, finished=False)
    assert candidates._together([found[0], begun]) == found[0].logprob, "the beginning of a text is not one of them"


def test_what_was_cut_off_comes_behind_whatever_is_finished() -> None:
    samples = [("sample", s) for s in ("SELECT a, b FR…", "SELECT c…", "SELECT d", "SELECT e", "SELECT f", "SELECT g")]
    several = MultiCandidateInference(Scripted(samples), small_config())  # type: ignore[arg-type]
    [found] = several.generate_candidates_temperature_sampling(["q"], 5)
    assert [c.sql for c in found] == ["SELECT d", "SELECT e", "SELECT f", "SELECT g", "SELECT a, b FR…"]
    mixed = [
        ("beam", "SELECT a…"),
        ("beam", "SELECT b"),
        ("beam", "SELECT c"),
        ("sample", "SELECT x…"),
        ("sample", "SELECT y"),
    ]
    several = MultiCandidateInference(Scripted(mixed), small_config(num_beams=2))  # type: ignore[arg-type]
    [found] = several.generate_candidates_hybrid(["q"], 3)
    assert [c.sql for c in found] == ["SELECT b", "SELECT c", "SELECT y"]


def test_missing_candidates_are_sampled_then_repeated() -> None:
    short = [("beam", "SELECT a"), ("sample", "SELECT a")]
    rounds = [short, [("sample", "SELECT b"), ("sample", "SELECT a")], [("sample", "SELECT b")]]
    several = MultiCandidateInference(Scripted(*rounds), small_config(num_beams=3))  # type: ignore[arg-type]
    [found] = several.generate_candidates_hybrid(["q"], 5)
    assert [c.sql for c in found] == ["SELECT a", "SELECT b", "SELECT a", "SELECT b", "SELECT a"]
    assert [c.source for c in found] == ["beam", "sample", "repeat", "repeat", "repeat"]
    assert found[0].count == 3


def test_candidates_of_a_test_set_survive_a_kill(tmp_path: Path) -> None:
    """A line per question; what was written before the kill is not made again, and the whole is as unbroken."""
    config = small_config(max_new_tokens=6)
    several = MultiCandidateInference(small_generator(max_new_tokens=6), config)
    unbroken = answer_candidates(records(9), several, tmp_path / "a.jsonl", config, num_candidates=3)
    whole, calls = several.generate, iter(range(9))
    several.generate = lambda *a, **k: whole(*a, **k) if next(calls) < 1 else 1 / 0  # type: ignore
    with pytest.raises(ZeroDivisionError):
        answer_candidates(records(9), several, tmp_path / "b.jsonl", config, num_candidates=3)
    assert len((tmp_path / "b.jsonl.part").read_text().splitlines()) == 4
    several.generate = whole  # type: ignore[method-assign]
    resumed = answer_candidates(records(9), several, tmp_path / "b.jsonl", config, num_candidates=3)
    assert [line["candidates"] for line in resumed] == [line["candidates"] for line in unbroken]
    assert [line["id"] for line in resumed] == [f"q{i}" for i in range(9)]
    assert {len(line["candidates"]) for line in resumed} == {3}


def test_no_candidate_is_an_error(generator: Generator) -> None:
    with pytest.raises(InferenceError, match="num_candidates"):
        MultiCandidateInference(generator).generate(["q"], 0)
