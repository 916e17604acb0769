"""The preview: every page of the chapter list, every link and picture, both themes, nothing from the network."""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import chapter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))

import build  # noqa: E402
import preview  # noqa: E402
import prose  # noqa: E402

v4 = nbformat.v4
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def code(source, *outputs, tags=()):
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def shown(**data):
    return v4.new_output("display_data", {k.replace("_", "/"): v for k, v in data.items()})


def printed(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


FIRST = chapter(
    1,
    v4.new_markdown_cell(
        "Look at @fig-line, @tbl-cities and @sec-second; "
        "[see @hu2022lora; @li2023bird], as @wilson1927interval says.\n\n"
        "$p = \\frac{k}{n}$ and `@fig-none stays`, me@example.com too, [the second](02_second.ipynb#there).\n\n"
        '## Exercises\n\n::: {.callout-tip collapse="true"}\n## Solution\nLike this:'
    ),
    code("1 + 1", printed("folded")),
    v4.new_markdown_cell(":::\n\nOutside again."),
    code(
        '#| label: fig-line\n#| fig-cap: "It *rises*."\n#| fig-alt: "A line & more"\nplot()',
        shown(image_png=PIXEL, text_plain="<Figure>"),
    ),
    code('#| label: tbl-cities\n#| tbl-cap: "Cities."\ntable()', shown(text_html="<table class='dataframe'></table>")),
    code("#| code-fold: true\nfolded_code()"),
    code("secret()", printed("hidden"), tags=["remove-cell"]),
    code("quiet()", printed("visible"), tags=["hide-code"]),
    code("mute()", printed("invisible"), tags=["hide-output"]),
)
SECOND = chapter(
    2, v4.new_markdown_cell("| a | b |\n|---|---|\n| 1 | 2 |\n\n: A *small* one {#tbl-small}\n\n@tbl-small")
)
SECOND.cells[0].source = "# 02 · How do we *show* it? {#sec-second}\n\nText.\n\n## There\n"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A small book, rendered: (folder of pages, problems)."""
    folder, out = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("out") / "book"
    return folder, out, lay_out(folder, out, {"01_first": FIRST, "02_second": SECOND})


def lay_out(folder, out, chapters):
    (folder / "notebooks").mkdir()
    for name, notebook in chapters.items():
        build._number_title(notebook, int(name[:2]))
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    settings = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    pages = [f"notebooks/{name}.ipynb" for name in sorted(chapters)]
    settings["book"]["chapters"] = [
        "index.qmd",
        "book/preface.qmd",
        *([{"part": "Part", "chapters": pages}] * bool(pages)),
    ]
    (folder / "_quarto.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
    shutil.copy(ROOT / "index.qmd", folder)
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("__pycache__", "templates"))
    return preview.render(folder, out, ROOT / "book" / "templates")


@cache
def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path):
    return {tag["id"] for tag in soup(path).select("[id]")}


@pytest.fixture(scope="module")
def first(book):
    return soup(book[1] / "notebooks" / "01_first.html")


def check_links(out: Path) -> list[str]:
    """Links, anchors and pictures that lead nowhere, and anything that would be fetched."""
    wrong = []
    for page in out.rglob("*.html"):
        tree = soup(page)
        for tag in tree.select("[href], [src]"):
            target = unquote(tag.get("href") or tag.get("src"))
            if target.startswith(("https://", "http://")):
                if tag.name != "a":
                    wrong.append(f"{page.name}: fetches {target}")
            elif not target.startswith("data:"):
                file, _, anchor = target.partition("#")
                goal = Path(os.path.normpath(page.parent / file)) if file else page
                if not goal.is_file():
                    wrong.append(f"{page.name}: {target}: no such page")
                elif anchor and anchor not in anchors(goal):
                    wrong.append(f"{page.name}: {target}: no such anchor")
    return wrong


def test_every_page_of_the_list_is_there_with_its_neighbours(book):
    _, out, problems = book
    assert problems == []
    pages = ["index", "book/preface", "notebooks/01_first", "notebooks/02_second", "book/reproduce", "book/references"]
    for position, name in enumerate(pages):
        tree = soup(out / f"{name}.html")
        here = tree.select("#sidebar a[aria-current=page]")
        assert len(here) == 1
        assert len(tree.select("#sidebar a")) == len(pages)
        turn = {a["rel"][0]: (out / name).parent / a["href"] for a in tree.select(".turn a")}
        assert ("prev" in turn) == (position > 0)
        assert ("next" in turn) == (position + 1 < len(pages))
        if "next" in turn:
            assert turn["next"].resolve() == (out / f"{pages[position + 1]}.html").resolve()


def test_links_anchors_and_pictures_lead_somewhere_and_nothing_is_fetched(book):
    assert [w for w in check_links(book[1]) if "13_evaluation" not in w] == []


def test_chapters_keep_the_number_of_their_notebook(book):
    tree = soup(book[1] / "notebooks" / "02_second.html")
    assert tree.h1.get_text() == "2 · How do we show it?"
    assert tree.h1["id"] == "sec-second"
    assert "2How do we show it?" in tree.select_one("#sidebar [aria-current]").get_text()


def test_references_and_citations_are_resolved_in_prose_and_left_alone_in_code(first):
    text = first.article.get_text()
    assert "Look at Figure 1.1, Table 1.1 and Chapter 2" in text
    assert "(see Hu et al. 2022; Li et al. 2023), as Wilson 1927 says" in text
    assert "@fig-none stays" in text
    assert "me@example.com" in text
    assert first.find("a", string="Hu et al. 2022")["href"] == "../book/references.html#ref-hu2022lora"
    assert first.find("a", string="the second")["href"] == "02_second.html#there"


def test_figures_and_tables_have_number_caption_and_alternative_text(first):
    figure = first.find(id="fig-line")
    assert figure.name == "figure"
    assert figure.img["alt"] == "A line & more"
    assert figure.img["src"].startswith("data:image/png;base64,")
    assert figure.figcaption.get_text().strip() == "Figure 1.1 It rises."
    assert first.find(id="tbl-cities").figcaption.get_text().strip() == "Table 1.1 Cities."
    assert "#|" not in first.get_text()


def test_a_folded_solution_may_span_cells(first):
    solution = first.select_one("details.callout-tip")
    assert solution.summary.get_text() == "Solution"
    assert "1 + 1" in solution.get_text()
    assert "folded" in solution.get_text()
    assert "Outside again" not in solution.get_text()
    assert "Solution" not in first.aside.get_text()


def test_tags_and_options_hide_what_they_say(first):
    text = first.get_text()
    assert "secret()" not in text
    assert "hidden" not in text
    assert "quiet()" not in text
    assert "visible" in text
    assert "mute()" in text
    assert "invisible" not in text
    assert "folded_code" in first.select_one(".input details").get_text()


def test_formulas_are_mathml(first):
    assert first.find("math").find("mfrac")


def test_a_table_of_prose_may_have_a_caption(book):
    tree = soup(book[1] / "notebooks" / "02_second.html")
    assert tree.find(id="tbl-small").get_text().strip() == "Table 2.1 A small one"
    assert tree.find("a", string="Table 2.1")


def test_numbers_stand_right_and_words_left():
    frame = pd.DataFrame({"n": [1, 22.5], "w": ["a", "b " * 40]}, index=["x", "y"])
    cells = BeautifulSoup(preview.table_html(frame.to_html()), "html.parser").select("[class~=number], [class~=words]")
    assert [(c.name, c["class"]) for c in cells if c.name == "th"] == [("th", ["number", "short"]), ("th", ["words"])]
    assert len(cells) == 6
    assert preview.table_html("<p>no table</p>") == "<p>no table</p>"


def test_the_theme_follows_the_system_and_the_toggle(book, first):
    css = (book[1] / "preview.css").read_text()
    assert "prefers-color-scheme: dark" in css
    assert ":root[data-theme=dark] .highlight .k" in css
    assert ":root:not([data-theme=light]) .highlight .k" in css
    assert first.find("button", id="theme")
    assert first.find("meta", attrs={"name": "viewport"})


def context(**known):
    return prose.Context("page", "", known.get("labels", {}), known.get("citations", {}), [])


@pytest.mark.parametrize("text", ["see @fig-nothing", "see [@nobody2020]"])
def test_a_reference_that_leads_nowhere_is_reported(text):
    where = context()
    assert "<strong>?" in prose.markdown(text, where)
    assert len(where.problems) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("::: {.callout-note}\nx\n:::", r'<div class="callout callout-note"><p class="callout-title">Note</p>'),
        ('::: {.callout-warning title="Mind & gap"}\nx\n:::', r"Mind &amp; gap</p>"),
        ('::: {.callout-note collapse="false"}\n## Open\nx\n:::', r"<details [^>]*open><summary>Open</summary>"),
        ("::: {.wide #here}\nx\n:::", r'<div class="wide" id="here">\s*<p>x</p>\s*</div>'),
        ("```python\n:::\n```", r":::"),
        ("```{=html}\n<b>raw</b>\n```", r"^<b>raw</b>"),
        ("```nonsense\nx < 1\n```", r"x &lt; 1"),
        ("# Title {#sec-x .unnumbered}", r'<h1 id="sec-x">Title</h1>'),
        ("It costs $5 and $10.", r"It costs \$5 and \$10\."),
        ("a\n\n$$x^2$$ {#eq-a}", r'id="eq-a"'),
        ("Word.[^1]\n\n[^1]: Note.", r'class="footnotes"'),
        ("Term\n: What it is", r"<dt>Term</dt>"),
        ('![A map](m.png){#fig-m fig-alt="roads"}', r'<img src="m.png" alt="roads">'),
    ],
)
def test_quartos_markdown(source, expected):
    assert re.search(expected, prose.markdown(source, context()))


def test_an_unclosed_div_is_reported(tmp_path):
    broken = chapter(1, v4.new_markdown_cell("::: {.callout-note}\nx"))
    assert lay_out(tmp_path, tmp_path / "out", {"01_first": broken}) == ["notebooks/01_first.ipynb: 1 ':::' left open"]


def test_a_label_that_stands_twice_is_reported(tmp_path):
    twice = {f"0{n}_x": chapter(n, code('#| label: fig-a\n#| fig-cap: "A."\n1', printed("1"))) for n in (1, 2)}
    assert lay_out(tmp_path, tmp_path / "out", twice) == ["notebooks/02_x.ipynb: notebooks/01_x.html has a fig-a, too"]


@pytest.mark.slow
def test_the_stored_chapters_make_a_book_without_loose_ends(tmp_path):
    chapters = {p.stem: nbformat.read(p, as_version=4) for p in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    problems = lay_out(tmp_path, tmp_path / "out", chapters)
    missing = {Path(n).stem for n in build.chapter_files(yaml.safe_load((ROOT / "_quarto.yml").read_text()))} - set(
        chapters
    )
    assert problems == []
    assert [w for w in check_links(tmp_path / "out") if not any(name in w for name in missing)] == []


def test_every_notebook_is_in_the_book_once_and_in_order():
    listed = build.chapter_files(yaml.safe_load((ROOT / "_quarto.yml").read_text()))
    assert listed == sorted(set(listed))
    stored = {f"notebooks/{p.name}" for p in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert stored <= set(listed)


def test_a_chapter_that_was_not_run_is_named_with_its_command(make_project, tmp_path):
    project = make_project({"01_first": FIRST})
    with pytest.raises(build.MissingArtifactError, match=r"01_first.*\n.*make run PROFILE=tiny FROM=01"):
        build.render(project, tmp_path / "runs" / "tiny" / "notebooks", tmp_path / "_book", "preview")
