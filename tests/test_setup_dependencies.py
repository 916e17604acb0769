"""pyproject.toml, requirements.lock and environment.yml say the same thing."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")
]
LOCK = [Requirement(line) for line in LOCK_LINES]
DIRECT = [Requirement(r) for r in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(r) for r in PROJECT["optional-dependencies"]["dev"]]


def pinned(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not pinned"
    return Version(specifier.version)


def test_the_lock_pins_every_package_and_names_no_host_and_no_cuda_wheel():
    for line, requirement in zip(LOCK_LINES, LOCK, strict=True):
        pinned(requirement)
        assert "://" not in line
        assert not line.startswith("-")
        assert not re.match(r"nvidia-|cuda-|triton", requirement.name)


@pytest.mark.parametrize("requirement", [*DIRECT, *DEVELOPMENT], ids=lambda r: r.name)
def test_the_lock_holds_every_direct_dependency_in_an_allowed_version(requirement):
    name = canonicalize_name(requirement.name)
    pins = [r for r in LOCK if canonicalize_name(r.name) == name]
    assert pins, f"{name} is not in requirements.lock: make lock"
    for pin in pins:
        assert pinned(pin) in requirement.specifier
        assert "sys_platform" not in str(requirement.marker or "") or str(pin.marker) == str(requirement.marker)


def test_this_environment_is_the_one_that_the_lock_describes():
    wrong = {}
    for requirement in LOCK:
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                installed = Version(metadata.version(requirement.name)).public
            except metadata.PackageNotFoundError:
                installed = "missing"
            if installed != str(pinned(requirement)):
                wrong[requirement.name] = (installed, str(requirement.specifier))
    assert not wrong, "installed and locked differ: make setup"


def test_environment_yml_installs_an_allowed_python_and_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python = next(d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python="))
    assert f"{python.split('=')[1]}.9" in SpecifierSet(PROJECT["requires-python"])
    assert "quarto" in environment["dependencies"]
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock"]


def test_deepspeed_is_asked_for_on_linux_only():
    marker = next(r.marker for r in DIRECT if r.name == "deepspeed")
    assert marker is not None
    assert marker.evaluate({"sys_platform": "linux"})
    assert not marker.evaluate({"sys_platform": "darwin"})


def test_the_extras_are_the_promised_ones():
    extras = {name: {Requirement(r).name for r in rs} for name, rs in PROJECT["optional-dependencies"].items()}
    assert extras["gpu"] == {"flash-attn", "liger-kernel", "bitsandbytes", "mistral-common"}
    assert set(extras) == {"gpu", "serve", "mysql", "oracle", "graph", "quarto", "dev"}


def test_every_direct_dependency_has_its_reason_beside_it():
    text = (ROOT / "pyproject.toml").read_text()
    bare = []
    for requirement in [*PROJECT["dependencies"], *(r for rs in PROJECT["optional-dependencies"].values() for r in rs)]:
        lines = [line for line in text.splitlines() if f'"{requirement}"' in line]
        bare += [requirement] * (not any(re.search(r"#\s+\S+ \S+", line) for line in lines))
    assert not bare, "why are they needed?"


def imported_modules() -> dict[str, set[str]]:
    """Top-level module: the files that import it."""
    sources = {p: p.read_text() for folder in ("askguru_lib", "book") for p in (ROOT / folder).rglob("*.py")}
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(c.source for c in cells if c.cell_type == "code")
        sources[path] = "\n".join("pass" if re.match(r"\s*[%!]", line) else line for line in code.split("\n"))
    found: dict[str, set[str]] = {}
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(path.name)
    return found


def test_what_the_library_imports_is_declared():
    ours = {"askguru_lib", *(p.stem for p in (ROOT / "book").glob("*.py"))}
    declared = {
        canonicalize_name(Requirement(r).name)
        for r in [*PROJECT["dependencies"], *(r for rs in PROJECT["optional-dependencies"].values() for r in rs)]
    }
    homes = metadata.packages_distributions()
    undeclared = {}
    for module, files in imported_modules().items():
        if module in sys.stdlib_module_names or module in ours or module not in homes:
            continue
        if not {canonicalize_name(d) for d in homes[module]} & declared:
            undeclared[module] = sorted(files)
    assert not undeclared
