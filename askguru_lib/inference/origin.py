"""Where a model comes from: its files, and the note beside an adapter that says which base it belongs to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from askguru_lib.config import ModelConfig, model_folder, project_root
from askguru_lib.data.files import read_json, write_json
from askguru_lib.errors import ConfigError, MissingArtifactError

NOTE = "base.json"
"""Beside an adapter: the base it was trained on, by name and by what its weights are, and the prompts' form."""
PROMPT_FORM = ("prompt_order", "schema_links")
"""Parameters of a model that decide what its prompts look like."""
_PIECE = 2**20


def cached_folder(name_or_path: str) -> Path | None:
    """Where a model's files lie: its folder, or what the hub's cache holds of it; None if there is neither."""
    if folder := model_folder(name_or_path):
        return folder
    from transformers.utils import cached_file

    try:
        found = cached_file(
            name_or_path, "config.json", local_files_only=True, _raise_exceptions_for_missing_entries=False
        )
    except OSError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def weights_hash(name_or_path: str) -> str | None:
    """What tells one base from another, wherever it lies: hash of its weight files; None where none can be found.

    Of a file beyond 64 MiB, 64 evenly spread pieces count.
    """
    folder = cached_folder(name_or_path)
    files = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".bin"}) if folder else []
    files = [p for p in files if p.name != "training_args.bin"]
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for start in range(0, size, max(_PIECE, size // 64)):
                file.seek(start)
                digest.update(file.read(_PIECE))
    return digest.hexdigest() if files else None


def portable(name_or_path: str) -> str:
    """The name as a parameter file would give it: relative to the project's root where it lies inside."""
    path = Path(name_or_path)
    try:
        inside = path.is_absolute() and path.resolve().relative_to(project_root())
    except (ConfigError, ValueError):
        inside = False
    return inside.as_posix() if inside else name_or_path


def note_base(adapter: Path, model: ModelConfig) -> None:
    """Write into an adapter's folder which base and which prompts it belongs to, in names that hold elsewhere."""
    name = portable(model.name_or_path)
    form = {parameter: getattr(model, parameter) for parameter in PROMPT_FORM}
    write_json(adapter / NOTE, {"name_or_path": name, "weights": weights_hash(model.name_or_path), "prompts": form})
    settings = adapter / "adapter_config.json"
    if settings.is_file():
        write_json(settings, read_json(settings) | {"base_model_name_or_path": name})


def read_note(folder: Path) -> dict[str, Any]:
    """What training noted in a folder, also beside a fully fine-tuned model; empty where it noted nothing."""
    return read_json(folder / NOTE) if (folder / NOTE).is_file() else {}


def base_of(adapter: Path) -> str:
    """The base model that an adapter folder names.

    Raises:
        MissingArtifactError: the folder holds no adapter.
    """
    if name := read_note(adapter).get("name_or_path"):
        return name
    settings = adapter / "adapter_config.json"
    if not settings.is_file():
        raise MissingArtifactError("no adapter there", where=str(adapter), hint="train one first: askguru train")
    return read_json(settings)["base_model_name_or_path"]


def strength_of(adapter: Path, default: float = 1.0) -> float:
    """The share of its trained correction at which an adapter was saved; ``default`` where nothing says so."""
    return float(read_note(adapter).get("strength", default))


def note_strength(adapter: Path, strength: float) -> None:
    """Say at which share of its correction an adapter is saved."""
    note = read_note(adapter)
    if note.get("strength") != strength:
        write_json(adapter / NOTE, note | {"strength": strength})


def other_prompts(folder: Path, model: ModelConfig) -> str | None:
    """In words, where prompts would differ from those that what lies in a folder was trained on; None if nowhere."""
    trained = read_note(folder).get("prompts", {})
    differ = [
        f"model.{parameter}: trained with {trained[parameter]}, asked with {getattr(model, parameter)}"
        for parameter in PROMPT_FORM
        if parameter in trained and trained[parameter] != getattr(model, parameter)
    ]
    return "; ".join(differ) or None
