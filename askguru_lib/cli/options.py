"""Flags that several commands have, and what the commands do with them.

What is imported inside a function is slow to import: ``--help`` must not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from askguru_lib.config import RunConfig
    from askguru_lib.databases.executor import Executor
    from askguru_lib.inference.backend import Backend

Config = Annotated[Path | None, typer.Option("--config", help="Parameter file. Default: params/tiny.yaml.")]
Connections = Annotated[Path, typer.Option("--db_conn_config", help="db_conn.json: where the databases are.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model_name_or_path",
        "--generator_path",
        "--model",
        help="Model folder, adapter folder or hub name; with --base_url the name that the server knows. "
        "Default: the parameter file's base model.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base_url", help="Ask an OpenAI-compatible server instead of loading a model, e.g. vLLM or Ollama."),
]
Constrained = Annotated[
    Literal["true", "false"] | None,
    typer.Option("--constrained", help="Identifiers must exist in the schema. With --base_url it must be false."),
]
TestSet = Annotated[
    Path,
    typer.Option("--test_set_path", "--test_data_path", help="Processed questions with 'id' (JSON or JSON Lines)."),
]
Version = Annotated[str, typer.Option("--expr_version", help="Name of this experiment: names the output file.")]
Output = Annotated[
    Path | None, typer.Option("--output_path", help="Predictions. Default: predictions_<expr_version>.jsonl.")
]


def load_config(path: Path | None, overrides: dict[str, Any] | None = None) -> RunConfig:
    from askguru_lib.config import RunConfig, project_root

    return RunConfig.load(path or project_root() / "params" / "tiny.yaml", overrides)


def open_executor(connections: Path, config: RunConfig) -> Executor:
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.databases.executor import Executor

    return Executor.from_config(load_connections(connections), config.execution)


def inference_overrides(**flags: Any) -> dict[str, Any]:
    """Overrides of the ``inference`` section: the flags that were given."""
    return {"inference": {name: value for name, value in flags.items() if value is not None}}


def counted(counts: dict[str, Any]) -> str:
    def show(value: Any) -> str:
        if isinstance(value, dict):
            return f"({counted(value)})"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name.replace('_', ' ')} {show(value)}" for name, value in counts.items())


def read_test_set(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Processed records; one without ``id`` is called by its place in the raw file."""
    from askguru_lib.data.files import read_records

    records = read_records(path)[:limit]
    return [{"id": str(record.get("idx", i)), **record} for i, record in enumerate(records)]


def load_generator(name: str | None, config: RunConfig) -> Backend:
    from askguru_lib.inference.backend import load_backend

    return load_backend(config, name)
