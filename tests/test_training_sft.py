"""Training: what is learnt, what is set aside, and that a killed run ends as an unbroken one would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from askguru_lib.config import RunConfig
from askguru_lib.errors import DataError, MissingArtifactError, TrainingError
from askguru_lib.training.encoding import IGNORED, encode, encode_all, read_conversations
from askguru_lib.training.sft import matched_modules, merge_adapter, train
from askguru_lib.training.trainer import LengthBatches

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def byte_tokenizer(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token per byte, and the special tokens of the Mistral family."""
    special = ["<pad>", "<s>", "</s>", "[INST]", "[/INST]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: i for i, token in enumerate([*special, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", extra_special_tokens=special[3:]
    )
    tokenizer.chat_template = template
    return tokenizer


def samples(n: int) -> list[dict]:
    return [
        {
            "id": f"s{i}",
            "conversations": [
                {"role": "user", "content": f"t{i % 3}: rows of t{i % 3}?" + " please" * (i % 4)},
                {"role": "assistant", "content": f"SELECT * FROM t{i % 3}"},
            ],
        }
        for i in range(n)
    ]


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def save_random_model(folder: Path) -> Path:
    """A Mistral of two narrow layers that knows nothing, with its tokenizer."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            initializer_range=0.2,  # so that a few steps of LoRA are felt
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("base"))


def config(base: Path, lora: dict | None = None, **training: object) -> RunConfig:
    few = {"max_steps": 8, "micro_batch": 2, "gradient_accumulation": 2, "max_length": 256}
    rhythm = {"logging_steps": 1, "eval_steps": 4, "save_steps": 4, "learning_rate": 5e-3}
    return RunConfig.build(
        {
            "model": {"name_or_path": str(base)},
            "lora": {"rank": 4, "alpha": 4, "dropout": 0.1, **(lora or {})},
            "training": {**few, **rhythm, **training},
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "train.jsonl", samples(24)), write(tmp_path / "val.jsonl", samples(4))


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(adapter / "adapter_model.safetensors")


class StopAt(TrainerCallback):
    """A kill, as the trainer would see it: the process is gone right after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


# --- what is learnt ---------------------------------------------------------------------------------------------


def learnt(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> tuple[list[int], str]:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    ids, labels = encode(tokenizer, turns)
    assert len(ids) == len(labels)
    return ids, tokenizer.decode([t for t in labels if t != IGNORED])


@pytest.mark.parametrize("prompt", ["How many?", "Repeat SELECT 1 and stop", "SELECT 1", "SELECT 1</s>", ""])
def test_reference_defect_answer_located_by_text_search(prompt: str) -> None:
    """Labels begin at the token boundary, also when the answer's text stands inside the prompt."""
    ids, text = learnt(byte_tokenizer(), prompt, "SELECT 1")
    assert text == "SELECT 1</s>"
    assert ids[-1] == 2


def test_reference_defect_double_bos() -> None:
    ids, _ = learnt(byte_tokenizer(), "How many?", "SELECT 1")
    assert ids.count(1) == 1
    assert ids[0] == 1


def test_template_that_never_ends_the_answer_is_refused() -> None:
    tokenizer = byte_tokenizer(TEMPLATE.replace("{{ eos_token }}", ""))
    with pytest.raises(TrainingError, match="never learn to stop"):
        learnt(tokenizer, "How many?", "SELECT 1")


def test_template_that_changes_the_prompt_is_refused() -> None:
    tokenizer = byte_tokenizer(TEMPLATE.replace("{{ bos_token }}", "{{ bos_token }}{{ messages | length }}"))
    with pytest.raises(TrainingError, match="change when the answer follows"):
        learnt(tokenizer, "How many?", "SELECT 1")


def test_reference_defect_truncated_answers_trained_on() -> None:
    """A sample that does not fit is set aside whole; nothing is cut."""
    conversations = [s["conversations"] for s in samples(8)]
    tokenizer = byte_tokenizer()
    lengths = sorted(len(encode(tokenizer, c)[0]) for c in conversations)
    limit = lengths[5]
    encoded = encode_all(tokenizer, conversations, limit, "train.jsonl")
    assert encoded.set_aside == sum(n > limit for n in lengths) > 0
    assert len(encoded.dataset) + encoded.set_aside == 8
    assert all(row["labels"][-1] == 2 for row in encoded.dataset)


def test_nothing_fits_says_how_long_it_would_have_to_be() -> None:
    with pytest.raises(TrainingError, match=r"raise training.max_length to \d+"):
        encode_all(byte_tokenizer(), [samples(1)[0]["conversations"]], 8, "train.jsonl")


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
    ],
)
def test_formats_that_are_understood(record: dict, tmp_path: Path) -> None:
    (turns,) = read_conversations(write(tmp_path / "t.jsonl", [record]))
    assert [t["content"] for t in turns] == ["q", "a"]


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"id": "x9", "text": "SELECT 1"}, "no conversation among its fields"),
        ({"id": "x9", "conversations": [{"role": "user", "content": "q"}]}, "at least two turns"),
        (
            {"id": "x9", "messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": "a"}]},
            "turn 0: 'con",
        ),
        ({"id": "x9", "prompt": "q", "completion": " "}, "not an assistant's answer"),
    ],
)
def test_malformed_record_is_named(record: dict, complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [*samples(1), record])
    with pytest.raises(DataError, match=complaint) as caught:
        read_conversations(path)
    assert "t.jsonl:2" in str(caught.value)
    assert "x9" in str(caught.value)


