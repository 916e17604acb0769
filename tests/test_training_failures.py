"""What stops a run: no weight is spoilt, the batch is kept, and the advice can be followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_training_sft import StopAt, byte_tokenizer, config, samples, save_random_model, weights, write
from transformers import TrainerCallback

from askguru_lib.config import RunConfig
from askguru_lib.errors import TrainingError
from askguru_lib.training.failures import FiniteGradients, Watch, memory_explained, what_to_lower
from askguru_lib.training.resume import fingerprint, last_checkpoint, prepare, resumable
from askguru_lib.training.sft import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, None]:
    return write(tmp_path / "train.jsonl", samples(24)), None


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_touched(base, data, tmp_path) -> None:
    kept = {}

    class Poison(TrainerCallback):
        """A finite loss with a gradient that is none, as an overflow in the backward pass gives."""

        def on_step_begin(self, args, state, control, model, **kwargs):
            if state.global_step == 2:
                trained = next(p for p in model.parameters() if p.requires_grad)
                trained.register_hook(lambda grad: grad * float("nan"))
                kept["weight"], kept["was"] = trained, trained.detach().clone()

    with pytest.raises(TrainingError, match="step 3: the gradient is not finite"):
        train(config(base, save_steps=1, logging_steps=50), *data, tmp_path / "model", callbacks=[Poison()])
    assert torch.equal(kept["weight"], kept["was"])
    assert last_checkpoint(tmp_path / "model" / "checkpoints").name == "checkpoint-2"
    rows = [json.loads(line) for line in (tmp_path / "model" / "bad_batch.jsonl").read_text().splitlines()]
    assert [r["row"] for r in rows] == [0, 1, 2, 3]  # two micro batches of two
    assert all(r["step"] == 3 and r["loss"] > 0 and "SELECT" in r["text"] and r["ids"][0] == 1 for r in rows)


def test_the_batch_of_a_loss_that_is_no_number_is_readable_json(tmp_path) -> None:
    watch = Watch(tmp_path, byte_tokenizer(), rank=3, step=7)
    with pytest.raises(TrainingError, match="step 7: the loss is nan"):
        watch.learnt(torch.tensor([[1, 70, 71]]), torch.tensor(float("nan")))
    (row,) = (json.loads(x, parse_constant=pytest.fail) for x in (tmp_path / "bad_batch.rank3.jsonl").open())
    assert row["loss"] == "nan"


def test_finite_gradients_pass(tmp_path) -> None:
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    FiniteGradients(Watch(tmp_path, byte_tokenizer())).on_pre_optimizer_step(None, None, None, model=layer)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)  # fmt: skip
def test_out_of_memory_says_at_which_size_and_what_to_lower(error, tmp_path) -> None:
    watch = Watch(tmp_path, byte_tokenizer(), step=5)
    watch.reads(torch.zeros(4, 300))
    cfg = RunConfig.build({"training": {"micro_batch": 4}})
    with (
        pytest.raises(TrainingError, match="step 5: out of memory with 4 rows of 300 tokens") as caught,
        memory_explained(cfg, watch, [300]),
    ):
        raise error
    assert "micro_batch: 2 and training.gradient_accumulation: 4" in str(caught.value)


def test_other_errors_pass_through(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_explained(RunConfig(), Watch(tmp_path, None), []):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    ("training", "other", "advice"),
    [
        ({"micro_batch": 9, "gradient_accumulation": 2}, {}, "micro_batch: 3 and training.gradient_accumulation: 6"),
        ({}, {}, "gradient_checkpointing: true"),
        ({"gradient_checkpointing": True}, {}, "max_length: 190 "),
        ({"gradient_checkpointing": True, "max_length": 190}, {}, "quantization: 4bit"),
        ({"gradient_checkpointing": True, "max_length": 190}, {"model": {"quantization": "4bit"}}, "rank: 16"),
        ({"gradient_checkpointing": True, "max_length": 190}, {"lora": {"enabled": False}}, "zero3"),
    ],
)
def test_the_cheapest_change_is_advised_first(training, other, advice) -> None:
    lengths = [n for n in range(1, 201) if n <= training.get("max_length", 200)]
    lengths = lengths if "max_length" not in training else [100] * 100 + [100]
    cfg = RunConfig.build({"training": {"micro_batch": 1, **training}, **other})
    assert advice in what_to_lower(cfg, lengths)


# --- going on as advised ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "advised",
    [{"learning_rate": 1e-3}, {"micro_batch": 1, "gradient_accumulation": 4}, {"gradient_checkpointing": True},
     {"max_grad_norm": 0.1}, {"bf16": False}],
)  # fmt: skip
def test_a_run_may_go_on_with_what_the_advice_says(advised, base, data) -> None:
    assert resumable(config(base), data[:1]) == resumable(config(base, **advised), data[:1])
    assert fingerprint(config(base), data[:1]) != fingerprint(config(base, **advised), data[:1])


def test_another_number_of_samples_a_step_is_another_run(base, data, tmp_path) -> None:
    folder = tmp_path / "checkpoints"
    prepare(folder, resumable(config(base), data[:1]), config(base), resume=True)
    _checkpoint(folder / "checkpoint-3")
    other = config(base, micro_batch=4)
    with pytest.raises(TrainingError, match=r"gradient_accumulation: 4 → 8[\s\S]*--no_resume"):
        prepare(folder, resumable(other, data[:1]), other, resume=True)


@pytest.mark.parametrize("name", ["chat_template.jinja", "pytorch_model.bin"])
def test_template_and_old_weight_files_belong_to_the_base(name, base, data, tmp_path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    prints = []
    for content in ("a", "b"):
        (copy / name).write_text(content)
        prints.append(fingerprint(config(copy), data[:1]))
    assert prints[0] != prints[1]


@pytest.mark.slow
def test_training_goes_on_with_a_smaller_micro_batch_in_the_same_order(base, data, tmp_path) -> None:
    whole = train(config(base, {"dropout": 0.0}, max_steps=6), *data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config(base, {"dropout": 0.0}, max_steps=6), *data, tmp_path / "broken", callbacks=[StopAt(5)])
    split = config(base, {"dropout": 0.0}, max_steps=6, micro_batch=1, gradient_accumulation=4)
    resumed = train(split, *data, tmp_path / "broken")
    for name, tensor in weights(whole.adapter).items():
        torch.testing.assert_close(tensor, weights(resumed.adapter)[name], atol=2e-4, rtol=1e-3)


@pytest.mark.slow
def test_a_lower_learning_rate_holds_after_resume(base, data, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config(base), *data, tmp_path / "model", callbacks=[StopAt(5)])
    result = train(config(base, learning_rate=5e-4), *data, tmp_path / "model")
    rates = {r["step"]: r["lr"] for r in map(json.loads, result.log.read_text().splitlines()) if "lr" in r}
    assert rates[4] > 2e-3 > 5e-4 > rates[5] > 0


# --- torn checkpoints -------------------------------------------------------------------------------------------


def _checkpoint(folder: Path) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({"a": torch.ones(64)}, folder / "adapter_model.safetensors")
    torch.save({"state": torch.ones(64)}, folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text("{}")
    return folder


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_checkpoint_with_a_torn_file_is_passed_over(name, gone, tmp_path) -> None:
    first, second = _checkpoint(tmp_path / "checkpoint-2"), _checkpoint(tmp_path / "checkpoint-10")
    assert last_checkpoint(tmp_path) == second
    content = (second / name).read_bytes()
    (second / name).write_bytes(content[: len(content) // 2])
    if gone and name != "optimizer.pt":
        (second / name).unlink()
    assert last_checkpoint(tmp_path) == first


def test_processes_other_than_the_first_delete_and_write_nothing(base, data, tmp_path) -> None:
    from askguru_lib.training.progress import TrainingLog

    folder, log = tmp_path / "checkpoints", tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "elapsed_s": 1}\n')
    folder.mkdir()
    (folder / "kept").touch()
    assert prepare(folder, "x", config(base), resume=False, first=False) is None
    TrainingLog(log, first=False).close()
    assert (folder / "kept").exists()
    assert log.read_text()
