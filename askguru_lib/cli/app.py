"""The application that the commands belong to, and its entry point."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from askguru_lib.errors import AskGuruError

app = typer.Typer(
    help="askGuru-SQL: from an unknown database to a fine-tuned, honestly measured text-to-SQL model.\n\n"
    "The usual order: databases → process → assemble → train → infer (or multi-infer) → eval, bird-critic. "
    "`askguru COMMAND --help` shows an example of each. Flags may be written --like_this or --like-this.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": lambda t: t.replace("-", "_")},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: an error that askGuru raises on purpose is a message and an exit code, never a traceback."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="askguru")
    except AskGuruError as e:
        typer.echo(f"askguru: {e}", err=True)
        sys.exit(e.exit_code)
