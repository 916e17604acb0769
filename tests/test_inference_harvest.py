"""The second round: a model's own mistakes as samples that look exactly like what critic and refinement show later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from types import SimpleNamespace
from typing import Any

import pytest
from inference_tools import shop

from askguru_lib.config import RunConfig
from askguru_lib.data.assembly import assemble_dataset
from askguru_lib.data.files import read_records, write_json, write_jsonl
from askguru_lib.data.leakage import check_leakage
from askguru_lib.databases.executor import Failure, Result
from askguru_lib.inference.candidates import Candidate
from askguru_lib.inference.critic import SQLCritic, likelihoods
from askguru_lib.inference.harvest import HarvestReport, fresh, harvest
from askguru_lib.inference.predictions import question_prompt
from askguru_lib.inference.refinement import attempt, refine_prompt

CONFIG = RunConfig.build({"inference": {"batch_size": 2, "num_candidates": 4, "constrained": False}})
LOOP = "SELECT 1 FROM t WHERE " + "a = 1 AND " * 40


class Engine:
    """``SELECT n`` returns n, ``LONG`` a long text, ``EMPTY`` nothing; all else fails, and the message quotes it."""

    def run_many(self, items: Sequence[tuple[str, str]], desc: str | None = None) -> list[Result]:
        return [self.run(sql) for _, sql in items]

    def run(self, sql: str) -> Result:
        value = sql.removeprefix("SELECT ")
        if value.replace(".", "").isdigit():
            return Result(("n",), ((float(value),),))
        if sql.startswith("LONG"):
            return Result(("n",), (("long " * 20 + value,),))
        if sql.startswith("EMPTY"):
            return Result(("n",), ())
        if sql.startswith("GONE"):
            return Result(failure=Failure("connection", "no such host"))
        return Result(failure=Failure("syntax", f"near {sql[:9]}"))


class Killed(BaseException):
    pass


class Scripted:
    """Answers the question of a prompt with the candidates that a script has for it, the first the likeliest."""

    def __init__(self, script: dict[str, list[str]], after: int = 1000, config: RunConfig = CONFIG) -> None:
        self.script, self.left = script, after
        self.config = config
        self.generator: Any = SimpleNamespace(config=config, fingerprint="scripted")

    def generate(self, prompts: Sequence[str], n: int, **_: Any) -> list[list[Candidate]]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        found = []
        for prompt in prompts:
            [question] = [q for q in self.script if f"{q}\n" in prompt]
            sqls = self.script[question]
            sources = ["repeat" if sql in sqls[:i] else "beam" for i, sql in enumerate(sqls)]
            found.append([Candidate(sql, sql, -float(i), 9, source, finished=not sql.startswith("SELECT 1 FROM"))
                          for i, (sql, source) in enumerate(zip(sqls, sources, strict=True))])  # fmt: skip
        return found


def records(script: dict[str, list[str]]) -> list[dict[str, str]]:
    """A record per question; the gold of all is ``SELECT 7.0``, which is not how any candidate writes it."""
    schema = shop().to_mschema()
    return [
        {"id": f"q{i}", "db_name": "shop", "question": question, "evidence": "", "db_schema": schema,
         "sql": "SELECT 7.0", "sql_type": "sqlite"}
        for i, question in enumerate(script)
    ]  # fmt: skip


def made(script: dict[str, list[str]], folder: Path, **options: Any) -> tuple[HarvestReport, list[Any], list[Any]]:
    several: Any = Scripted(script, **options)
    engine: Any = Engine()
    report = harvest(records(script), several, engine, folder, several.config)
    return report, read_records(report.refine), read_records(report.select)


def many(n: int) -> dict[str, list[str]]:
    """Questions with two, three and four different results, the right one at varying places of the vote."""
    script = {}
    for i in range(n):
        sqls = [f"SELECT {k}" for k in (1, 2, 3)][: i % 3 + 1]
        sqls.insert(i % (len(sqls) + 1), "SELECT 7")
        script[f"What is number {i}?"] = [*sqls, *["broken query"] * (4 - len(sqls))]
    return script


def test_failing_candidates_are_repaired_into_the_gold(tmp_path: Path) -> None:
    report, repairs, choices = made({"Which?": ["bad one", "SELECT 7", "bad two", "bad one"]}, tmp_path)
    assert [s["pred_sql_res"] for s in repairs] == [
        ["bad one", "Error: near bad one"],
        ["bad two", "Error: near bad two"],
    ]
    assert {s["sql"] for s in repairs} == {"SELECT 7.0"}
    assert report.candidates == {"right": 1, "wrong": 0, "failing": 2}, "a repeat is not counted twice"
    assert report.samples == {"self_refine": 2, "sql_select": 0}
    assert not choices


def test_different_messages_come_first_and_a_question_gives_few(tmp_path: Path) -> None:
    alike = ["same same 1", "same same 2", "other", "SELECT 7"]
    _, repairs, _ = made({"Which?": alike}, tmp_path)
    assert [s["pred_sql_res"][0] for s in repairs] == ["same same 1", "other"]


def test_of_loops_one_is_shown_and_last_and_an_unreachable_database_teaches_nothing(tmp_path: Path) -> None:
    script = {"Which?": [LOOP, LOOP + "b", "short one", "GONE away"], "What?": [LOOP, "GONE away", "SELECT 7", LOOP]}
    report, repairs, _ = made(script, tmp_path)
    assert [s["pred_sql_res"][0] for s in repairs] == ["short one", LOOP, LOOP]
    assert report.loops == 1


@pytest.mark.parametrize(
    ("candidates", "fate"),
    [
        (["SELECT 7", "SELECT 7.00", "bad", "SELECT 7"], "nothing to choose"),
        (["SELECT 7", "EMPTY one", "bad", "bad"], "nothing to choose"),
        (["bad", "bad", "worse", "bad"], "nothing to choose"),
        (["SELECT 1", "SELECT 2", "bad", "bad"], "none right"),
        (["SELECT 1", "SELECT 7.0000001", "SELECT 7.001", "bad"], "learnt from"),
        (["SELECT 1", "SELECT 7", "bad", "bad"], "learnt from"),
    ],
    ids=["all agree", "rows beat emptiness", "none runs", "none right", "near", "they disagree"],
)
def test_only_disagreement_gives_a_choice(candidates: list[str], fate: str, tmp_path: Path) -> None:
    report, _, choices = made({"Which?": candidates}, tmp_path)
    assert report.questions == {fate: 1}
    assert bool(choices) == (fate == "learnt from")


def test_results_that_look_alike_in_the_prompt_teach_nothing(tmp_path: Path) -> None:
    several: Any = Scripted({"Which?": ["LONG a", "LONG b", "bad", "bad"]})
    engine: Any = Engine()
    [record] = records(several.script)
    report = harvest([{**record, "sql": "LONG a"}], several, engine, tmp_path, CONFIG)
    assert report.candidates == {"right": 1, "wrong": 1, "failing": 1}
    assert report.questions == {"look alike": 1}


def test_the_right_option_is_the_models_own_candidate(tmp_path: Path) -> None:
    _, _, choices = made(many(12), tmp_path)
    assert choices
    for sample in choices:
        options = [c["sql"] for c in sample["candidates"]]
        assert options[sample["answer"]] == "SELECT 7"
        assert sample["sql"] not in options, "the gold's own text is not shown"
        results = [c["result"] for c in sample["candidates"]]
        assert len(set(results)) == len(results) >= 2
        assert not any("Error" in r or "(no rows)" in r for r in results)


def test_no_letter_is_favoured(tmp_path: Path) -> None:
    _, _, choices = made(many(12), tmp_path)
    for size in (2, 3, 4):
        places = Counter(s["answer"] for s in choices if len(s["candidates"]) == size)
        assert set(places) == set(range(size))
        assert len(set(places.values())) == 1


def test_a_gold_that_fails_is_counted_and_left_out(tmp_path: Path) -> None:
    script = {"Which?": ["SELECT 1", "SELECT 7", "bad", "bad"]}
    several: Any = Scripted(script)
    engine: Any = Engine()
    [record] = records(script)
    report = harvest([{**record, "sql": "broken gold"}], several, engine, tmp_path, CONFIG)
    assert report.questions == {"gold failed": 1}
    assert report.samples == {"self_refine": 0, "sql_select": 0}


def test_no_questions_give_empty_files(tmp_path: Path) -> None:
    report, repairs, choices = made({}, tmp_path)
    assert repairs == choices == []
    assert report.samples == {"self_refine": 0, "sql_select": 0}


def test_a_killed_harvest_goes_on(tmp_path: Path) -> None:
    script = many(7)
    report, *whole = made(script, tmp_path / "a")
    with pytest.raises(Killed):
        made(script, tmp_path / "b", after=2)
    again, *rest = made(script, tmp_path / "b", after=2)
    assert rest == whole, "two of the four batches are not made again"
    assert again.samples == report.samples
    made(script, tmp_path / "b", after=0)


def test_fresh_questions_share_neither_question_nor_query_with_training() -> None:
    pool = [{**r, "sql": f"SELECT {i} FROM t"} for i, r in enumerate(records(many(4)))]
    trained = [
        {**pool[0], "sql": "SELECT 99"},
        {**pool[1], "question": "Something else", "sql": "select 1  from T -- the same query"},
        {**pool[2], "db_name": "another database"},
    ]
    left = fresh(pool, trained)
    assert [r["id"] for r in left] == ["q2", "q3"]
    assert not check_leakage(left, trained)


# -- the samples reach the training set as the model will meet them ---------------------------------------------------


class Words:
    def apply_chat_template(self, conversations: list, tokenize: bool, return_dict: bool) -> list[list[int]]:
        return [[0] * sum(len(turn["content"].split()) for turn in turns) for turns in conversations]


def test_a_round_without_mistakes_leaves_the_other_sources_as_they_are(tmp_path: Path) -> None:
    _, repairs, _ = made(many(12), tmp_path / "earlier")
    report, *_ = made({}, tmp_path)
    write_jsonl(tmp_path / "mutations.jsonl", repairs)
    entries = {
        "own": {"data_path": report.refine.name, "task_name": "self_refine"},
        "mutations": {"data_path": "mutations.jsonl", "task_name": "self_refine", "sample_num": 3},
    }
    mix = {"total": 10, "nl2sql": 0, "self_refine": 1, "sql_select": 0, "validation_share": 0}
    config = RunConfig.build({**CONFIG.dump(), "assembly": mix})
    listing = write_json(tmp_path / "datasets.json", entries)
    assembled = assemble_dataset(listing, tmp_path, config=config, tokenizer=Words(), test_sets=[])
    assert {s["source"] for s in read_records(assembled.train)} == {"mutations"}


@pytest.mark.parametrize("order", ["schema_first", "question_first"])
def test_the_assembled_prompts_are_those_that_critic_and_refinement_show(order: str, tmp_path: Path) -> None:
    shares = {"nl2sql": 0, "self_refine": 0.5, "sql_select": 0.5, "validation_share": 0.05}
    model = {"prompt_order": order}
    config = RunConfig.build({**CONFIG.dump(), "model": model, "assembly": {"total": 60, **shares}})
    script = many(40)
    report, repairs, _ = made(script, tmp_path, config=config)
    entries = {
        "own repairs": {"data_path": report.refine.name, "task_name": "self_refine"},
        "own choices": {"data_path": report.select.name, "task_name": "sql_select"},
    }
    listing = write_json(tmp_path / "datasets.json", entries)
    (own := tmp_path / "round").mkdir()
    options: Any = {"config": config, "tokenizer": Words(), "test_sets": []}
    assembled = assemble_dataset(listing, own, **options)
    samples = read_records(assembled.train) + read_records(assembled.validation)
    assert {s["task"] for s in samples} == {"self_refine", "sql_select"}

    generator: Any = SimpleNamespace(config=config)
    critic, engine = SQLCritic(generator, enabled=True), Engine()
    for sample in samples:
        [record] = [r for r in records(script) if r["question"] == sample["question"]]
        asked, answered = (turn["content"] for turn in sample["conversations"])
        if sample["task"] == "self_refine":
            failed = [attempt(s["pred_sql_res"][0], engine.run(s["pred_sql_res"][0])) for s in repairs]
            assert asked in [refine_prompt(record, f, generator) for f in failed]
            assert answered == record["sql"]
            continue
        [candidates] = Scripted(script).generate([question_prompt(record, config)], 4)
        sqls = [c.sql for c in candidates]
        item = {
            **record, "candidates": sqls, "results": [engine.run(sql) for sql in sqls],
            "weights": likelihoods([vars(c) for c in candidates]),
        }  # fmt: skip
        shown = [group[0] for group in critic.groups(item)]
        orders = [[*shown[k:], *shown[:k]] for k in range(len(shown))]
        [mine] = [o for o in orders if critic.prompt(item, o) == asked]
        assert sqls[mine[ascii_uppercase.index(answered)]] == "SELECT 7"
