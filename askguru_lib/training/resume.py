"""How a killed run goes on: what it was started with, and its last checkpoint that was written to the end."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from askguru_lib.config import ModelConfig, RunConfig, model_folder
from askguru_lib.data.files import file_hash, read_json, write_json
from askguru_lib.errors import TrainingError

STATE = "fingerprint.json"
_WATCHING_ONLY = {"logging_steps", "eval_steps", "save_steps", "execution_eval_samples", "report_to",
                  "early_stop_patience"}  # fmt: skip
# What the advice after NaN or out of memory changes; a run may go on with it.
_ADVISED = {"learning_rate", "max_grad_norm", "bf16", "gradient_checkpointing", "micro_batch", "gradient_accumulation"}
_BASE_FILES = {".json", ".safetensors", ".bin", ".model", ".jinja"}


def fingerprint(config: RunConfig, inputs: Sequence[Path]) -> str:
    """Hash of all that decides the weights: base model, data, seed and the parameters that do more than watch."""
    return _hash({"config": relevant(config)} | _material(config, inputs))


def resumable(config: RunConfig, inputs: Sequence[Path]) -> str:
    """Hash of what must not change between a kill and the going on; samples a step count, not how they are split."""
    return _hash({"config": fixed(relevant(config))} | _material(config, inputs))


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _material(config: RunConfig, inputs: Sequence[Path]) -> dict[str, Any]:
    return {"inputs": [file_hash(p) for p in inputs], "base": _base_hash(config.model)}


def relevant(config: RunConfig) -> dict[str, Any]:
    data = config.dump()
    # With an early stop, what is watched decides when training ends.
    watching = {"logging_steps", "report_to"} if config.training.early_stop_patience else _WATCHING_ONLY
    training = {k: v for k, v in data["training"].items() if k not in watching}
    return {"model": data["model"], "lora": data["lora"], "training": training, "seed": config.seed}


def fixed(parameters: dict[str, Any]) -> dict[str, Any]:
    """Of :func:`relevant`, what a resumed run may not change."""
    training = parameters.get("training", {})
    kept = {k: v for k, v in training.items() if k not in _ADVISED}
    if training:
        kept["micro_batch x gradient_accumulation"] = training["micro_batch"] * training["gradient_accumulation"]
    lora = {k: v for k, v in parameters.get("lora", {}).items() if k != "strength"}  # decided when all is trained
    return parameters | {"training": kept, "lora": lora}


def _base_hash(model: ModelConfig) -> dict[str, str | int]:
    if (folder := model_folder(model.name_or_path)) is None:
        return {}
    files = sorted(p for p in folder.iterdir() if p.suffix in _BASE_FILES)
    small = 100 * 2**20  # larger shards are told apart by their size
    return {p.name: file_hash(p) if p.stat().st_size < small else p.stat().st_size for p in files}


def finished_run(out: Path, adapter: Path) -> dict[str, Any] | None:
    manifest = out / "manifest.json"
    return read_json(manifest)["parameters"] if manifest.is_file() and adapter.is_dir() else None


def prepare(folder: Path, identity: str, config: RunConfig, *, resume: bool, first: bool = True) -> Path | None:
    """The checkpoint to go on from, or None after making room for a fresh run.

    Args:
        identity: see :func:`resumable`.
        first: whether this process is the one that may delete and write; the others look only.
    """
    last = last_checkpoint(folder) if resume else None
    if last:
        state = started_with(folder)
        if state.get("resumable") != identity:
            changed = _changes(fixed(state.get("config", {})), fixed(relevant(config)))
            raise TrainingError(
                "the unfinished run here was started with another configuration "
                f"({', '.join(changed or ['the data or the base model'])})",
                where=str(last),
                hint="restore it, or begin anew: askguru train --no_resume (resume=False)",
            )
        return last
    if first:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / STATE, {"resumable": identity, "config": relevant(config)})
    return None


def started_with(folder: Path) -> dict[str, Any]:
    """What the run that wrote these checkpoints was started with."""
    return read_json(folder / STATE) if (folder / STATE).is_file() else {}


def _changes(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    changes = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            changes += _changes(a, b, f"{prefix}{key}.")
        elif a != b:
            changes.append(f"{prefix}{key}: {a} → {b}")
    return changes


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    return next((path for path in found if _whole(path)), None)


def _whole(checkpoint: Path) -> bool:
    """Whether every file has its end: the trainer's state comes last, but not every disk keeps that order."""
    from safetensors import SafetensorError, safe_open

    weights = [p for p in checkpoint.iterdir() if p.suffix == ".safetensors"] if checkpoint.is_dir() else []
    archives = [p for p in checkpoint.iterdir() if p.suffix in {".pt", ".pth"} or p.name == "pytorch_model.bin"]
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        for path in weights:
            with safe_open(path, "pt"):
                pass  # its header must agree with its length
    except (OSError, json.JSONDecodeError, SafetensorError):
        return False
    has_weights = bool(weights) or any(p.name == "pytorch_model.bin" for p in archives)
    return (has_weights or any(checkpoint.glob("global_step*"))) and all(map(zipfile.is_zipfile, archives))


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rsplit("-", 1)[-1]) if checkpoint else 0
