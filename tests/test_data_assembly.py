"""Assembly: the mix is met, nothing stands twice, nothing too long, nothing from the tests, and all by one seed."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from askguru_lib.config import RunConfig
from askguru_lib.data.assembly import assemble_dataset, check_leakage
from askguru_lib.data.files import read_json, read_records, write_json, write_jsonl
from askguru_lib.data.prompts import DIALECT_NAMES
from askguru_lib.errors import DataError, MissingArtifactError

SCHEMA = """【DB_ID】 {db}
【Schema】
# Table: orders
[
(id:INTEGER, Primary Key),
(customer_id:INTEGER),
(status:TEXT, Examples: [open, done]),
(amount:REAL),
(note:TEXT)
]
# Table: customers
[
(id:INTEGER, Primary Key),
(name:TEXT, Examples: [Ann, Bob]),
(city:TEXT)
]
【Foreign keys】
orders.customer_id=customers.id"""


class Words:
    """A tokenizer whose tokens are words."""

    def apply_chat_template(self, conversations: list, tokenize: bool, return_dict: bool) -> list[list[int]]:
        return [[0] * sum(len(turn["content"].split()) for turn in turns) for turns in conversations]


def nl2sql(db: str, n: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"idx": i, "id": f"{db}-{i}", "db_name": db, "question": f"Which orders are above {i}?", "evidence": "",
         "db_schema": SCHEMA.format(db=db), "sql": f"SELECT id FROM orders WHERE amount > {i}", "sql_type": "sqlite",
         "difficulty": "simple"}
        for i in range(first, first + n)
    ]  # fmt: skip


def refine(record: dict[str, Any]) -> dict[str, Any]:
    record = {k: v for k, v in record.items() if k != "difficulty"}
    return {**record, "pred_sql_res": [record["sql"].replace("amount", "amounts"), "Error: no such column: amounts"]}


def select(record: dict[str, Any], answer: int = 1) -> dict[str, Any]:
    wrong = {"sql": "SELECT COUNT(*) FROM orders", "result": "COUNT(*)\n7"}
    candidates = [wrong, {**wrong, "sql": "SELECT 1"}]
    candidates.insert(answer, {"sql": record["sql"], "result": "id\n1\n2"})
    return {**record, "candidates": candidates, "answer": answer}


class Project:
    """Sources on disk, and the call under test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, dict[str, Any]] = {}

    def add(self, name: str, records: list[dict[str, Any]], task: str, **fields: Any) -> Project:
        write_jsonl(self.root / "processed" / f"{name}.jsonl", records)
        self.entries[name] = {"data_path": f"../processed/{name}.jsonl", "task_name": task, **fields}
        return self

    def config(self, max_length: int = 2048, seed: int = 7, **assembly: Any) -> RunConfig:
        return RunConfig.build(
            {
                "seed": seed,
                "databases": {"targets": ["plant"], "training": ["library"], "unseen": ["airline"]},
                "assembly": {"total": 300, "validation_share": 0.1, **assembly},
                "training": {"max_length": max_length},
                "augmentation": {"translate": 0.5},
            }
        )

    def assemble(self, config: RunConfig | None = None, **options: Any) -> Any:
        path = write_json(self.root / "training" / "datasets.json", self.entries)
        options.setdefault("tokenizer", Words())
        return assemble_dataset(path, self.root / "training", config=config or self.config(), **options)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Enough of every task, on a target and on a training-only database."""
    records = nl2sql("plant", 400) + nl2sql("library", 200)
    project = Project(tmp_path).add("main", records, "nl2sqlite", data_aug=True)
    project.add("wrong", [refine(r) for r in records], "self_refine")
    return project.add("choose", [select(r, i % 3) for i, r in enumerate(records)], "sql_select")


def everything(report: Any) -> list[dict[str, Any]]:
    return read_records(report.train) + read_records(report.validation)


def group(sample: dict[str, Any]) -> str:
    return sample["task"] if sample["task"] in ("self_refine", "sql_select") else "nl2sql"


# -- the mix ------------------------------------------------------------------------------------------------------


def test_total_and_mix_are_met_on_both_sides(project: Project) -> None:
    report = project.assemble()
    for path, total in ((report.train, 270), (report.validation, 30)):
        samples = read_records(path)
        share = {g: n / total for g, n in Counter(map(group, samples)).items()}
        assert len(samples) == total
        assert share == pytest.approx({"nl2sql": 0.7, "self_refine": 0.2, "sql_select": 0.1}, abs=0.01)
    assert report.shortages == []


def test_replay_share_comes_from_training_only_databases(project: Project) -> None:
    report = project.assemble(project.config(replay_fraction=0.4))
    for path, name in product((report.train, report.validation), ("nl2sql", "self_refine", "sql_select")):
        databases = [s["db_name"] for s in read_records(path) if group(s) == name]
        assert abs(databases.count("library") - 0.4 * len(databases)) <= 1


def test_a_short_source_shrinks_the_total_and_keeps_the_proportions(project: Project) -> None:
    project.add("wrong", [refine(r) for r in nl2sql("plant", 30)], "self_refine")
    report = project.assemble(project.config(validation_share=0, replay_fraction=0))
    counts = report.counts["train"]
    assert counts["self_refine"] == 30
    assert counts["nl2sql"] == pytest.approx(105, abs=1)
    assert any("self_refine has 30" in s for s in report.shortages)


def test_missing_replay_is_filled_from_the_targets_and_reported(project: Project) -> None:
    project.add("wrong", [refine(r) for r in nl2sql("plant", 400)], "self_refine")
    report = project.assemble()
    assert report.counts["train"] == {"samples": 270, "nl2sql": 189, "self_refine": 54, "sql_select": 27}
    assert any("self_refine has 0 of" in s for s in report.shortages)


def test_a_task_of_the_mix_without_a_source_is_an_error(project: Project) -> None:
    del project.entries["choose"]
    with pytest.raises(DataError, match="10% sql_select"):
        project.assemble()


def test_a_mix_may_leave_a_task_out(project: Project) -> None:
    del project.entries["choose"]
    report = project.assemble(project.config(nl2sql=0.8, self_refine=0.2, sql_select=0))
    assert report.counts["train"] == {"samples": 270, "nl2sql": 216, "self_refine": 54}


# -- augmentation, sample_num, sum_num ----------------------------------------------------------------------------


def test_a_small_augmented_source_gives_many_different_samples(tmp_path: Path) -> None:
    project = Project(tmp_path).add("main", nl2sql("plant", 30), "nl2sqlite", data_aug=True)
    config = project.config(nl2sql=1, self_refine=0, sql_select=0, validation_share=0)
    samples = read_records(project.assemble(config).train)
    assert len(samples) == 300
    assert len({json.dumps(s["conversations"]) for s in samples}) == 300
    assert len({s["question"] for s in samples}) == 30
    assert sum(s["augmented"] for s in samples) > 250


def test_without_augmentation_every_record_is_used_once(tmp_path: Path) -> None:
    project = Project(tmp_path).add("main", nl2sql("plant", 30), "nl2sqlite")
    config = project.config(nl2sql=1, self_refine=0, sql_select=0, validation_share=0)
    samples = read_records(project.assemble(config).train)
    assert len(samples) == 30
    assert not any(s["augmented"] for s in samples)


def test_data_aug_may_be_a_share(tmp_path: Path) -> None:
    project = Project(tmp_path).add("main", nl2sql("plant", 600), "nl2sqlite", data_aug=0.3)
    config = project.config(nl2sql=1, self_refine=0, sql_select=0, validation_share=0)
    samples = read_records(project.assemble(config).train)
    assert sum(s["augmented"] for s in samples) / 300 == pytest.approx(0.3, abs=0.1)


def test_sample_num_limits_distinct_records_and_sum_num_all_samples(tmp_path: Path) -> None:
    project = Project(tmp_path).add("main", nl2sql("plant", 90), "nl2sqlite", data_aug=True, sample_num=20, sum_num=55)
    config = project.config(nl2sql=1, self_refine=0, sql_select=0, validation_share=0)
    samples = read_records(project.assemble(config).train)
    assert len(samples) == 55
    assert len({s["question"] for s in samples}) == 20


def test_validation_is_not_augmented(project: Project) -> None:
    assert not any(s["augmented"] for s in read_records(project.assemble().validation))


def test_only_generation_is_augmented(project: Project) -> None:
    project.entries["wrong"]["data_aug"] = True
    samples = read_records(project.assemble().train)
    assert not any(s["augmented"] for s in samples if s["task"] == "self_refine")


# -- what is left out ---------------------------------------------------------------------------------------------


def test_no_conversation_stands_twice(project: Project) -> None:
    records = nl2sql("plant", 400)
    project.add("again", [{**r, "question": r["question"].upper() + "!"} for r in records], "nl2sqlite")
    report = project.assemble()
    conversations = [json.dumps(s["conversations"]) for s in everything(report)]
    assert len(set(conversations)) == len(conversations)
    assert report.set_aside["duplicate"] == 400


def test_over_long_samples_are_set_aside_counted_and_replaced(project: Project) -> None:
    records = nl2sql("plant", 400) + nl2sql("library", 200)
    for record in records[::5]:
        record["evidence"] = "word " * 500
    project.add("main", records, "nl2sqlite")
    report = project.assemble(project.config(max_length=300))
    set_aside = read_records(report.train.with_name("over_long.jsonl"))
    assert report.counts["train"]["samples"] == 270
    assert len(set_aside) == report.set_aside["over_long"] > 0
    assert min(s["tokens"] for s in set_aside) > 300 >= max(s["tokens"] for s in everything(report))


def test_a_bad_record_is_set_aside_with_its_place_and_reason(project: Project) -> None:
    good = [select(r) for r in nl2sql("plant", 200) + nl2sql("library", 60)]
    bad = [{**good[0], "answer": 9}, {**good[1], "candidates": "A"}, {"question": "?"}]
    project.add("choose", [*bad, *good[2:]], "sql_select")
    report = project.assemble()
    rejected = read_records(report.train.with_name("rejected.jsonl"))
    assert report.set_aside["malformed"] == 3
    assert [(r["source"], r["idx"]) for r in rejected] == [("choose", 0), ("choose", 1), ("choose", 2)]
    assert "'answer' must be the number of a candidate, got 9" in rejected[0]["message"]


def test_a_record_of_another_dialect_than_the_task_is_set_aside(project: Project) -> None:
    records = nl2sql("plant", 200)
    records[3] = {**records[3], "sql_type": "postgresql"}
    report = project.add("nl", records, "nl2sqlite").assemble()
    (rejected,) = [
        r
        for r in read_records(report.train.with_name("rejected.jsonl"))
        if r["source"] == "nl" and r["reason"] == "malformed"
    ]
    assert rejected["idx"] == 3
    assert "'sql_type' is postgresql, but the task is nl2sqlite" in rejected["message"]


def test_train_and_validation_share_no_question_and_no_query(project: Project) -> None:
    report = project.assemble()
    assert check_leakage(read_records(report.train), {"validation": read_records(report.validation)}) == []


def test_a_wrong_entry_names_entry_and_field(project: Project) -> None:
    project.entries["main"]["sum_nun"] = 3
    with pytest.raises(DataError, match=r"entry 'main': 'sum_nun'"):
        project.assemble()


def test_a_missing_model_says_so(project: Project) -> None:
    config = project.config().model_copy(update={"model": RunConfig().model.model_copy(update={"name_or_path": "/no"})})
    with pytest.raises(MissingArtifactError, match=r"model\.name_or_path: /no"):
        project.assemble(config, tokenizer=None)


# -- leakage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("question", {"question": "which ORDERS are above 3", "sql": "SELECT 1"}),
        ("sql", {"question": "?", "sql": "select  ID from ORDERS where Amount > 3 -- same"}),
    ],
)
def test_leaks_are_found_through_case_spacing_and_comments(kind: str, change: dict[str, str]) -> None:
    train = nl2sql("plant", 10)
    (leak,) = check_leakage(train, {"test_target": [{**train[0], "id": "t1", **change}]})
    assert (leak.kind, leak.train_id, leak.test_set, leak.test_id) == (kind, "plant-3", "test_target", "t1")


def test_the_same_question_on_another_database_is_no_leak() -> None:
    assert check_leakage(nl2sql("plant", 10), nl2sql("airline", 10)) == []


def test_reference_defect_test_sql_in_training_and_validation(project: Project) -> None:
    write_jsonl(project.root / "processed" / "test_target.jsonl", nl2sql("plant", 1, first=5))
    with pytest.raises(DataError, match="leaks into training"):
        project.assemble()
    assert not (project.root / "training" / "train.jsonl").exists()


def test_an_unseen_database_may_not_be_trained_on(project: Project) -> None:
    project.add("more", nl2sql("airline", 5), "nl2sqlite")
    with pytest.raises(DataError, match="5 by database"):
        project.assemble()


def test_a_rewriting_that_is_a_test_query_is_not_used(tmp_path: Path) -> None:
    records = [{**nl2sql("plant", 1)[0], "sql": "SELECT id FROM orders WHERE amount BETWEEN 1 AND 2"}]
    test = {**records[0], "question": "other?", "sql": "SELECT id FROM orders WHERE amount >= 1 AND amount <= 2"}
    project = Project(tmp_path).add("main", records, "nl2sqlite", data_aug=True)
    write_jsonl(tmp_path / "processed" / "test_target.jsonl", [test])
    config = project.config(nl2sql=1, self_refine=0, sql_select=0, validation_share=0)
    report = project.assemble(config)
    assert {s["sql"] for s in read_records(report.train)} == {records[0]["sql"]}
    assert report.set_aside["rewritten_into_test"] > 0


# -- repeatable ---------------------------------------------------------------------------------------------------


def test_one_seed_one_output_byte_for_byte(project: Project, tmp_path: Path) -> None:
    names = ("train.jsonl", "val.jsonl", "over_long.jsonl", "rejected.jsonl", "data_card.json")
    report = project.assemble()
    first = {n: report.train.with_name(n).read_bytes() for n in names}
    for n in names:
        report.train.with_name(n).unlink()
    project.assemble()
    assert {n: report.train.with_name(n).read_bytes() for n in names} == first
    project.assemble(project.config(seed=8))
    assert report.train.read_bytes() != first["train.jsonl"]


def test_unchanged_inputs_are_not_assembled_again(project: Project) -> None:
    first = project.assemble()
    stamp = first.train.stat().st_mtime_ns
    assert project.assemble(tokenizer=object()) == first
    assert first.train.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", ["source", "output", "parameter"])
def test_a_change_is_noticed(project: Project, change: str) -> None:
    first = project.assemble()
    stamp = first.train.stat().st_mtime_ns
    if change == "source":
        project.add("choose", [select(r) for r in nl2sql("plant", 300, 9) + nl2sql("library", 99)], "sql_select")
    elif change == "output":
        first.train.write_text("torn")
    again = project.assemble(project.config(total=250) if change == "parameter" else None)
    assert again.train.stat().st_mtime_ns != stamp
    assert len(read_records(again.train)) == (225 if change == "parameter" else 270)


def test_the_card_counts_what_the_files_hold(project: Project) -> None:
    report = project.assemble()
    card, samples = read_json(report.card), read_records(report.train)
    assert card["train"]["samples"] == len(samples)
    assert card["train"]["by_database"] == Counter(s["db_name"] for s in samples)
    assert card["train"]["tokens"]["total"] == sum(s["tokens"] for s in samples)
    assert set(card["train"]["by_difficulty"]) == {"simple"}, "also of records that do not say"
    assert card["train"]["augmented"] == sum(s["augmented"] for s in samples)
    assert {"manifest.json", "datasets.json"} <= {p.name for p in report.card.parent.iterdir()}


# -- tasks and dialects -------------------------------------------------------------------------------------------


def test_prompt_and_answer_of_each_task(project: Project) -> None:
    for sample in everything(project.assemble()):
        user, assistant = sample["conversations"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        if sample["task"] == "sql_select":
            index = "ABC".index(assistant["content"])
            shown = user["content"].split("【Candidate ")[1 + index]
            assert shown.startswith(f"{assistant['content']}】\n{sample['sql']}\n")
        else:
            assert assistant["content"] == sample["sql"]
        assert ("amounts" in user["content"]) == (sample["task"] == "self_refine")


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_reference_defect_dialects_without_a_branch(tmp_path: Path, dialect: str) -> None:
    """The reference had no branch for MySQL, nGQL, selection, and refinement beyond SQLite."""
    graph = dialect in ("cypher", "ngql")
    records = [
        {**r, "sql_type": dialect, "db_schema": "(:Person {name})" if graph else r["db_schema"]}
        for r in nl2sql("plant", 50)
    ]
    project = Project(tmp_path).add("main", records, f"nl2{dialect}", data_aug=True)
    project.add("wrong", [refine(r) for r in records], "self_refine")
    project.add("choose", [select(r) for r in records], "sql_select")
    report = project.assemble(project.config(total=20, validation_share=0))
    samples = read_records(report.train)
    assert Counter(map(group, samples)) == {"nl2sql": 14, "self_refine": 4, "sql_select": 2}
    for sample in samples:
        assert sample["sql_type"] == dialect
        assert DIALECT_NAMES[dialect] in sample["conversations"][0]["content"]


def test_lengths_are_those_of_the_rendered_conversation(project: Project, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    letters = {c: i for i, c in enumerate(["<s>", "</s>", "[INST]", "[/INST]", *pre_tokenizers.ByteLevel.alphabet()])}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path / "model")
    model = RunConfig().model.model_copy(update={"name_or_path": str(tmp_path / "model")})
    report = project.assemble(project.config().model_copy(update={"model": model}), tokenizer=None)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    for sample in read_records(report.train)[:5]:
        rendered = loaded.apply_chat_template(sample["conversations"], tokenize=True, return_dict=True)
        assert sample["tokens"] == len(rendered["input_ids"])
