"""What a run reports of itself: execution accuracy, early stop, recorded figures, utilisation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from peft import LoraConfig, get_peft_model
from test_training_sft import config, samples, save_random_model, write
from transformers import AutoModelForCausalLM, TrainerControl

from askguru_lib.config import RunConfig, project_root
from askguru_lib.databases.executor import Result
from askguru_lib.errors import ConfigError, TrainingError
from askguru_lib.training.execution import EarlyStop, ExecutionAccuracy, refuse_sharded_weights, stratified
from askguru_lib.training.progress import write_csv
from askguru_lib.training.throughput import Cost, peak_flops, utilisation


def record(name: str, sql: str) -> dict:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": sql}]
    return {"task": "nl2sqlite", "db_name": name, "conversations": turns}


def test_questions_are_drawn_from_every_database_by_seed() -> None:
    records = [record("large", f"SELECT {i}") for i in range(50)] + [record("small", f"SELECT {i}") for i in range(3)]
    drawn = stratified(records, 8, seed=1)
    assert [r["db_name"] for r in drawn].count("small") == 3
    assert len(drawn) == 8
    assert drawn == stratified(records, 8, seed=1) != stratified(records, 8, seed=2)


def test_a_failing_gold_is_not_charged_to_the_model(tmp_path) -> None:
    import sqlite3

    from askguru_lib.databases.connection import DatabaseConnections

    sqlite3.connect(tmp_path / "a.sqlite").execute("CREATE TABLE t (x INT)").connection.commit()
    connections = DatabaseConnections.embedded({"a": tmp_path / "a.sqlite"})
    path = write(
        tmp_path / "v.jsonl", [record("a", "SELECT COUNT(*) FROM t"), record("a", "SELECT COUNT(*) FROM gone")]
    )
    scorer = ExecutionAccuracy(path, connections, RunConfig.build({"training": {"execution_eval_samples": 9}}))
    assert (len(scorer.records), scorer.dropped) == (1, 1)
    with pytest.raises(TrainingError, match="whose gold runs"):
        ExecutionAccuracy(write(tmp_path / "w.jsonl", [record("a", "SELECT nothing")]), connections, RunConfig.build(
            {"training": {"execution_eval_samples": 9}}))  # fmt: skip


def test_generation_under_zero_3_is_refused_rather_than_hanging() -> None:
    for stage in (2, 3):
        training = {"deepspeed": f"params/deepspeed/zero{stage}.json", "execution_eval_samples": 4}
        cfg = RunConfig.build({"training": training})
        if stage == 3:
            with pytest.raises(TrainingError, match="ZeRO stage 3"):
                refuse_sharded_weights(cfg, project_root())
        else:
            refuse_sharded_weights(cfg, project_root())


def test_processes_share_the_questions(tmp_path, monkeypatch) -> None:
    from askguru_lib.inference import generation

    scorer = ExecutionAccuracy.__new__(ExecutionAccuracy)
    scorer.records = [record("a", f"SELECT {i}") for i in range(5)]
    scorer.gold = [_rows(i) for i in range(5)]
    scorer.config, scorer.connections = RunConfig(), SimpleNamespace(dialect="sqlite")
    asked: list[str] = []

    class Knows:
        def __init__(self, *_: object) -> None: ...

        def generate(self, prompts):
            asked.extend(prompts)
            return [[SimpleNamespace(sql="SELECT 3")] for _ in prompts]

    monkeypatch.setattr(generation, "Generator", Knows)
    monkeypatch.setattr(scorer, "_run", lambda queries: [_rows(3) for _ in queries])
    network = SimpleNamespace(training=False, config=SimpleNamespace(use_cache=False), eval=lambda: None,
                              train=lambda mode: None)  # fmt: skip
    parts = [scorer.score(network, None, rank, 2) for rank in (0, 1)]
    assert parts == [(0, 3), (1, 2)]
    assert len(asked) == 5


def _rows(value: int) -> Result:
    fields = Result.__dataclass_fields__
    given = {"rows": [(value,)], "columns": ["x"], "error": None, "elapsed_ms": 1.0, "truncated": False}
    return Result(**{k: v for k, v in given.items() if k in fields})


def test_early_stop_depends_on_the_history_alone() -> None:
    def stops(*values: float) -> bool:
        control = TrainerControl()
        history = [{"loss": 1.0}, *({"eval_ex": v} for v in values)]
        EarlyStop(2).on_evaluate(None, SimpleNamespace(log_history=history), control)
        return control.should_training_stop

    assert not stops(0.1, 0.2, 0.2)
    assert stops(0.1, 0.2, 0.2, 0.1)
    assert not stops(0.1, 0.2, 0.2, 0.3)


def test_early_stop_needs_something_to_watch() -> None:
    with pytest.raises(ConfigError, match="execution_eval_samples above 0"):
        RunConfig.build({"training": {"early_stop_patience": 2}})


def test_the_table_has_a_column_for_whatever_was_recorded(tmp_path) -> None:
    log = write(tmp_path / "log.jsonl", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "router_balance": 0.5}])
    header, *rows = write_csv(log).read_text().splitlines()
    assert header.startswith("step,epoch,loss")
    assert header.endswith("router_balance")
    assert rows[1].endswith("0.5")


def test_flops_of_lora_are_counted_by_hand(tmp_path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_random_model(tmp_path))
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    cost = Cost.of(adapted)
    frozen, trained = 2 * (4 * 32 * 32 + 3 * 32 * 48), 2 * 4 * (32 + 32)
    assert cost.token == 4 * frozen + 6 * trained
    assert cost.context == 12 * 2 * 32
    assert cost.head == 4 * 32 * model.config.vocab_size
    assert cost.flops(10, 55, 3) == 10 * cost.token + 55 * cost.context + 3 * cost.head


def test_utilisation_names_its_peak_and_does_not_guess() -> None:
    peak, source = peak_flops("cpu", bf16=False)
    assert peak
    assert peak > 1e8
    assert "timed" in source
    assert utilisation(peak, 2.0, "cpu", bf16=False) == pytest.approx(0.5)
    assert peak_flops("npu") == (None, "unknown: npu")
    assert utilisation(1e12, 1.0, "npu") is None


def test_execution_accuracy_and_recorded_figures_reach_history_and_log(tmp_path, monkeypatch) -> None:
    from askguru_lib.data.files import read_records
    from askguru_lib.training import sft
    from askguru_lib.training.trainer import DeepCustomTrainer

    scores = iter([(1, 4), (3, 4), (2, 4), (2, 4), (2, 4)])
    monkeypatch.setattr(sft, "_execution_accuracy", lambda *_: SimpleNamespace(score=lambda *a: next(scores)))
    seen: list[DeepCustomTrainer] = []
    loss = DeepCustomTrainer.compute_loss

    def watched(self, *args, **options):
        seen.append(self)
        self.record("constant", 2.0)
        return loss(self, *args, **options)

    monkeypatch.setattr(DeepCustomTrainer, "compute_loss", watched)
    base = save_random_model(tmp_path / "base")
    paths = write(tmp_path / "t.jsonl", samples(12)), write(tmp_path / "v.jsonl", samples(2))
    cfg = config(base, max_steps=9, eval_steps=1, save_steps=1, execution_eval_samples=4, early_stop_patience=2)
    result = sft.train(cfg, *paths, tmp_path / "model")
    history = [h for h in seen[-1].state.log_history if "eval_ex" in h]
    assert [(h["eval_ex"], h["eval_ex_n"]) for h in history] == [(0.25, 4), (0.75, 4), (0.5, 4), (0.5, 4)]
    assert (seen[-1].state.global_step, seen[-1].state.best_global_step) == (4, 2)
    log = read_records(result.log)
    assert [r["eval_ex"] for r in log if "eval_ex" in r] == [0.25, 0.75, 0.5, 0.5]
    steps = [r for r in log if "loss" in r]
    assert all(r["constant"] == 2.0 and 0 <= r["token_accuracy"] <= 1 and r["mfu"] > 0 for r in steps)
    assert result.metrics["eval_loss"] == history[1]["eval_loss"]
