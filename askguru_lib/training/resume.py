"""How a killed run goes on: what it was started with, and its last checkpoint that was written to the end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from askguru_lib.config import ModelConfig, RunConfig
from askguru_lib.data.files import file_hash, read_json, write_json
from askguru_lib.errors import TrainingError
from askguru_lib.training.loading import locate

STATE = "fingerprint.json"
_WATCHING_ONLY = {"logging_steps", "eval_steps", "save_steps", "execution_eval_samples", "report_to"}


def fingerprint(config: RunConfig, inputs: Sequence[Path]) -> str:
    """Hash of all that decides the weights: base model, data, seed and the parameters that do more than watch."""
    parts = {"config": relevant(config), "inputs": [file_hash(p) for p in inputs], "base": _base_hash(config.model)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def relevant(config: RunConfig) -> dict[str, Any]:
    data = config.dump()
    training = {k: v for k, v in data["training"].items() if k not in _WATCHING_ONLY}
    return {"model": data["model"], "lora": data["lora"], "training": training, "seed": config.seed}


def _base_hash(model: ModelConfig) -> dict[str, str | int]:
    folder = Path(locate(model.name_or_path))
    if not folder.is_dir():
        return {}
    files = sorted(p for p in folder.iterdir() if p.suffix in {".json", ".safetensors", ".model"})
    small = 100 * 2**20  # larger shards are told apart by their size
    return {p.name: file_hash(p) if p.stat().st_size < small else p.stat().st_size for p in files}


def finished_run(out: Path, adapter: Path) -> dict[str, Any] | None:
    manifest = out / "manifest.json"
    return read_json(manifest)["parameters"] if manifest.is_file() and adapter.is_dir() else None


def prepare(folder: Path, identity: str, config: RunConfig, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None after making room for a fresh run."""
    last = last_checkpoint(folder)
    if resume and last:
        state = read_json(folder / STATE) if (folder / STATE).is_file() else {}
        if state.get("fingerprint") != identity:
            changed = _changes(state.get("config", {}), relevant(config)) or ["the data or the base model"]
            raise TrainingError(
                f"the unfinished run here was started with another configuration ({', '.join(changed)})",
                where=str(last),
                hint=f"restore the parameters, or delete {folder} (resume=False) to begin anew",
            )
        return last
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / STATE, {"fingerprint": identity, "config": relevant(config)})
    return None


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
    """The newest checkpoint that was written to its end (the trainer's state comes last), or None."""
    for path in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue  # torn by a kill
        return path
    return None


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rsplit("-", 1)[-1]) if checkpoint else 0
