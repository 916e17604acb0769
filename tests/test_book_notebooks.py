"""The stored notebooks are real, current and fit to be published."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from askguru_lib.chapters import code_cells, code_hash
from askguru_lib.config import RunConfig
from askguru_lib.notebook import literal_assignments

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|tmp|private|mnt|opt|usr/local)/[\w.-]+")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def options(cell):
    head = re.match(r"(?:#\|.*(?:\n|$))+", cell.source)
    return yaml.safe_load(re.sub(r"^#\| ?", "", head[0], flags=re.M)) if head else {}


def test_it_is_valid_and_named_by_its_number(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    assert re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name)


def test_every_cell_was_run_in_order_and_something_came_of_it(path):
    run = [c.execution_count for c in code_cells(nbformat.read(path, as_version=4))]
    assert run == list(range(1, len(run) + 1)), "run it: make refresh"
    assert any(c.outputs for c in cells(path)), "a notebook without outputs tests nothing: make refresh"


def test_its_outputs_belong_to_its_code_and_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    stored = notebook.metadata.get("askguru", {})
    config = RunConfig.load(ROOT / "params" / "tiny.yaml")
    assert stored.get("profile") == "tiny"
    assert stored.get("code_hash") == code_hash(notebook, config), "outputs are older than the code: make refresh"


def test_no_cell_failed(path):
    assert not [o.evalue for c in cells(path) for o in c.outputs if o.output_type == "error"]


def test_it_carries_no_widget_no_timestamp_and_no_injected_cell(path):
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "askguru"}
    for cell in notebook.cells:
        assert not {"papermill", "execution"} & set(cell.metadata)
        assert "injected-parameters" not in cell.metadata.get("tags", ())
        for output in cell.get("outputs", ()):
            assert not any("widget" in kind for kind in output.get("data", {}))


def test_it_names_no_path_of_the_machine_that_ran_it(path):
    for cell in nbformat.read(path, as_version=4).cells:
        texts = [cell.source]
        for output in cell.get("outputs", ()):
            texts += [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
        for text in texts:
            assert not MACHINE_PATH.search(text), MACHINE_PATH.search(text)
            assert not any(place in text for place in (str(ROOT), sys.prefix, "site-packages", "ipykernel_"))


def test_its_parameters_cell_holds_literals_that_are_parameters(path):
    tagged = [c for c in cells(path) if "parameters" in c.metadata.get("tags", ())]
    assert len(tagged) == 1
    found = literal_assignments(tagged[0].source)
    assert next(iter(found.items())) == ("profile", "tiny")
    assert set(found) <= set(RunConfig.field_names())


def test_it_is_set_up_right_after_its_parameters_and_signs_at_its_foot(path):
    code = cells(path)
    position = next(i for i, c in enumerate(code) if "parameters" in c.metadata.get("tags", ()))
    number = int(path.name[:2])
    assert f"notebook.start({number}, globals())" in code[position + 1].source
    assert code[-1].source.strip().endswith("run.card()")


def test_every_figure_has_a_label_a_caption_and_an_alternative_text(path):
    for cell in cells(path):
        if any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {})):
            named = options(cell)
            assert re.fullmatch(r"fig-[a-z0-9-]+", named.get("label", "")), cell.source
            assert len(named.get("fig-cap", "")) > 15, cell.source
            assert len(named.get("fig-alt", "")) > 15, cell.source


def test_it_has_a_title_a_recap_the_full_scale_and_exercises(path):
    prose = "\n".join(c.source for c in cells(path, "markdown"))
    assert len(re.findall(r"^# ", re.sub(r"```.*?```", "", prose, flags=re.S), re.M)) == 1
    for heading in ("Recap", "At full scale", "Exercises"):
        assert re.search(rf"^#+ .*{heading}", prose, re.M | re.I), heading


def test_it_installs_nothing_and_hides_nothing(path):
    for cell in cells(path):
        assert not re.search(r"^\s*[!%]\s*(?:pip|conda)|^if False", cell.source, re.M)
        assert not re.search(r"^from \S+ import \*", cell.source, re.M)
