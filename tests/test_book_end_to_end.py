"""The whole course, from an unknown database to the ladder, with a handful of everything."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

MADE = [
    "databases/db_conn.json",
    "raw/split.json",
    "processed/train.jsonl",
    "processed/test_target.jsonl",
    "processed/test_unseen.jsonl",
    "training/train.jsonl",
    "training/data_card.json",
    "model/adapter",
    "model/log.jsonl",
    "reports/ladder.json",
]


@pytest.mark.slow
def test_the_whole_course_runs_and_a_second_call_has_nothing_to_do(root, tmp_path, make_command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ASKGURU", "MAKE"))}

    def course():
        command = make_command("run", "PROFILE=smoke", f"RUNS={tmp_path}")
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    done = course()
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "smoke"
    chapters = {p.name for p in (root / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert {p.name for p in (run / "notebooks").glob("*.ipynb")} == chapters
    assert [name for name in MADE if not (run / name).exists()] == []
    assert json.loads((run / "reports" / "ladder.json").read_text())
    assert not [p for p in run.rglob("*") if p.suffix in {".tmp", ".partial"}]

    again = course()
    assert again.returncode == 0
    assert " done in " not in again.stdout


def test_a_profile_that_does_not_exist_is_named_with_those_that_do(root: Path, make_command):
    done = subprocess.run(make_command("run", "PROFILE=tinny"), cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "tinny.yaml" in done.stderr
    assert "tiny.yaml" in done.stderr
    assert "Traceback" not in done.stderr
