"""From an adapter to a plain model, or to the same adapter at another strength."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askguru_lib.config import ModelConfig, RunConfig
from askguru_lib.data.files import read_json, write_manifest
from askguru_lib.errors import MissingArtifactError, TrainingError
from askguru_lib.inference.origin import cached_folder, note_strength, portable, read_note, strength_of, weights_hash
from askguru_lib.training.loading import load_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MADE_BY = "askguru merge"


def at_strength(config: RunConfig, strength: float) -> RunConfig:
    """The same configuration with another ``lora.strength``."""
    return config.model_copy(update={"lora": config.lora.model_copy(update={"strength": strength})})


def set_strength(adapter: Path, strength: float, now: float = 1.0) -> None:
    """Scale an adapter's correction: a point on the line between the base's weights and the trained ones.

    On that line much of what was forgotten comes back before much of what was learnt is lost (Wortsman et al. 2022,
    WiSE-FT, for weights that were all trained).

    Args:
        adapter: a folder, which is replaced as a whole if anything changes.
        strength: share of the trained correction, at most 1.
        now: its present share, unless the folder itself says it.
    """
    from safetensors.torch import load_file, save_file

    now = strength_of(adapter, now)
    if strength == now:
        note_strength(adapter, strength)
        return
    part = adapter.with_name(f".{adapter.name}.scaled")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(adapter, part)
    path = part / "adapter_model.safetensors"
    weights = load_file(path)
    # PEFT calls the outer matrix lora_B, of an embedding lora_embedding_B.
    for name in filter(re.compile("lora_(embedding_)?B").search, weights):
        weights[name] *= strength / now
    save_file(weights, path, metadata={"format": "pt"})
    note_strength(part, strength)
    shutil.rmtree(adapter)
    part.rename(adapter)


def merge_adapter(base: str | Path, adapter: str | Path, out: str | Path, *, dtype: str = "float32") -> Path:
    """Add a LoRA adapter into its base's weights and save a plain model, for serving without PEFT.

    Args:
        base: the model that the adapter was trained on.
        adapter: what ``train`` wrote; a fully fine-tuned model is plain already and is only written in ``dtype``.
        out: a new folder, or one that an earlier merge wrote.
        dtype: type of the merged weights; the sum is formed in float32 and rounded once.

    Raises:
        MissingArtifactError: no base model, or no adapter in the folder.
        TrainingError: ``out`` holds something else; the adapter was trained on another base.
    """
    import torch

    started = time.time()
    base, adapter, out = str(base), Path(adapter), Path(out)
    lora = (adapter / "adapter_config.json").is_file()
    if not lora and not (adapter / "config.json").is_file():
        raise MissingArtifactError("no adapter there", where=str(adapter), hint="train one first: askguru train")
    _may_write(out, {"base": cached_folder(base), "adapter": adapter})
    if lora:
        _same_base(base, adapter)
    model, tokenizer = load_base(ModelConfig(name_or_path=base if lora else str(adapter), dtype="float32"))
    merged = _sum(model, adapter) if lora else model
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    merged.to(getattr(torch, dtype)).save_pretrained(part)
    tokenizer.save_pretrained(part)
    inputs = sorted(adapter.glob("adapter_model.*"))
    note = {"made_by": MADE_BY, "base": portable(base), "dtype": dtype}
    write_manifest(part, inputs=inputs, parameters=note, seed=None, started=started)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out


def _sum(model: PreTrainedModel, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)


def _may_write(out: Path, sources: dict[str, Path | None]) -> None:
    here = out.resolve()
    for what, folder in sources.items():
        there = folder.resolve() if folder else None
        if there and (here == there or here in there.parents or there in here.parents):
            raise TrainingError(f"the merged model would be written over the {what} ({folder})",
                                where=f"--out {out}", hint="name a folder beside it")  # fmt: skip
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    manifest = out / "manifest.json"
    if not (manifest.is_file() and read_json(manifest).get("parameters", {}).get("made_by") == MADE_BY):
        raise TrainingError("something is there that `askguru merge` did not write", where=f"--out {out}",
                            hint="name a new folder, or delete this one yourself")  # fmt: skip


def _same_base(base: str, adapter: Path) -> None:
    note = read_note(adapter)
    trained, given = note.get("weights"), weights_hash(base)
    if trained and given and trained != given:
        raise TrainingError(
            f"the adapter was trained on {note['name_or_path']} (weights {trained[:12]}), "
            f"not on {portable(base)} (weights {given[:12]})",
            where=str(adapter),
            hint="merge into the base it was trained on, in that revision",
        )
