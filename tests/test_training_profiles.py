"""The profiles for GPUs, each with its own architecture at a size that trains in a second: the whole path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from test_training_sft import StopAt, byte_tokenizer, config, samples, save_random_model, weights, write
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

from askguru_lib.config import RunConfig, project_root
from askguru_lib.errors import TrainingError
from askguru_lib.inference.generation import Generator, load_model
from askguru_lib.training.encoding import encode
from askguru_lib.training.loading import load_base
from askguru_lib.training.sft import merge_adapter, train

ROOT = project_root(Path(__file__).parent)
QWEN = (
    "{% for m in messages %}[INST]{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[INST]assistant\n{% endif %}"
)
NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1, "max_position_embeddings": 512}  # fmt: skip


def qwen(folder: Path) -> Path:
    """Qwen2: biased projections, grouped queries, tied embeddings, a template with a line break behind the end."""
    tokenizer = byte_tokenizer(QWEN)
    torch.manual_seed(0)
    sizes = NARROW | {"vocab_size": len(tokenizer), "tie_word_embeddings": True, "initializer_range": 0.2}
    Qwen2ForCausalLM(Qwen2Config(**sizes, eos_token_id=2, pad_token_id=0)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def mistral3(folder: Path) -> Path:
    """Mistral-Small-3: a language model behind a vision tower whose projections have the same names."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    text = NARROW | {"model_type": "mistral", "vocab_size": len(tokenizer), "head_dim": 24, "initializer_range": 0.2,
                     "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    sight = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "head_dim": 8}  # fmt: skip
    Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=sight, image_token_index=3)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("profile", "build"),
    [("laptop_gpu", qwen), ("single_gpu", qwen), ("mistral24b_8gpu", mistral3), ("mistral24b_1gpu", mistral3)],
)
def test_a_profile_trains_is_killed_goes_on_merges_loads_and_answers(profile, build, tmp_path) -> None:
    base = build(tmp_path / "base")
    model = {"name_or_path": str(base), "quantization": "none"}  # what a CPU has not, and only that, is taken out
    few = {"max_steps": 2, "save_steps": 1, "gradient_accumulation": 1, "max_length": 256, "deepspeed": None,
           "learning_rate": 1e-2, "logging_steps": 1}  # fmt: skip
    cfg = RunConfig.load(
        ROOT / "params" / f"{profile}.yaml",
        {"model": model, "lora": {"rank": 4, "alpha": 4}, "training": few, "inference": {"max_new_tokens": 4}},
    )
    data = write(tmp_path / "t.jsonl", samples(6))
    with pytest.raises(KeyboardInterrupt):
        train(cfg, data, None, tmp_path / "model", callbacks=[StopAt(2)])
    steps: list[int] = []

    class First(StopAt):
        def on_step_begin(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    adapter = train(cfg, data, None, tmp_path / "model", callbacks=[First(0)]).adapter
    assert steps == [1]
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert len(names) == 2 * 2 * 7  # A and B, layers, projections
    assert not [n for n in names if "vision" in n]

    exact = cfg.model.model_copy(update={"dtype": "float32"})
    merged, tokenizer = load_model(merge_adapter(base, adapter, tmp_path / "merged"),
                                   config=cfg.model_copy(update={"model": exact}))  # fmt: skip
    frozen, _ = load_base(exact)
    ids = torch.tensor([encode(tokenizer, samples(1)[0]["conversations"])[0]])
    with torch.no_grad():
        before = frozen(ids).logits
        adapted = PeftModel.from_pretrained(frozen, str(adapter)).eval()(ids).logits
        torch.testing.assert_close(merged(ids).logits, adapted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, adapted, atol=1e-3)
    [[answer]] = Generator(merged, tokenizer, cfg).generate(["t1: rows of t1?"])
    assert answer.new_tokens > 0


# --- what every profile leans on --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("base"))


def test_an_empty_training_file_is_named(base, tmp_path) -> None:
    empty = write(tmp_path / "empty.jsonl", [])
    with pytest.raises(TrainingError, match=r"empty\.jsonl: the file has no sample"):
        train(config(base), empty, None, tmp_path / "model")


def test_checkpointing_changes_memory_not_weights(base, tmp_path) -> None:
    data = write(tmp_path / "t.jsonl", samples(8))
    results = [
        train(config(base, {"dropout": 0.0}, max_steps=2, gradient_checkpointing=on), data, None, tmp_path / str(on))
        for on in (False, True)
    ]
    plain, saving = (weights(r.adapter) for r in results)
    for name, tensor in plain.items():
        torch.testing.assert_close(tensor, saving[name], atol=1e-6, rtol=1e-5)


def test_packed_samples_do_not_see_each_other(base, tmp_path, monkeypatch) -> None:
    """The loss of a packed sequence is the loss of its samples, each alone."""
    from askguru_lib.training.trainer import DeepCustomTrainer

    seen: list[tuple[float, float]] = []
    loss = DeepCustomTrainer.compute_loss

    def compare(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        starts = [*(inputs["position_ids"][0] == 0).nonzero()[:, 0].tolist(), inputs["input_ids"].shape[1]]
        model.eval()
        with torch.no_grad():
            alone = [
                loss(self, model, {k: inputs[k][:, a:b] for k in ("input_ids", "labels")}, num_items_in_batch=1).item()
                for a, b in pairwise(starts)
                if (inputs["labels"][0, a + 1 : b] != -100).any()
            ]
            seen.append((sum(alone), loss(self, model, dict(inputs), num_items_in_batch=1).item()))
        model.train()
        assert len(alone) > 1
        return loss(self, model, inputs, return_outputs, num_items_in_batch)

    monkeypatch.setattr(DeepCustomTrainer, "compute_loss", compare)
    data = write(tmp_path / "t.jsonl", samples(8))
    train(
        config(base, {"dropout": 0.0}, packing=True, max_steps=1, gradient_accumulation=1), data, None, tmp_path / "m"
    )
    assert seen
    assert all(together == pytest.approx(alone, rel=1e-4) for alone, together in seen)


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on_and_ends_as_an_unbroken_one(base, tmp_path) -> None:
    """SIGKILL: no exception handler, no flush, no callback's last word."""
    cfg = config(base, max_steps=6, save_steps=2)
    data = write(tmp_path / "t.jsonl", samples(24))
    script = textwrap.dedent(
        f"""
        import os, signal
        from test_training_sft import StopAt
        from askguru_lib.config import RunConfig
        from askguru_lib.training.sft import train

        class Kill(StopAt):
            def on_step_end(self, args, state, control, **kwargs):
                if state.global_step == 5:
                    os.kill(os.getpid(), signal.SIGKILL)

        train(RunConfig.build({cfg.dump()!r}), {str(data)!r}, None, {str(tmp_path / "killed")!r}, callbacks=[Kill(0)])
        """
    )
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    died = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": places}, timeout=240,
                          capture_output=True, check=False)  # fmt: skip
    assert died.returncode == -signal.SIGKILL
    again, whole = (train(cfg, data, None, tmp_path / name) for name in ("killed", "whole"))
    for name, tensor in weights(whole.adapter).items():
        assert torch.equal(tensor, weights(again.adapter)[name])


@pytest.mark.slow
def test_two_processes_write_one_run_and_resume_it(base, tmp_path) -> None:
    """Only the first process deletes, makes and writes; the second one waits and finds what the first made."""
    cfg = config(base, max_steps=4, save_steps=2, eval_steps=2, gradient_accumulation=1)
    data = write(tmp_path / "t.jsonl", samples(16)), write(tmp_path / "v.jsonl", samples(4))
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from test_training_sft import StopAt
            from askguru_lib.config import RunConfig
            from askguru_lib.training.sft import train

            stop = [StopAt(int(sys.argv[1]))] if len(sys.argv) > 1 else []
            data = {[str(p) for p in data]!r}
            train(RunConfig.build({cfg.dump()!r}), *data, {str(tmp_path / "model")!r}, callbacks=stop)
            """
        )
    )
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    limits = {"env": os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}, "timeout": 240}
    assert subprocess.run([*run, "3"], capture_output=True, check=False, **limits).returncode != 0
    assert [p.name for p in (tmp_path / "model" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]
    again = subprocess.run(run, capture_output=True, text=True, check=False, **limits)
    assert again.returncode == 0, again.stderr[-2000:]
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in log if "loss" in r] == [1, 2, 3, 4]
    assert (tmp_path / "model" / "manifest.json").is_file()
    assert len(weights(tmp_path / "model" / "adapter")) == 2 * 2 * 7
    assert not list((tmp_path / "model").glob(".*part*"))
