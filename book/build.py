"""Render the executed chapters: with Quarto where it is installed, with nbconvert where it is not."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import preview
import yaml

from askguru_lib.chapters import read, with_outputs, write
from askguru_lib.config import project_root
from askguru_lib.errors import AskGuruError, MissingArtifactError


def chapter_files(settings: dict[str, Any]) -> list[str]:
    """The notebooks that ``_quarto.yml`` names, in order."""
    return [page for page, _ in preview.page_list(settings) if page.endswith(".ipynb")]


def stage(root: Path, executed: Path, folder: Path) -> None:
    """Lay out in ``folder`` what a renderer needs: prose as it is written now, outputs as they were computed.

    Raises:
        MissingArtifactError: a chapter has not been run.
    """
    settings = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))
    shutil.copy(root / "_quarto.yml", folder)
    shutil.copy(root / "index.qmd", folder)
    shutil.copytree(root / "book", folder / "book", ignore=shutil.ignore_patterns("*.py", "templates", "__pycache__"))
    for name in chapter_files(settings):
        done = executed / Path(name).name
        if not done.is_file():
            command = f"make run PROFILE={executed.parent.name} FROM={Path(name).name[:2]}"
            raise MissingArtifactError("this chapter has not been run", where=name, hint=command)
        notebook = with_outputs(read(root / name), read(done), root)
        _number_title(notebook, int(Path(name).name[:2]))
        write(folder / name, notebook)
    if (root / "notebooks" / "images").is_dir():
        shutil.copytree(root / "notebooks" / "images", folder / "notebooks" / "images")


def _number_title(notebook: Any, number: int) -> None:
    """Give the title the notebook's own number, so that chapter 10 is called 10 while 08 and 09 are being written."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^# ", cell.source, re.M):
            cell.source = re.sub(
                r"^# (?:Chapter )?(?:\d+\s*[.:·–—-]?\s*)?", f"# {number} · ", cell.source, count=1, flags=re.M
            )
            return


def render(root: Path, executed: Path, out: Path, engine: str) -> None:
    """Stage and render into ``out``, which is replaced only by a complete book."""
    quarto = shutil.which("quarto")
    if engine == "quarto" and not quarto:
        raise MissingArtifactError("quarto is not on PATH", hint="install it, or leave ENGINE=quarto out")
    executed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="book-", dir=executed.parent) as work:
        folder, built = Path(work, "stage"), Path(work, "built")
        folder.mkdir()
        stage(root, executed, folder)
        if quarto and engine != "preview":
            if subprocess.run([quarto, "render", str(folder), "--to", "html"], check=False).returncode:
                raise AskGuruError("quarto failed", where="_quarto.yml", hint="its message stands above")
            shutil.move(folder / "_book", built)
        else:
            if engine == "auto":
                print("quarto is not on PATH: rendering the same chapters with nbconvert")
            for problem in preview.render(folder, built, root / "book" / "templates"):
                print(f"warning: {problem}", file=sys.stderr)
        if out.exists():
            shutil.rmtree(out)
        shutil.move(built, out)
    print(f"the book: {out / 'index.html'}")


def main() -> int:
    """Command line of the Makefile; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executed", type=Path, required=True, help="folder of executed notebooks")
    parser.add_argument("--out", type=Path, default=Path("_book"))
    parser.add_argument("--engine", choices=["auto", "quarto", "preview"], default="auto")
    args = parser.parse_args()
    try:
        render(project_root(), args.executed, args.out, args.engine)
    except AskGuruError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
