"""What a chapter calls: start, need, the run card."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from askguru_lib import notebook
from askguru_lib.errors import ConfigError, MissingArtifactError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    (tmp_path / "params" / "tiny.yaml").write_text("profile: tiny\nseed: 11\ntraining: {micro_batch: 4}\n")
    (tmp_path / "params" / "other.yaml").write_text("profile: other\nseed: 5\n")
    monkeypatch.delenv("ASKGURU_ROOT", raising=False)
    monkeypatch.delenv("ASKGURU_RUNS", raising=False)
    monkeypatch.delenv("ASKGURU_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def test_importing_it_is_fast_because_it_loads_no_torch():
    code = "import sys, askguru_lib.notebook; assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_start_reads_the_profile_and_makes_the_run_folder(project):
    run = notebook.start(3, {"profile": "other"})
    assert (run.config.profile, run.config.seed) == ("other", 5)
    assert run.dir == project / "runs" / "other"
    assert run.dir.is_dir()
    assert run.path("reports", "x.json").parent.is_dir()


@pytest.mark.parametrize("folder", [".", "notebooks", "notebooks/deeper", "params"])
def test_the_root_is_found_from_any_folder(project, monkeypatch, folder):
    monkeypatch.chdir(project / folder)
    assert notebook.start(1, {"profile": "tiny"}).root == project


def test_runs_can_go_elsewhere(project, monkeypatch, tmp_path):
    monkeypatch.setenv("ASKGURU_RUNS", str(tmp_path / "elsewhere"))
    assert notebook.start(1, {}).dir == tmp_path / "elsewhere" / "tiny"


def test_papermill_variables_are_laid_over_the_file_section_by_section(project):
    run = notebook.start(7, {"profile": "tiny", "seed": 3, "training": {"learning_rate": 0.5}})
    assert run.config.seed == 3
    assert run.config.training.learning_rate == 0.5
    assert run.config.training.micro_batch == 4


def test_the_environment_may_name_another_profile_for_all_notebooks(project, monkeypatch):
    (project / "params" / "other.yaml").write_text("extends: tiny.yaml\nseed: 23\n")
    monkeypatch.setenv("ASKGURU_PROFILE", "other")
    run = notebook.start(1, {"profile": "tiny", "training": {"epochs": 2}})
    assert (run.config.profile, run.config.seed, run.config.training.epochs) == ("other", 23, 2)
    assert run.dir.name == "other"


def test_a_file_that_extends_another_is_not_taken_for_plain_parameters(project):
    """Papermill lays the file's own lines over the cell's: the profile that it extends would be lost without a word."""
    with pytest.raises(ConfigError, match="-p profile"):
        notebook.start(1, {"profile": "tiny", "extends": "other.yaml", "seed": 29})


@pytest.mark.parametrize("text", ["seed: 9\n", "profile: other\nseed: 9\n"])
def test_a_run_lies_where_its_profile_says_whatever_the_file_calls_itself(project, text):
    (project / "params" / "mine.yaml").write_text(text)
    run = notebook.start(1, {"profile": "mine"})
    assert (run.dir.name, run.config.profile, run.config.seed) == ("mine", "mine", 9)


def test_what_is_no_parameter_is_left_alone(project):
    namespace = {"profile": "tiny", "np": np, "f": len, "_private": 1, "In": ["x"], "Out": {}, "root": Path("x")}
    assert notebook.start(7, namespace).config.seed == 11


def test_an_unknown_parameter_is_named_with_the_nearest_valid_one(project):
    with pytest.raises(ConfigError, match=r"parameters of chapter 07: unknown parameter 'trainin' .*'training'"):
        notebook.start(7, {"profile": "tiny", "trainin": {}})


def test_a_mistyped_parameter_is_named(project):
    with pytest.raises(ConfigError, match=r"training\.micro_batch"):
        notebook.start(7, {"profile": "tiny", "training": {"micro_batch": "many"}})


def test_an_unknown_profile_lists_the_known_ones(project):
    with pytest.raises(ConfigError, match=r"other\.yaml, tiny\.yaml"):
        notebook.start(7, {"profile": "tinny"})


def test_running_the_setup_cell_again_does_not_mistake_the_chapters_variables_for_parameters(project):
    namespace = {"profile": "tiny", "In": ["", 'profile = "tiny"']}
    notebook.start(7, namespace)
    namespace |= {"questions": ["how many?"], "seed": 99, "n": 3}
    assert notebook.start(7, namespace).config.seed == 11


def test_an_edited_parameters_cell_counts_when_the_setup_cell_is_run_again(project):
    namespace = {"profile": "tiny", "In": ["", 'profile = "tiny"']}
    notebook.start(7, namespace)
    namespace["In"].append('profile = "tiny"\nseed = 99')
    namespace |= {"seed": 99, "n": 3}
    assert notebook.start(7, namespace).config.seed == 99


def test_a_missing_input_names_the_chapter_and_the_command(project):
    run = notebook.start(5, {"profile": "tiny"})
    with pytest.raises(MissingArtifactError) as caught:
        run.need("processed/train.jsonl", chapter=3)
    message = str(caught.value)
    assert "runs/tiny/processed/train.jsonl" in message
    assert "chapter 03" in message
    assert "make run PROFILE=tiny FROM=03" in message
    assert caught.value.exit_code == 4


def test_a_present_input_is_returned_as_a_path(project):
    run = notebook.start(5, {"profile": "tiny"})
    file = run.path("processed", "train.jsonl")
    file.write_text("")
    assert run.need("processed/train.jsonl", chapter=3) == file
    assert run.need(file, chapter=3) == file


def test_the_seed_is_set(project):
    drawn = []
    for _ in range(2):
        notebook.start(1, {"profile": "tiny"})
        drawn.append((random.random(), float(np.random.rand())))
    assert drawn[0] == drawn[1]


def test_the_run_card_tells_what_made_the_page_and_no_path(project):
    card = notebook.start(1, {"profile": "tiny"}).card()
    assert set(card.rows) >= {"library", "revision", "lock file", "date", "device", "wall time", "peak memory"}
    assert card.rows["revision"] == "unknown"
    for shown in (repr(card), card._repr_html_()):
        assert str(project) not in shown
        assert "tiny" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (42, "42 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")],
)
def test_durations_read_like_durations(seconds, text):
    assert notebook.duration(seconds) == text


@pytest.mark.parametrize("source", ["a = 1 + x", "print(1)", "a, b = 1, 2", "import os", "a = f()", "a += 1"])
def test_only_literals_are_literals(source):
    with pytest.raises(ValueError, match=r"name = literal|malformed node"):
        notebook.literal_assignments(source)


def test_literals_of_every_kind_are_read():
    source = '# a comment\nprofile = "tiny"\nrate: float = -2e-3\nparts = {"a": [1, None, True]}'
    assert notebook.literal_assignments(source) == {"profile": "tiny", "rate": -0.002, "parts": {"a": [1, None, True]}}


def test_a_notebook_shows_what_to_do_and_not_how_the_error_was_raised(capsys):
    shell = InteractiveShell()
    shell.run_cell("from askguru_lib.errors import DataError\nraise DataError('no SQL', where='a.json', hint='add it')")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "DataError: a.json: no SQL\n  → add it" in shown
    assert "Traceback" not in shown
