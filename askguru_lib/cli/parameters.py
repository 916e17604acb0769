"""The command that explains the parameter files: params."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from askguru_lib.cli.app import app


@app.command()
def params(
    name: Annotated[str | None, typer.Argument(help="Only parameters whose name contains this.")] = None,
) -> None:
    """List every parameter of params/*.yaml with its default and its meaning.

    Example: askguru params training
    """
    for full, default, meaning in _parameters():
        if name is None or name in full:
            typer.echo(f"{full} = {default}" + (f"\n    {meaning}" if meaning else ""))


def _parameters() -> list[tuple[str, str, str]]:
    """Dotted name, default as YAML writes it, and description of every parameter."""
    import json

    from pydantic import BaseModel

    from askguru_lib.config import RunConfig

    def walk(model: type[BaseModel], defaults: dict[str, Any], prefix: str) -> list[tuple[str, str, str]]:
        rows: list[tuple[str, str, str]] = []
        for field, info in model.model_fields.items():
            key = info.alias or field
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                rows += walk(info.annotation, defaults[key], f"{prefix}{key}.")
            else:
                rows.append((prefix + key, json.dumps(defaults[key]), info.description or ""))
        return rows

    return walk(RunConfig, RunConfig().dump(), "")
