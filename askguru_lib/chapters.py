"""What ``make`` calls to hash, run and store the chapters: ``python -m askguru_lib.chapters hash|run|refresh``."""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from askguru_lib import errors
from askguru_lib.config import RunConfig, project_root
from askguru_lib.errors import AskGuruError, DataError
from askguru_lib.notebook import duration


def read(path: Path) -> Any:
    """A notebook as an ``nbformat`` node.

    Raises:
        DataError: it is missing or is not a notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as e:
        raise DataError(f"not a readable notebook ({e})", where=str(path), hint="restore it from git") from e


def write(path: Path, notebook: Any) -> None:
    """Write a notebook under a temporary name, then rename it."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, path)


def code_cells(notebook: Any) -> list[Any]:
    """The author's code cells: those that Papermill injected are left out."""
    return [
        c
        for c in notebook.cells
        if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", ()) and c.source.strip()
    ]


def code(notebook: Any) -> list[str]:
    """What the author's code cells compute: captions, labels and other ``#|`` lines belong to the prose."""
    return [re.sub(r"\A(?:#\|.*(?:\n|$))+", "", c.source).strip() for c in code_cells(notebook)]


def code_hash(notebook: Any, config: RunConfig) -> str:
    """Hash of what decides a chapter's outputs: its code and the parameters. Prose does not count."""
    text = json.dumps([code(notebook), config.dump()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def foundation_hash(root: Path) -> str:
    """Hash of what every chapter stands on: the library, the base model, the lock file."""
    digest = hashlib.sha256()
    files = [p for folder in ("askguru_lib", "models") for p in sorted((root / folder).rglob("*"))]
    for path in [*files, root / "requirements.lock"]:
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def with_outputs(source: Any, executed: Any, root: Path) -> Any:
    """The notebook as its author wrote it, with the outputs of a run: no injected cell, timestamp, progress bar or
    path of the machine that ran it.

    Raises:
        DataError: the run was of other code.
    """
    out = copy.deepcopy(source)
    pairs = list(zip(code_cells(out), code_cells(executed), strict=False))
    if code(out) != code(executed):
        raise DataError("the run is older than the notebook's code", hint="make run PROFILE=tiny, then make refresh")
    for number, (cell, done) in enumerate(pairs, start=1):
        cell.execution_count = number
        cell.outputs = [o for o in (_clean(copy.deepcopy(o), number, root) for o in done.outputs) if o]
    for cell in out.cells:
        for key in ("papermill", "execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
    out.metadata = type(out.metadata)(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    return out


def _clean(output: Any, number: int, root: Path) -> Any | None:
    if output.output_type == "stream":
        lines = [line.rsplit("\r", 1)[-1] for line in _local(output.text, root).rstrip("\r\n").split("\n")]
        lines = [line for line in lines if not re.search(r"\d+%\|.*\|.*\[.*\]|\d*it \[\d\d:\d\d", line)]
        output.text = "\n".join(lines) + "\n"
        return output if output.text.strip() else None
    if "execution_count" in output:
        output.execution_count = number
    for kind, text in output.get("data", {}).items():
        if kind == "application/vnd.jupyter.widget-view+json":
            return None
        if isinstance(text, str) and kind.startswith("text/"):
            output.data[kind] = _local(text, root)
    return output


def _local(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "").replace(str(root), ".")


def execute(source: Path, target: Path, profile: str) -> None:
    """Run one chapter with Papermill, say how far the book is, put the result at ``target`` when it is complete.

    Raises:
        AskGuruError: a cell failed; names notebook, cell and error, with the exit code of the error's kind.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    chapters = sorted(p.name for p in source.parent.glob("[0-9][0-9]_*.ipynb"))
    place, name = chapters.index(source.name) + 1, source.stem
    head = f"[{place}/{len(chapters)}] {name}"
    here = {c: _seconds(target.parent / c) for c in chapters}
    stored = {c: _seconds(source.parent / c, profile) for c in chapters}
    before = here.pop(source.name)
    print(f"{head} …" + (f" (last time {duration(before)})" if before else ""), flush=True)

    os.environ.pop("ASKGURU_PROFILE", None)  # the command names the profile
    partial = target.parent / ".partial" / source.name
    partial.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a run that is killed must not leave the one before it to pass for its own
    began = time.monotonic()
    try:
        papermill.execute_notebook(
            source,
            partial,
            {"profile": profile},
            cwd=source.parent,
            kernel_name="python3",
            language="python",
            extra_arguments=["--IPKernelApp.log_level=40"],  # it warns that a local kernel is not encrypted
        )
    except (PapermillExecutionError, DeadKernelError) as e:
        raise _failure(name, partial, e, profile) from None
    os.replace(partial, target)

    here[source.name] = took = time.monotonic() - began
    left = f"{len(chapters) - place} left" if place < len(chapters) else "the last one"
    if rest := time_left(chapters[place:], here, stored):
        left += f" (about {duration(rest)})"
    print(f"{head} done in {duration(took)}, {left}", flush=True)


def time_left(chapters: Sequence[str], here: Mapping[str, float | None], stored: Mapping[str, float | None]) -> float:
    """Seconds that chapters will take, 0 where that is not known: as last time, or as in the stored run at this pace.

    Args:
        here: how long chapters took on this machine.
        stored: how long they took in the run whose outputs are stored, on another one.
    """
    both = [(mine, theirs) for c, mine in here.items() if mine and (theirs := stored.get(c))]
    pace = sum(mine for mine, _ in both) / sum(theirs for _, theirs in both) if both else 1
    rest = [here.get(c) or pace * (stored.get(c) or 0) for c in chapters]
    return sum(rest) if all(rest) else 0


def _seconds(path: Path, profile: str | None = None) -> float | None:
    """How long a chapter took, from an executed notebook or, for one profile, from a stored one."""
    if not path.is_file():
        return None
    metadata = read(path).metadata
    stored = metadata.get("askguru", {})
    if profile is not None:
        return stored.get("seconds") if stored.get("profile") == profile else None
    return metadata.get("papermill", {}).get("duration")


def _failure(name: str, partial: Path, e: Exception, profile: str) -> AskGuruError:
    again = f"the notebook so far: {partial}\n    mend it, then 'make run PROFILE={profile}' goes on with this chapter"
    if not hasattr(e, "ename"):
        return AskGuruError(f"the kernel died ({e})", where=name, hint=f"often too little memory; {again}")
    lines = e.source.strip().splitlines()  # type: ignore[attr-defined]
    shown = "\n".join(f"    | {line}" for line in lines[:8] + ["…"] * (len(lines) > 8))
    kind = getattr(errors, e.ename, AskGuruError)
    failure = AskGuruError(
        f"failed in cell {e.cell_index} [{e.exec_count}]\n{shown}\n  {e.ename}: {e.evalue}",  # type: ignore[attr-defined]
        where=name,
        hint=again,
    )
    failure.exit_code = kind.exit_code if isinstance(kind, type) and issubclass(kind, AskGuruError) else 1
    return failure


def write_hashes(root: Path, profile: str, out: Path) -> None:
    """Write the hashes that make compares, each only if it has changed."""
    config = RunConfig.load(root / "params" / f"{profile}.yaml")
    hashes = {p.name: code_hash(read(p), config) for p in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    parameters = hashlib.sha256(json.dumps(config.dump(), sort_keys=True).encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    for name, value in {**hashes, "parameters": parameters, "foundation": foundation_hash(root)}.items():
        path = out / name
        if not path.is_file() or path.read_text() != value:
            path.write_text(value)


def refresh(root: Path, profile: str, executed: Path, notebooks: Path) -> None:
    """Store the outputs of a run in ``notebooks/``, with the hash of the code and parameters that they belong to."""
    config = RunConfig.load(root / "params" / f"{profile}.yaml")
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        done = read(executed / path.name)
        notebook = with_outputs(read(path), done, root)
        notebook.metadata["askguru"] = {
            "profile": profile,
            "code_hash": code_hash(notebook, config),
            "seconds": round(done.metadata.get("papermill", {}).get("duration", 0), 1),
        }
        write(path, notebook)
        print(f"stored {path.name}")


def main(argv: list[str] | None = None) -> int:
    """Command line of the Makefile; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m askguru_lib.chapters", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, arguments in {"hash": ["out"], "run": ["source", "target"], "refresh": ["executed", "notebooks"]}.items():
        command = commands.add_parser(name)
        command.add_argument("--profile", default="tiny")
        for argument in arguments:
            command.add_argument(argument, type=Path)
    args = parser.parse_args(argv)
    try:
        match args.command:
            case "hash":
                write_hashes(project_root(), args.profile, args.out)
            case "run":
                execute(args.source, args.target, args.profile)
            case "refresh":
                refresh(project_root(), args.profile, args.executed, args.notebooks)
    except AskGuruError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
