"""What make calls: hashes, outputs brought home, failures named; and make itself on a small book."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, chapter

from askguru_lib import chapters
from askguru_lib.config import RunConfig
from askguru_lib.errors import DataError

v4 = nbformat.v4
CONFIG = RunConfig()


def executed(source, outputs_of_last):
    """A run of ``source`` as Papermill leaves it."""
    done = copy.deepcopy(source)
    done.cells.insert(2, v4.new_code_cell('profile = "tiny"', metadata={"tags": ["injected-parameters"]}))
    done.cells[-1].outputs = outputs_of_last
    for number, cell in enumerate(c for c in done.cells if c.cell_type == "code"):
        cell.execution_count = number + 1
        cell.metadata["papermill"] = {"start_time": "2026-01-01"}
        cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    done.metadata["papermill"] = {"duration": 12.34, "output_path": "/somewhere"}
    done.metadata["widgets"] = {}
    return done


def stream(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def test_the_hash_covers_code_and_parameters_and_not_prose_or_outputs():
    notebook = chapter(1, "1 + 1")
    first = chapters.code_hash(notebook, CONFIG)
    notebook.cells[0].source = "# Another title"
    notebook.cells[-1].source = "#| label: fig-a\n#| fig-cap: A.\n1 + 1"
    notebook.cells[-1].outputs = [stream("2")]
    notebook.cells[-1].execution_count = 9
    assert chapters.code_hash(notebook, CONFIG) == first
    assert chapters.code_hash(executed(notebook, []), CONFIG) == first
    assert chapters.code_hash(notebook, RunConfig(seed=8)) != first
    notebook.cells[-1].source = "1 + 2"
    assert chapters.code_hash(notebook, CONFIG) != first


def test_outputs_come_home_without_traces_of_the_run(tmp_path):
    source = chapter(1, "1 + 1")
    outputs = [stream(f"wrote {tmp_path}/runs/tiny/x\n"), v4.new_output("execute_result", {"text/plain": "2"})]
    stored = chapters.with_outputs(source, executed(source, outputs), tmp_path)
    nbformat.validate(stored)
    assert [c.source for c in stored.cells] == [c.source for c in source.cells]
    assert stored.cells[-1].outputs[0].text == "wrote runs/tiny/x\n"
    assert stored.cells[-1].outputs[1].execution_count == 3
    text = nbformat.writes(stored)
    assert not any(trace in text for trace in ("papermill", "2026-01-01", "injected", "widgets", str(tmp_path)))


def test_progress_bars_are_dropped_and_real_messages_kept():
    source = chapter(1, "work()")
    bars = stream("\rTrain:   0%|          | 0/3 [00:00<?, ?it/s]\rTrain: 100%|███| 3/3 [00:01<00:00]\n", "stderr")
    both = stream("Read: 100%|███| 3/3 [00:01<00:00]\n7it [00:01, 5it/s]\nbeware\n", "stderr")
    stored = chapters.with_outputs(source, executed(source, [bars, both]), Path("/nowhere"))
    assert [o.text for o in stored.cells[-1].outputs] == ["beware\n"]


def test_outputs_of_other_code_are_refused():
    source = chapter(1, "1 + 1")
    done = executed(source, [])
    source.cells[-1].source = "1 + 2"
    with pytest.raises(DataError, match="older than the notebook's code"):
        chapters.with_outputs(source, done, Path("/nowhere"))


def test_a_file_that_is_no_notebook_is_an_error_with_its_name(tmp_path):
    (tmp_path / "01_x.ipynb").write_text("{")
    with pytest.raises(DataError, match=r"01_x\.ipynb"):
        chapters.read(tmp_path / "01_x.ipynb")


def test_hash_files_are_rewritten_only_when_a_hash_changes(make_project):
    project = make_project({"01_first": chapter(1, "1")})
    out = project / "hashes"
    chapters.write_hashes(project, "tiny", out)
    assert {p.name for p in out.iterdir()} == {"01_first.ipynb", "parameters", "foundation"}
    for path in out.iterdir():
        os.utime(path, (1, 1))

    def rewritten():
        chapters.write_hashes(project, "tiny", out)
        return {p.name for p in out.iterdir() if p.stat().st_mtime > 1}

    notebook = chapter(1, "1")
    notebook.cells[0].source = "# Other prose"
    nbformat.write(notebook, project / "notebooks" / "01_first.ipynb")
    assert rewritten() == set()
    (project / "askguru_lib" / "code.py").write_text("x = 1")
    assert rewritten() == {"foundation"}
    (project / "params" / "tiny.yaml").write_text("profile: tiny\nseed: 1\n")
    assert rewritten() == {"foundation", "parameters", "01_first.ipynb"}


def test_the_makefile_knows_every_chapter_that_reads_from_another(root):
    needs = dict(
        pair.split(":")
        for line in (root / "Makefile").read_text().splitlines()
        if line.startswith("NEEDS")
        for pair in line.split(":=")[1].split()
    )
    names = sorted(p.name[:2] for p in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert all(need < number for number, need in needs.items())
    for number in names[1:]:
        assert number in needs, f"chapter {number} reads from none; add it to NEEDS in the Makefile"


# --- make on a small book ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_book(make_project):
    first = chapter(1, 'run.path("made.txt").write_text("by chapter 1")', 'print("one")')
    second = chapter(2, 'made = run.need("made.txt", chapter=1).read_text()', "made")
    return make_project({"01_first": first, "02_second": second})


@pytest.fixture
def make(small_book, make_command):
    def call(*arguments, check=True):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ASKGURU", "MAKE"))}
        done = subprocess.run(
            make_command(*arguments), cwd=small_book, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return call


def ran(done):
    return [line.split()[1] for line in done.stdout.splitlines() if line.endswith("…") or "… (" in line]


@pytest.mark.slow
def test_make_runs_what_has_changed_and_nothing_else(small_book, make):
    out = small_book / "runs" / "tiny" / "notebooks"
    done = make("run")
    assert ran(done) == ["01_first", "02_second"]
    assert "[1/2] 01_first done in" in done.stdout
    assert "1 left" in done.stdout
    assert ran(make("run")) == []

    stored = small_book / "notebooks" / "02_second.ipynb"
    os.utime(stored)  # a checkout
    notebook = nbformat.read(stored, as_version=4)
    notebook.cells[0].source = "# Better prose"
    nbformat.write(notebook, stored)
    assert ran(make("run")) == []

    notebook.cells[-1].source = "made.upper()"
    nbformat.write(notebook, stored)
    assert ran(make("run")) == ["02_second"]
    assert "BY CHAPTER 1" in (out / "02_second.ipynb").read_text()

    (small_book / "params" / "tiny.yaml").write_text("profile: tiny\nseed: 2\n")
    assert ran(make("run")) == ["01_first", "02_second"]
    assert ran(make("run", "FROM=02")) == ["02_second"]

    (out / "01_first.ipynb").unlink()
    assert ran(make("run", "FROM=02")) == ["02_second"]
    assert ran(make("run")) == ["01_first", "02_second"]


@pytest.mark.slow
def test_a_failing_cell_is_named_and_nothing_half_done_counts(small_book, make):
    path = small_book / "notebooks" / "02_second.ipynb"
    nbformat.write(chapter(2, 'run.need("made.txt", chapter=1)', 'run.need("nowhere.txt", chapter=1)'), path)
    done = make("run", check=False)
    assert done.returncode != 0
    assert "02_second: failed in cell 5 [5]" in done.stderr
    assert '| run.need("nowhere.txt", chapter=1)' in done.stderr
    assert "MissingArtifactError: runs/tiny/nowhere.txt" in done.stderr
    out = small_book / "runs" / "tiny" / "notebooks"
    assert sorted(p.name for p in out.glob("*.ipynb")) == ["01_first.ipynb"]
    code = [sys.executable, "-m", "askguru_lib.chapters", "run", "notebooks/02_second.ipynb", out / "02_second.ipynb"]
    assert subprocess.run(code, cwd=small_book, capture_output=True, check=False).returncode == 4


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(small_book, make, make_command):
    make("run")  # what an earlier run made must not pass for the result of the one that is killed
    waiting = chapter(2, "import time", "time.sleep(600)")
    path = small_book / "notebooks" / "02_second.ipynb"
    nbformat.write(waiting, path)
    out = small_book / "runs" / "tiny" / "notebooks"
    process = subprocess.Popen(
        make_command("run"), cwd=small_book, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not (out / ".partial" / "02_second.ipynb").is_file():
            assert process.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert not (out / "02_second.ipynb").exists()
    nbformat.write(chapter(2, "1"), path)
    assert ran(make("run")) == ["02_second"]


@pytest.mark.slow
def test_refresh_stores_outputs_that_the_next_run_finds_current(small_book, make):
    make("refresh")
    for path in sorted((small_book / "notebooks").glob("*.ipynb")):
        stored = nbformat.read(path, as_version=4)
        config = RunConfig.load(small_book / "params" / "tiny.yaml")
        assert stored.metadata["askguru"]["code_hash"] == chapters.code_hash(stored, config)
        assert stored.metadata["askguru"]["seconds"] > 0
    assert "'by chapter 1'" in path.read_text()
    before = path.read_text()
    assert ran(make("refresh")) == []
    assert path.read_text() == before

    (small_book / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "nbval_sanitize.cfg", small_book / "tests")
    assert re.search(r"\b8 passed", make("nbval").stdout)


@pytest.mark.slow
def test_papermills_own_command_line_gives_the_same_from_any_folder(small_book, tmp_path):
    for name in ("01_first", "02_second"):
        command = [
            sys.executable,
            "-m",
            "papermill",
            small_book / "notebooks" / f"{name}.ipynb",
            tmp_path / "out.ipynb",
        ]
        options = [
            "-f",
            small_book / "params" / "tiny.yaml",
            "-p",
            "seed",
            "3",
            "-k",
            "python3",
            "--language",
            "python",
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ASKGURU")}
        subprocess.run(
            [*command, *options], cwd=small_book / "params", env=environment, capture_output=True, check=True
        )
    assert "'by chapter 1'" in (tmp_path / "out.ipynb").read_text()
    assert (small_book / "runs" / "tiny" / "made.txt").read_text() == "by chapter 1"


def test_the_time_left_follows_the_pace_of_this_machine() -> None:
    stored = {"01": 10.0, "02": 20.0, "03": 30.0, "04": None}
    assert chapters.time_left(["02", "03"], {"01": 10.0}, stored) == 50, "as fast as where the outputs were stored"
    assert chapters.time_left(["02", "03"], {"01": 30.0, "02": None}, stored) == 150, "three times slower"
    assert chapters.time_left(["03"], {"01": 30.0, "02": 20.0}, stored) == 50, "over all chapters that ran here"
    assert chapters.time_left(["02", "03"], {"01": 30.0, "02": 7.0}, stored) == pytest.approx(7 + 30 * 37 / 30)
    assert chapters.time_left(["03", "04"], {"01": 10.0}, stored) == 0, "one of them is not known"
    assert chapters.time_left([], {"01": 10.0}, stored) == 0
