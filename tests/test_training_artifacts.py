"""What training leaves and merging makes of it: nothing is overwritten, and an adapter knows its base."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_training_sft import byte_tokenizer, config, samples, save_random_model, write
from transformers import AutoModelForCausalLM

from askguru_lib.config import ModelConfig, RunConfig, project_root
from askguru_lib.errors import ConfigError, TrainingError
from askguru_lib.inference.generation import load_model
from askguru_lib.inference.origin import NOTE, base_of, note_base, portable
from askguru_lib.inference.quantization import quantization
from askguru_lib.training.encoding import IGNORED, encode
from askguru_lib.training.merging import merge_adapter
from askguru_lib.training.sft import train


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "run" / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "adapter"
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(folder)
    note_base(folder, ModelConfig(name_or_path=str(base)))
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("out", ["run", "run/base", "run/adapter", "run/adapter/merged", "run/base/a/b", "."])
def test_merging_over_base_adapter_or_run_is_refused(out, base, adapter, tmp_path) -> None:
    before = contents(tmp_path)
    with pytest.raises(TrainingError, match=r"written over the (base|adapter)"):
        merge_adapter(base, adapter, tmp_path / out)
    assert contents(tmp_path) == before


def test_merging_over_a_folder_that_merge_did_not_write_is_refused(base, adapter, tmp_path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="did not write"):
        merge_adapter(base, adapter, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # an empty folder is taken, and what merge wrote may be written again
        merge_adapter(base, adapter, tmp_path / "empty")


def test_merging_onto_another_base_names_both(base, adapter, tmp_path) -> None:
    other = tmp_path / "other"
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(1)
    model.save_pretrained(other)
    byte_tokenizer().save_pretrained(other)
    with pytest.raises(TrainingError, match=r"trained on .*run/base .*not on .*other") as caught:
        merge_adapter(other, adapter, tmp_path / "merged")
    assert "in that revision" in str(caught.value)
    moved = base.rename(tmp_path / "moved")  # the same weights elsewhere are the same base
    merge_adapter(moved, adapter, tmp_path / "merged")


def test_an_adapter_names_its_base_as_the_parameter_file_does(base, adapter) -> None:
    inside = project_root(Path(__file__).parent) / "models" / "askguru-tiny"
    assert portable(str(inside)) == portable("models/askguru-tiny") == "models/askguru-tiny"
    assert portable("Qwen/Qwen2.5-Coder-0.5B-Instruct") == "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    note_base(adapter, ModelConfig(name_or_path=str(inside)))
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "models/askguru-tiny"
    assert json.loads((adapter / NOTE).read_text())["name_or_path"] == "models/askguru-tiny"


@pytest.mark.parametrize("other", [{"schema_links": False}, {"prompt_order": "question_first"}])
def test_asking_in_prompts_that_an_adapter_was_not_trained_on_is_warned_of(other, base, adapter) -> None:
    same = RunConfig.build({"model": {"name_or_path": str(base)}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(base, adapter, same)
    changed = RunConfig.build({"model": {"name_or_path": str(base)} | other})
    [(parameter, value)] = other.items()
    with pytest.warns(UserWarning, match=f"other prompts .model.{parameter}: trained with .*, asked with {value}"):
        load_model(base, adapter, changed)


def test_full_fine_tuning_trains_in_32_bits_and_is_loaded_and_merged(tmp_path, base) -> None:
    """Without LoRA the adapter's place holds a whole model, which every later step takes."""
    data = write(tmp_path / "t.jsonl", samples(12))
    plain = config(base, {"enabled": False}, max_steps=2, save_steps=2)
    cfg = plain.model_copy(update={"model": plain.model.model_copy(update={"dtype": "bfloat16"})})
    result = train(cfg, data, None, tmp_path / "model")
    assert result.metrics["trainable_parameters"] == result.metrics["parameters"]
    assert math.isnan(result.metrics["eval_loss"]), "there is no validation set"
    again = train(cfg, data, None, tmp_path / "model")
    assert math.isnan(again.metrics["eval_loss"]), "nor is there one when the finished run is read back"
    assert "NaN" not in (tmp_path / "model" / "manifest.json").read_text(), "JSON knows no NaN"
    kept = AutoModelForCausalLM.from_pretrained(result.adapter)
    assert {p.dtype for p in kept.parameters()} == {torch.float32}
    tuned, _ = load_model(base, adapter=result.adapter, config=plain)
    merged, _ = load_model(merge_adapter(base, result.adapter, tmp_path / "merged"), config=plain)
    assert base_of(result.adapter) == str(base)
    before, _ = load_model(base, config=plain)
    ids = torch.tensor([[1, 70, 71, 72]])
    with torch.no_grad():
        assert torch.equal(tuned(ids).logits, merged(ids).logits)
        assert not torch.equal(tuned(ids).logits, before(ids).logits)


def test_quantised_weights_cannot_all_be_trained(base, tmp_path) -> None:
    plain = config(base, {"enabled": False})
    cfg = plain.model_copy(update={"model": plain.model.model_copy(update={"quantization": "4bit"})})
    with pytest.raises(TrainingError, match=r"lora\.enabled to true"):
        train(cfg, write(tmp_path / "t.jsonl", samples(3)), None, tmp_path / "model")


# --- few bits ---------------------------------------------------------------------------------------------------


def test_training_and_inference_read_four_bits_alike(base, monkeypatch) -> None:
    from askguru_lib.inference import generation
    from askguru_lib.inference import quantization as room
    from askguru_lib.training.loading import load_base

    monkeypatch.setattr(room, "find_spec", lambda name: True)
    four = quantization(ModelConfig(quantization="4bit"))
    assert (four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
    seen = []

    def note(*args, **options):
        seen.append(options["quantization_config"])
        raise KeyboardInterrupt

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", note)
    settings = RunConfig.build({"model": {"name_or_path": str(base), "quantization": "4bit"}})
    for load in (lambda: load_base(settings.model), lambda: generation.load_model(base, config=settings)):
        with pytest.raises(KeyboardInterrupt):
            load()
    assert len(seen) == 2
    assert seen[0].to_dict() == seen[1].to_dict() == four.to_dict()


def test_few_bits_without_bitsandbytes_says_what_to_install(monkeypatch) -> None:
    from askguru_lib.inference import quantization as room

    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'askguru_lib\[gpu\]'"):
        quantization(ModelConfig(quantization="4bit"))
    assert quantization(ModelConfig()) is None


# --- the end of an answer ---------------------------------------------------------------------------------------


def test_what_a_template_sets_behind_the_end_is_not_learnt() -> None:
    """Qwen's writes a line break behind <|im_end|>: learnt, it would be a token that decoding never reaches."""
    from test_training_sft import TEMPLATE

    tokenizer = byte_tokenizer(TEMPLATE.replace("{{ eos_token }}", "{{ eos_token }}{{ '\n' }}"))
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "SELECT 1"}]
    ids, labels = encode(tokenizer, turns)
    assert tokenizer.decode([t for t in labels if t != IGNORED]) == "SELECT 1</s>"
    assert ids[-2] == tokenizer.eos_token_id
    assert labels[-1] == IGNORED
    assert len(ids) == len(labels)
