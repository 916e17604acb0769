"""The book without Quarto: nbconvert renders the chapter list of ``_quarto.yml``, in Quarto's own dialect of Markdown.

Understood: cell tags and ``#|`` options, callouts, ``@fig-…`` ``@tbl-…`` ``@sec-…`` references, ``[@key]`` citations,
``$…$`` (as MathML), footnotes. Pages load nothing from the network.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import yaml
from bs4 import BeautifulSoup
from jinja2 import pass_context
from nbconvert import HTMLExporter
from prose import LABEL, Context, code_html, markdown, slug
from pybtex.backends.html import Backend as HTMLBackend
from pybtex.database import parse_file
from pybtex.style.formatting.plain import Style as PlainStyle
from pygments.formatters import HtmlFormatter

NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?\s?%?|NaN|NaT|None|inf|")
KINDS = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}


@dataclass
class Page:
    """One page: its source, where it goes, and what other pages may refer to."""

    source: str
    part: str
    notebook: Any
    title: str = ""
    number: str = ""
    headings: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def href(self) -> str:
        return re.sub(r"\.(qmd|ipynb)$", ".html", self.source)

    def link_to(self, href: str) -> str:
        """``href`` (from the book's root) as seen from this page."""
        return "../" * self.source.count("/") + href


@dataclass
class Book:
    """Everything that a page needs to know of the others."""

    settings: dict[str, Any]
    pages: list[Page]
    labels: dict[str, tuple[str, str]]  # label: (page and anchor, text)
    citations: dict[str, tuple[str, str]]  # key: (page and anchor, "Hu et al. 2022")
    references: str
    problems: list[str] = field(default_factory=list)


def page_list(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file, part) of every page, in order."""
    book = settings["book"]
    for entry in [*book["chapters"], *({"part": "Appendices", "chapters": [a]} for a in book.get("appendices", []))]:
        if isinstance(entry, str):
            yield entry, ""
        else:
            yield from ((page, entry["part"]) for page in entry["chapters"])


def render(folder: Path, out: Path, templates: Path) -> list[str]:
    """Render a staged book into ``out``; returns the problems, such as references that lead nowhere."""
    book = load(folder)
    exporter = PageExporter(template_name="preview", extra_template_basedirs=[str(templates)])
    exporter.register_filter("code_html", code_html)
    exporter.register_filter("table_html", table_html)
    exporter.references = book.references
    for position, page in enumerate(book.pages):
        target = out / page.href
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_page_html(book, position, exporter), encoding="utf-8")
    for path in folder.rglob("*"):
        if path.suffix in {".png", ".svg", ".jpg", ".gif"}:
            (out / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, out / path.relative_to(folder))
    styles = [(templates.parent / "theme" / "preview.css").read_text(encoding="utf-8"), *_code_colours()]
    (out / "preview.css").write_text("\n".join(styles), encoding="utf-8")
    return book.problems


def load(folder: Path) -> Book:
    """Read the pages of a staged book and collect titles, labels and references."""
    settings = yaml.safe_load((folder / "_quarto.yml").read_text(encoding="utf-8"))
    pages = [Page(source, part, _read(folder / source)) for source, part in page_list(settings)]
    labels: dict[str, tuple[str, str]] = {}
    problems: list[str] = []
    for page in pages:
        _collect(page, labels, problems)
    bibliography = folder / settings["bibliography"]
    citations, references = _bibliography(bibliography)
    home = next((p.href for p in pages if "{#refs}" in "".join(c.source for c in p.notebook.cells)), "")
    cited = {key: (f"{home}#ref-{key}", text) for key, text in citations.items()}
    return Book(settings, pages, labels, cited, references, problems)


def _read(path: Path) -> Any:
    if path.suffix == ".ipynb":
        notebook = nbformat.read(path, as_version=4)
    else:
        text = path.read_text(encoding="utf-8")
        front = re.match(r"---\n(.*?)\n---\n", text, re.S)
        title = yaml.safe_load(front[1]).get("title") if front else None
        body = text[front.end() :] if front else text
        cells = [nbformat.v4.new_markdown_cell((f"# {title}\n\n" if title else "") + body)]
        notebook = nbformat.v4.new_notebook(cells=cells)
    for cell in notebook.cells:
        cell.metadata["book"] = {"tags": cell.metadata.get("tags", [])}
        if cell.cell_type == "code":
            options = re.match(r"(?:#\|.*(?:\n|$))+", cell.source)
            if options:
                cell.source = cell.source[options.end() :]
                cell.metadata["book"] |= yaml.safe_load(re.sub(r"^#\| ?", "", options[0], flags=re.M)) or {}
    notebook.cells = [c for c in notebook.cells if not _hidden(c)]
    return notebook


def _hidden(cell: Any) -> bool:
    options = cell.metadata["book"]
    return bool({"remove-cell", "injected-parameters"} & set(options["tags"])) or options.get("include") is False


def _collect(page: Page, labels: dict[str, tuple[str, str]], problems: list[str]) -> None:
    """Find the page's title, number, headings and everything that can be referred to."""
    name = Path(page.source).stem
    page.number = str(int(name[:2])) if re.match(r"\d\d_", name) else ""
    counts = dict.fromkeys(KINDS, 0)

    def add(label: str, text: str | None = None) -> None:
        kind = label.split("-")[0]
        counts[kind] += 1
        if label in labels:
            problems.append(f"{page.source}: {labels[label][0].split('#')[0]} has a {label}, too")
        number = f"{page.number}.{counts[kind]}" if page.number else str(counts[kind])
        labels[label] = (f"{page.href}#{label}", text or f"{KINDS[kind]} {number}")

    for cell in page.notebook.cells:
        if cell.cell_type == "code":
            if re.fullmatch(LABEL, label := str(cell.metadata["book"].get("label", ""))):
                add(label)
                cell.metadata["book"]["number"] = labels[label][1]
            continue
        above = ""
        for line in _outside_fences(cell.source):
            titles_callout = re.match(r":{3,}.*callout-", above)
            above = line if line.strip() else above
            if titles_callout and line.startswith("#"):
                continue
            if heading := re.match(r"(#{1,4}) +(.*?)\s*(\{.*\})?\s*$", line):
                level, text = len(heading[1]), re.sub(r"[*`]", "", heading[2])
                anchor = re.search(r"#([\w-]+)", heading[3] or "")
                name = anchor[1] if anchor else slug(text)
                page.headings.append((level, text, name))
                if level == 1 and not page.title:
                    page.title = re.sub(r"^\d+ · ", "", text)
                    text = f"Chapter {page.number}" if page.number else page.title
                if name.startswith("sec-"):
                    add(name, text)
            else:
                for label in re.findall(rf"\{{[^}}]*#((?!sec-){LABEL})", line):
                    add(label)


def _outside_fences(source: str) -> Iterator[str]:
    inside = False
    for line in source.split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            inside = not inside
        elif not inside:
            yield line


def _bibliography(path: Path) -> tuple[dict[str, str], str]:
    """Short form of every entry, and the list as HTML."""
    entries = parse_file(str(path))
    short = {}
    for key, entry in entries.entries.items():
        people = [" ".join([*p.prelast_names, *p.last_names]) for p in entry.persons.get("author", [])]
        many = len(people) > 2 or "others" in people
        names = f"{people[0]} et al." if many else " and ".join(people)
        short[key] = re.sub(r"[{}]", "", f"{names} {entry.fields.get('year', '')}").strip()
    backend = HTMLBackend(encoding="utf-8")
    items = [f'<li id="ref-{e.key}">{e.text.render(backend)}</li>' for e in PlainStyle().format_bibliography(entries)]
    return short, "<ol class='references'>" + "".join(items) + "</ol>"


class PageExporter(HTMLExporter):
    """nbconvert's HTML exporter with our Markdown."""

    prose: Context
    references: str

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Filter used by the template for prose and for Markdown outputs."""
        source = re.sub(r":{3,} *\{#refs\}\s*\n(\s*:{3,})?", "<!-- references -->", source)
        return markdown(source, self.prose).replace("<!-- references -->", self.references)


def table_html(source: str) -> str:
    """A data frame with its numbers to the right, its words to the left, and short cells on one line."""
    tree = BeautifulSoup(source, "html.parser")
    for table in tree.select("table.dataframe"):
        rows = [row.find_all("td") for row in table.select("tbody tr")]
        heads = table.thead.find_all("tr")[0].find_all("th") if table.thead else []
        for position, column in enumerate(zip(*rows, strict=False)):
            texts = [cell.get_text().strip() for cell in column]
            kind = ["number" if all(NUMBER.fullmatch(text) for text in texts) else "words"]
            kind += ["short"] * (max(map(len, texts)) <= 24)
            index_columns = len(heads) - len(rows[0])
            for cell in [*column, *heads[index_columns + position :][:1]]:
                cell["class"] = kind
    return str(tree)


def _page_html(book: Book, position: int, exporter: PageExporter) -> str:
    page = book.pages[position]
    exporter.prose = Context(page.source, page.link_to(""), book.labels, book.citations, book.problems)
    text, _ = exporter.from_notebook_node(
        page.notebook,
        {
            "book": book,
            "page": page,
            "previous": book.pages[position - 1] if position else None,
            "next": book.pages[position + 1] if position + 1 < len(book.pages) else None,
        },
    )
    if exporter.prose.open_divs:
        book.problems.append(f"{page.source}: {len(exporter.prose.open_divs)} ':::' left open")
    return text


def _code_colours() -> Iterator[str]:
    yield HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs(":root[data-theme=dark] .highlight")
    yield dark
    system = dark.replace(":root[data-theme=dark]", ":root:not([data-theme=light])")
    yield f"@media screen and (prefers-color-scheme: dark) {{\n{system}\n}}"
