"""Files that a newcomer, a bot or a publisher relies on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import askguru_lib
from askguru_lib.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_ci_run_is_a_strict_script_that_calls_make_test():
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make test")
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("name", ["test", "book"])
def test_workflows_call_targets_that_exist(name):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = [re.match(r"make ([a-z-]+)", s["run"])[1] for s in steps if s.get("run", "").startswith("make")]
    assert called
    assert set(called) <= TARGETS


def test_the_targets_that_the_readme_names_exist():
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M))
    assert {"book", "test"} <= named <= TARGETS


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_citation_file_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == askguru_lib.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_is_valid_and_bears_its_file_name(path):
    assert RunConfig.load(path).profile == path.stem


def test_no_tracked_file_names_a_path_of_this_machine():
    here = [f"{ROOT}/", f"{sys.prefix}/"]
    for path in tracked_files():
        if path.suffix not in {".safetensors", ".png", ".sqlite"}:
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not any(place in text for place in here), path


def test_no_tracked_file_is_an_artifact():
    for path in tracked_files():
        assert not {"runs", "_book", ".venv", "__pycache__", ".ipynb_checkpoints"} & set(path.relative_to(ROOT).parts)
