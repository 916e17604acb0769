"""The whole stage: generate, run, repair, choose; a killed call goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from inference_tools import records, small_generator

from askguru_lib.databases.executor import Failure, Result
from askguru_lib.inference.generation import Generator
from askguru_lib.inference.pipeline import answer_and_choose, answer_and_refine


class Killed(BaseException):
    pass


class Engine:
    """Runs what holds an even number of characters; dies at the call after ``after``."""

    def __init__(self, after: int = 10_000, works: bool = True) -> None:
        self.left, self.works = after, works

    def run(self, db_id: str, sql: str) -> Result:
        ok = self.works and len(sql) % 2 == 0
        return Result(("n",), ((len(sql) % 6,),)) if ok else Result(failure=Failure("syntax", f"near {sql[:5]}"))

    def run_many(self, items: Sequence[tuple[str, str]], desc: str | None = None) -> list[Result]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return [self.run(*item) for item in items]


def generator() -> Generator:
    return small_generator(constrained=False, max_new_tokens=8, num_candidates=3, max_refine_attempts=1)


@pytest.mark.parametrize("stage", [answer_and_choose, answer_and_refine])
@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_call_goes_on(stage, after: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    questions = records(10)
    whole = stage(questions, generator(), Engine(), tmp_path / "a.jsonl")
    with pytest.raises(Killed):
        stage(questions, generator(), Engine(after), tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()
    assert stage(questions, generator(), Engine(), tmp_path / "b.jsonl") == whole
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == whole
    done = stage(questions, generator(), Engine(0), tmp_path / "b.jsonl")
    assert done == whole, "nothing is run again"
    assert [line["id"] for line in whole] == [r["id"] for r in questions]


def test_what_no_candidate_answers_is_repaired(tmp_path: Path) -> None:
    lines = answer_and_choose(records(3), generator(), Engine(works=False), tmp_path / "a.jsonl")
    assert [(line["method"], len(line["attempts"])) for line in lines] == [("failed", 2)] * 3
    assert [line["sql"] for line in lines] == [line["candidates"][0] for line in lines]
    lines = answer_and_choose(records(3), generator(), Engine(works=False), tmp_path / "b.jsonl", repair=False)
    assert [line["method"] for line in lines] == ["only"] * 3


def test_a_refined_line_keeps_what_was_tried(tmp_path: Path) -> None:
    lines = answer_and_refine(records(6), generator(), Engine(), tmp_path / "a.jsonl")
    assert {line["outcome"] for line in lines} <= {"kept", "repaired", "failed"}
    for line in lines:
        assert line["attempts"][0]["sql"] == line["first"]
        assert (line["outcome"] == "kept") == (len(line["first"]) % 2 == 0)


@pytest.mark.parametrize("stage", [answer_and_choose, answer_and_refine])
def test_lines_of_another_question_are_made_anew(stage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Even where the model's queries happen to be the same."""
    before = stage(records(2), generator(), Engine(), tmp_path / "a.jsonl")
    changed = [{**r, "evidence": "new"} for r in records(2)]
    after = stage(changed, generator(), Engine(), tmp_path / "a.jsonl")
    assert not {line["key"] for line in before} & {line["key"] for line in after}