# --- batches and modules ----------------------------------------------------------------------------------------


def test_batches_have_similar_lengths_and_depend_on_seed_and_epoch_alone() -> None:
    lengths = [(i * 37) % 101 for i in range(100)]
    sampler = LengthBatches(lengths, 4, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(100))
    spread = [
        max(lengths[i] for i in first[k : k + 4]) - min(lengths[i] for i in first[k : k + 4]) for k in range(0, 100, 4)
    ]
    assert sum(spread) / len(spread) < 10
    assert first == list(LengthBatches(lengths, 4, seed=3))
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_target_modules_that_match_nothing_list_the_nearest(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    assert len(matched_modules(model, r".*\.(q|k|v|o|gate|up|down)_proj")) == 2 * 7
    assert len(matched_modules(model, ["q_proj", "v_proj"])) == 2 * 2
    with pytest.raises(TrainingError, match="q_proj"):
        matched_modules(model, r".*language_model.*\.(q|v)_prj")
    with pytest.raises(TrainingError, match="malformed regex"):
        matched_modules(model, "*.q_proj")


# --- a whole run ------------------------------------------------------------------------------------------------


def test_run_learns_and_reference_defect_lora_applied_twice(
    base: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    result = train(config(base, max_steps=12, learning_rate=2e-2), *data, tmp_path / "model")
    log = [json.loads(line) for line in result.log.read_text().splitlines()]
    losses = [r["loss"] for r in log if "loss" in r]
    assert [r["step"] for r in log if "loss" in r] == list(range(1, 13))
    assert [r["step"] for r in log if "eval_loss" in r] == [4, 8, 12]
    assert losses[-1] < 0.8 * losses[0]
    assert result.log.with_suffix(".csv").read_text().startswith("step,epoch,loss,eval_loss,")
    assert all({"tokens_per_s", "eta_s", "lr"} <= r.keys() for r in log if "loss" in r)
    # the schedule is a warm-up and a cosine
    rates = [r["lr"] for r in log if "loss" in r]
    assert rates.index(max(rates)) <= 1
    assert rates[-1] < 0.05 * max(rates)
    # one adapter, on each projection, once
    names = list(weights(result.adapter))
    assert len(names) == 2 * 2 * 7
    assert all(name.count("lora_") == 1 for name in names)
    # 4 x (in + out) weights for each projection
    shapes = [(32, 32)] * 4 + [(32, 48)] * 3
    assert result.metrics["trainable_parameters"] == 2 * sum(4 * (a + b) for a, b in shapes)


def test_adapter_loads_in_plain_peft_and_the_merged_model_agrees(
    base: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    result = train(config(base), *data, tmp_path / "model")
    ids = torch.tensor([encode(byte_tokenizer(), samples(1)[0]["conversations"])[0]])
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(base).eval()
        before = plain(ids).logits
        adapted = PeftModel.from_pretrained(plain, result.adapter).eval()(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(merge_adapter(base, result.adapter, tmp_path / "merged")).eval()
        after = merged(ids).logits
    assert not torch.allclose(before, adapted, atol=1e-2)
    torch.testing.assert_close(adapted, after, atol=1e-4, rtol=1e-4)
    assert not list(tmp_path.glob(".*"))  # nothing half-written


def test_an_adapter_of_half_strength_lies_halfway_between_base_and_trained_weights(
    base: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, half = (
        train(config(base, lora={"strength": s}, max_steps=4), *data, tmp_path / str(s), resume=False) for s in (1, 0.5)
    )
    assert half.metrics["eval_loss"] == whole.metrics["eval_loss"], "the strength is no part of the training"
    states = []
    for folder in (base, *(merge_adapter(base, r.adapter, r.adapter.with_name("merged")) for r in (whole, half))):
        states.append(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())
    moved = 0
    for name, before in states[0].items():
        torch.testing.assert_close(states[2][name], (before + states[1][name]) / 2)
        moved += not torch.equal(before, states[2][name])
    assert moved == 2 * 7
    # a finished run is scaled anew, not trained anew, as often as one likes
    for strength in (1, 0.25, 0.5):
        again = train(
            config(base, lora={"strength": strength}, max_steps=4), *data, tmp_path / "0.5", callbacks=[StopAt(1)]
        )
        wanted = weights(whole.adapter)
        for name, now in weights(again.adapter).items():
            torch.testing.assert_close(now, wanted[name] * (strength if "lora_B" in name else 1))


def test_answer_loss_equals_the_models_own(base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Leaving out prompt logits and attention mask changes the cost, not the loss."""
    seen = {}

    class Compare(TrainerCallback):
        def on_step_begin(self, args, state, control, model, train_dataloader, **kwargs):
            if state.global_step:
                return
            batch = next(iter(train_dataloader))
            assert len({int(n) for n in batch["attention_mask"].sum(1)}) > 1  # padding is there to be ignored
            model.eval()
            with torch.no_grad():
                seen["own"] = model(**batch).loss
                seen["ours"] = seen["trainer"].compute_loss(model, dict(batch))
            model.train()

    from askguru_lib.training import trainer as room

    class Watched(room.DeepCustomTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            seen["trainer"] = self

    original, room.DeepCustomTrainer = room.DeepCustomTrainer, Watched
    try:
        train(config(base, max_steps=1, micro_batch=8), *data, tmp_path / "model", callbacks=[Compare()])
    finally:
        room.DeepCustomTrainer = original
    torch.testing.assert_close(seen["ours"], seen["own"], atol=1e-5, rtol=1e-5)


# --- resume -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [6, 8])
def test_reference_defect_no_real_resume(killed_at: int, base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Killed after a checkpoint and continued: the same losses and the same weights, dropout included."""
    cfg = config(base, max_steps=10)  # 24 samples are 6 steps an epoch: step 8 lies in the second
    unbroken = train(cfg, *data, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train(cfg, *data, tmp_path / "killed", callbacks=[StopAt(killed_at)])
    again = train(cfg, *data, tmp_path / "killed")
    a, b = ([json.loads(line) for line in r.log.read_text().splitlines()] for r in (unbroken, again))
    assert [(r["step"], r.get("loss"), r.get("eval_loss")) for r in a] == [
        (r["step"], r.get("loss"), r.get("eval_loss")) for r in b
    ]
    for name, tensor in weights(unbroken.adapter).items():
        torch.testing.assert_close(tensor, weights(again.adapter)[name], atol=0, rtol=0)


@pytest.mark.slow
def test_torn_checkpoint_is_passed_over(base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(config(base, max_steps=9), *data, out, callbacks=[StopAt(9)])
    (out / "checkpoints" / "checkpoint-8" / "trainer_state.json").write_text('{"global_st')
    steps = []

    class First(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    train(config(base, max_steps=9), *data, out, callbacks=[First()])
    assert steps == [4]


@pytest.mark.slow
def test_finished_run_returns_at_once_and_new_data_trains_anew(
    base: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    out, cfg = tmp_path / "model", config(base, max_steps=4)
    first = train(cfg, *data, out)
    stamp = (first.adapter / "adapter_model.safetensors").stat().st_mtime_ns
    again = train(cfg, *data, out, callbacks=[StopAt(1)])  # would raise if a step were made
    assert again.metrics == first.metrics
    assert (first.adapter / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    write(data[0], samples(20))
    assert train(cfg, *data, out).metrics["samples"] == 20


@pytest.mark.slow
def test_checkpoint_of_another_configuration_is_refused(base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(config(base), *data, out, callbacks=[StopAt(5)])
    with pytest.raises(TrainingError, match=r"lora\.rank: 4 → 8"):
        train(config(base, lora={"rank": 8}), *data, out)
    assert train(config(base, lora={"rank": 8}), *data, out, resume=False).metrics["steps"] == 8


def test_loss_that_is_not_a_number_names_the_step(base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 2:
                next(p for p in model.parameters() if p.requires_grad).data.fill_(float("nan"))

    with pytest.raises(TrainingError, match="step 3: the loss is nan"):
        train(config(base), *data, tmp_path / "model", callbacks=[Poison()])
    assert not (tmp_path / "model" / "adapter").exists()


def test_missing_files_say_which_command_makes_them(base: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="askguru assemble"):
        train(config(base), tmp_path / "nowhere.jsonl", None, tmp_path / "model")
    with pytest.raises(MissingArtifactError, match=r"model\.name_or_path"):
        train(config(tmp_path / "no-model"), *data, tmp_path / "model")
    with pytest.raises(MissingArtifactError, match="askguru train"):
        merge_adapter(base, tmp_path / "no-adapter", tmp_path / "merged")


@pytest.mark.slow
def test_execution_accuracy_is_measured_while_training(base: Path, tmp_path: Path) -> None:
    """Only samples that ask for SQL are executed; the score stands in the log beside the loss."""
    from sqlalchemy import inspect

    from askguru_lib.databases.connection import load_connections
    from askguru_lib.databases.samples import build_all
    from askguru_lib.training.execution import ExecutionAccuracy

    connections = load_connections(build_all(tmp_path / "db", ("library",)))
    table = inspect(connections.engine("library")).get_table_names()[0]
    asked = [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": f"SELECT COUNT(*) FROM {table}"},
    ]
    record = {"task": "nl2sqlite", "db_name": "library", "conversations": asked}
    other = {"task": "sql_select", "db_name": "library", "conversations": asked}
    paths = write(tmp_path / "t.jsonl", samples(8)), write(tmp_path / "v.jsonl", [other, record, record])
    cfg = config(base, max_steps=4, execution_eval_samples=5)
    small = cfg.model_copy(update={"inference": cfg.inference.model_copy(update={"max_new_tokens": 8})})
    result = train(small, *paths, tmp_path / "model", connections=connections)
    assert [json.loads(x)["eval_ex"] for x in result.log.read_text().splitlines() if "eval_ex" in x] == [0.0]
    with pytest.raises(TrainingError, match="connection file"):
        train(small, *paths, tmp_path / "other")
    with pytest.raises(TrainingError, match="asks for SQL"):
        ExecutionAccuracy(write(tmp_path / "w.jsonl", [other]), connections, small)
    right = ExecutionAccuracy(paths[1], connections, small)
    assert len(right.records) == 2
