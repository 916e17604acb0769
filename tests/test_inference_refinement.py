"""Refinement: what does not run is asked again with the engine's words, a few times, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from inference_tools import records, small_config

from askguru_lib.databases.executor import Failure, Result
from askguru_lib.inference.generation import Generated
from askguru_lib.inference.refinement import Flips, flips, refine

GOOD, EMPTY = Result(("n",), ((1,),)), Result(("n",), ())


def engine(sql: str) -> Result:
    if sql.startswith("good"):
        return GOOD
    return EMPTY if sql.startswith("empty") else Result(failure=Failure("unknown_name", f"no such column: {sql}"))


class Engine:
    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, db_id: str, sql: str) -> Result:
        assert db_id == "shop"
        self.ran.append(sql)
        return engine(sql)

    def run_many(self, items: Sequence[tuple[str, str]], desc: str | None = None) -> list[Result]:
        return [self.run(*item) for item in items]


class Scripted:
    """A generator whose answers to each round of prompts are given."""

    def __init__(self, *rounds: Sequence[str]) -> None:
        self.config, self.rounds = small_config(constrained=False), list(rounds)
        self.prompts: list[list[str]] = []
        self.modes: list[str] = []

    def generate(self, prompts: Sequence[str], *, mode: str, **_: object) -> list[list[Generated]]:
        self.prompts.append(list(prompts))
        self.modes.append(mode)
        return [[Generated(sql, sql, -1.0, 3)] for sql in self.rounds.pop(0)]


def run(generator: Scripted, answers: Sequence[str], **options: object):  # type: ignore[no-untyped-def]
    return refine(records(len(answers)), answers, generator, Engine(), **options)  # type: ignore[arg-type]


def test_reference_defect_no_execute_refine_loop() -> None:
    generator = Scripted(["bad2", "good"], ["good too"])
    found = run(generator, ["good", "bad", "bad1"])
    assert [f.outcome for f in found] == ["kept", "repaired", "repaired"]
    assert [f.sql for f in found] == ["good", "good too", "good"]
    assert [a.sql for a in found[1].attempts] == ["bad", "bad2", "good too"]
    assert [a.failure for a in found[1].attempts] == ["unknown_name", "unknown_name", None]


def test_the_model_reads_the_query_and_what_the_engine_said() -> None:
    generator = Scripted(["good"])
    run(generator, ["bad"])
    assert "【Query】\nbad\n【Result】\nError: no such column: bad\n" in generator.prompts[0][0]


def test_at_most_so_many_attempts_then_the_first_answer() -> None:
    found = run(Scripted(["b1"], ["b2"], ["b3"]), ["bad"], max_attempts=3)
    assert (found[0].sql, found[0].outcome, len(found[0].attempts)) == ("bad", "failed", 4)


def test_fallback_is_the_first_candidate_that_runs() -> None:
    found = run(Scripted(["b1"]), ["bad"], max_attempts=1, fallbacks=[["worse", "good 2", "good 3"]])
    assert (found[0].sql, found[0].outcome) == ("good 2", "fallback")


def test_a_repeated_query_is_followed_by_a_sampled_one() -> None:
    generator = Scripted(["bad"], ["good"])
    assert run(generator, ["bad"])[0].sql == "good"
    assert generator.modes == ["greedy", "sampling"]
    assert len(run(Scripted(["bad"]), ["bad"], max_attempts=1)[0].attempts) == 2, "not a second one in the same turn"


@pytest.mark.parametrize(("asked", "expected"), [(False, "empty"), (True, "good")])
def test_an_empty_result_is_repaired_only_if_asked(asked: bool, expected: str) -> None:
    assert run(Scripted(["good"]), ["empty"], on_empty=asked)[0].sql == expected


def test_an_empty_result_is_not_given_up_for_an_error() -> None:
    found = run(Scripted(["bad"]), ["empty"], on_empty=True, max_attempts=1, fallbacks=[["good"]])
    assert (found[0].sql, found[0].outcome) == ("empty", "failed")


def test_an_attempt_that_ran_is_not_given_up_for_an_error() -> None:
    """Error, empty, error: the empty one ran."""
    found = run(Scripted(["empty"], ["bad2"], ["bad3"]), ["bad"], on_empty=True, max_attempts=3)
    assert (found[0].sql, found[0].outcome) == ("empty", "repaired")


def test_a_database_that_is_down_is_no_fault_of_the_query() -> None:
    class Down(Engine):
        def run(self, db_id: str, sql: str) -> Result:
            return Result(failure=Failure("connection", "connection refused"))

    generator = Scripted()
    [found] = refine(records(1), ["good"], generator, Down())  # type: ignore[arg-type]
    assert (found.outcome, len(found.attempts), generator.prompts) == ("failed", 1, [])


def test_the_fallback_may_be_chosen_by_a_function() -> None:
    asked: list[int] = []

    def choose(i: int) -> str | None:
        asked.append(i)
        return "good 2" if i == 1 else None

    found = run(Scripted(["b", "b"]), ["bad", "worse", "good"], max_attempts=1, fallbacks=choose)
    assert [(f.sql, f.outcome) for f in found] == [("bad", "failed"), ("good 2", "fallback"), ("good", "kept")]
    assert asked == [0, 1]


def test_no_attempt_is_allowed() -> None:
    assert run(Scripted(), ["bad", "good"], max_attempts=0)[0].sql == "bad"


def test_flips_are_counted_both_ways() -> None:
    before = {"a": True, "b": True, "c": False, "d": False, "e": False}
    after = {"a": True, "b": False, "c": True, "d": True, "e": False}
    assert flips(before, after) == Flips(repaired=2, broken=1, stayed_right=1, stayed_wrong=1)
