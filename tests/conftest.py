"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

# A test never waits for a model hub, and several of them at once share the cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


def chapter(number: int, *cells: Any) -> Any:
    """A small notebook with the cells that every chapter has."""
    v4 = nbformat.v4
    notebook = v4.new_notebook(
        cells=[
            v4.new_code_cell('profile = "tiny"', metadata={"tags": ["parameters"]}),
            v4.new_code_cell(f"from askguru_lib import notebook\n\nrun = notebook.start({number}, globals())"),
            *(v4.new_code_cell(c) if isinstance(c, str) else c for c in cells),
        ]
    )
    notebook.cells.insert(0, v4.new_markdown_cell(f"# Chapter {number}"))
    return notebook


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """Lay out a project of our own chapters, with the real Makefile and book: ``make_project({name: notebook})``."""

    def make(chapters: dict[str, Any]) -> Path:
        project = tmp_path / "project"
        for folder in ("notebooks", "params", "askguru_lib"):
            (project / folder).mkdir(parents=True)
        (project / "askguru_lib" / "code.py").write_text("")
        (project / "params" / "tiny.yaml").write_text("profile: tiny\n")
        (project / "params" / "check.yaml").write_text("extends: tiny.yaml\n")
        for name in ("Makefile", "requirements.lock", "pyproject.toml", "index.qmd"):
            shutil.copy(ROOT / name, project)
        shutil.copytree(ROOT / "book", project / "book", ignore=shutil.ignore_patterns("__pycache__"))
        for name, notebook in chapters.items():
            nbformat.write(notebook, project / "notebooks" / f"{name}.ipynb")
        settings = yaml.safe_load((ROOT / "_quarto.yml").read_text())
        pages = [f"notebooks/{name}.ipynb" for name in sorted(chapters)]
        settings["book"]["chapters"] = ["index.qmd", "book/preface.qmd", {"part": "Part one", "chapters": pages}]
        (project / "_quarto.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
        return project

    return make


@pytest.fixture
def make_command() -> Callable[..., list[str]]:
    """The ``make`` command line of a test: this interpreter's environment, nothing installed."""

    def command(*arguments: str) -> list[str]:
        done = f"{sys.prefix}/.installed"
        return ["make", "--no-print-directory", "-o", done, f"VENV={sys.prefix}", f"DONE={done}", *arguments]

    return command
