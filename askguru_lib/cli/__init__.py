"""The command line: each command calls the function that the notebook of the same stage calls."""

from askguru_lib.cli import data, models, scores, parameters  # isort: skip - the order of the commands in --help
from askguru_lib.cli.app import app, main

__all__ = ["app", "data", "main", "models", "parameters", "scores"]
