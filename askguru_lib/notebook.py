"""What a chapter calls to set itself up and to sign its results.

::

    run = notebook.start(7, globals())      # the cell after the parameters cell
    train = run.need("training/train.jsonl", chapter=6)
    run.card()                              # the last cell
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import html
import os
import platform
import random
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import askguru_lib
from askguru_lib.config import RunConfig, project_root
from askguru_lib.errors import ConfigError, MissingArtifactError

if TYPE_CHECKING:
    from askguru_lib.databases.connection import DatabaseConnections

# Text progress bars are wanted: a stored widget keeps a notebook from being shown.
warnings.filterwarnings("ignore", message="IProgress not found")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_IPYTHON = {"In", "Out", "exit", "quit", "get_ipython", "open"}
_MARK = "__askguru_parameters__"


@dataclass
class Run:
    """One run of one chapter: where things are, and with which parameters.

    Attributes:
        chapter: number of the chapter.
        config: the parameters, from ``params/<profile>.yaml`` and the parameters cell.
        root: the project's root.
        dir: ``runs/<profile>``, where everything that the run makes lies.
    """

    chapter: int
    config: RunConfig
    root: Path
    dir: Path
    started: float = field(default_factory=time.monotonic, repr=False)

    def path(self, *parts: str) -> Path:
        """``runs/<profile>/<parts>``; the folder that is to hold it is made."""
        path = self.dir.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def need(self, path: str | Path, chapter: int) -> Path:
        """The path of something that an earlier chapter makes, absolute or below ``runs/<profile>``.

        Raises:
            MissingArtifactError: it is not there; names the chapter and the command that make it.
        """
        path = self.dir / path
        if not path.exists():
            shown = path.relative_to(self.root) if path.is_relative_to(self.root) else path
            command = f"make run PROFILE={self.config.profile} FROM={chapter:02d}"
            raise MissingArtifactError(
                f"chapter {self.chapter:02d} needs what chapter {chapter:02d} makes, and it is not there",
                where=str(shown),
                hint=f"run notebook {chapter:02d} first, or every chapter from there: {command}",
            )
        return path

    @cached_property
    def connections(self) -> DatabaseConnections:
        """The run's databases (``db_conn.json``, made in chapter 01)."""
        from askguru_lib.databases.connection import load_connections

        return load_connections(self.need("databases/db_conn.json", chapter=1))

    def card(self) -> Card:
        """What made the results on this page: for the foot of every chapter."""
        lock = self.root / "requirements.lock"
        return Card(
            {
                "chapter": f"{self.chapter:02d}",
                "profile": self.config.profile,
                "library": f"askguru_lib {askguru_lib.__version__}",
                "revision": _revision(self.root),
                "lock file": hashlib.sha256(lock.read_bytes()).hexdigest()[:12] if lock.is_file() else "none",
                "date": date.today().isoformat(),
                "device": _device(),
                "wall time": duration(time.monotonic() - self.started),
                "peak memory": f"{_peak_memory() / 2**20:,.0f} MiB",
            }
        )


@dataclass(frozen=True)
class Card:
    """A run card: a table in a notebook, aligned text elsewhere."""

    rows: Mapping[str, str]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self.rows.items())

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in self.rows.items())
        return f'<table class="run-card"><caption>Run card</caption><tbody>{cells}</tbody></table>'


def start(chapter: int, namespace: dict[str, Any]) -> Run:
    """Set a chapter up: parameters, folders, seeds, figure style.

    Args:
        chapter: its number.
        namespace: ``globals()`` of the notebook. Literals in it are parameters: ``profile`` names a file of
            ``params/``, every other one must be a top-level name of such a file and is laid over it. The environment
            variable ``ASKGURU_PROFILE`` names another profile for all chapters, whatever their cells say.

    Raises:
        ConfigError: a parameter is unknown (named, with the nearest valid one) or mistyped.
    """
    root = project_root()
    over = _parameters(namespace)
    if "extends" in over:
        raise ConfigError(
            "a parameter file that extends another cannot be laid over a notebook",
            where=f"parameters of chapter {chapter:02d}",
            hint="name it instead: -p profile <name of the file without .yaml>",
        )
    profile = over.pop("profile", "tiny")
    profile = os.environ.get("ASKGURU_PROFILE") or profile
    known = RunConfig.field_names()
    for name in over:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"unknown parameter '{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""),
                where=f"parameters of chapter {chapter:02d}",
                hint=f"a parameter is one of {', '.join(known)}",
            )
    config = RunConfig.load(root / "params" / f"{profile}.yaml", {**over, "profile": profile})
    runs = root / os.environ.get("ASKGURU_RUNS", "runs")
    _seed(config.seed)
    _figure_style()
    run = Run(chapter, config, root, runs / config.profile)
    run.dir.mkdir(parents=True, exist_ok=True)
    return run


def _parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """The literals of the notebook's namespace.

    When the set-up cell is run a second time, what the chapter itself has assigned in between is no parameter: then
    only the names that were there the first time count, and those of a parameters cell that was edited.
    """
    literals = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in _IPYTHON and _is_literal(value)
    }
    first = namespace.setdefault(_MARK, set(literals))
    return {n: v for n, v in literals.items() if n in first or n in _assigned_with_profile(namespace.get("In", []))}


def _is_literal(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_literal(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_literal(v) for v in value)
    return value is None or type(value) in (bool, int, float, str)


def _assigned_with_profile(cells: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for source in cells:
        try:
            found = literal_assignments(source)
        except (SyntaxError, ValueError):
            continue
        names |= set(found) if "profile" in found else set()
    return names


def literal_assignments(source: str) -> dict[str, Any]:
    """Names and values of a cell that holds nothing but ``name = literal``.

    Raises:
        ValueError: something else stands in the cell.
        SyntaxError: it is not Python.
    """
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found[name] = ast.literal_eval(value)
            case _:
                raise ValueError(f"line {node.lineno} is not 'name = literal'")
    return found


def _seed(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _figure_style() -> None:
    from askguru_lib import plots

    plots.use_style()


def _revision(root: Path) -> str:
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        edited = git("status", "--porcelain", "--", "askguru_lib", "params")
        return git("rev-parse", "--short=10", "HEAD") + (", edited since" if edited else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _device() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}, {cores} CPU cores"
    return f"{cores} CPU cores, {platform.system()} {platform.machine()}"


def _peak_memory() -> int:
    """Largest resident size of this process or of one of its finished children, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``3 min 5 s`` or ``2 h 4 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
