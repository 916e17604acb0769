"""Quarto's dialect of Markdown as HTML: callouts, cross-references, citations, formulas as MathML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from latex2mathml.converter import convert as mathml
from markdown_it import MarkdownIt
from mdit_py_plugins.attrs import attrs_block_plugin, attrs_plugin
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

LABEL = r"(?:fig|tbl|eq|sec)-[\w-]+"
CALLOUTS = ("note", "tip", "warning", "important", "caution")


@dataclass
class Context:
    """What prose may refer to.

    Attributes:
        where: the page, for messages.
        up: how the page reaches the book's root: ``""`` or ``"../"``.
        labels: label of a figure, table, equation or section: (page and anchor, text to show).
        citations: key: (page and anchor, "Hu et al. 2022").
        problems: references that lead nowhere are added here.
        open_divs: closing tags of the divs that are open across cells.
        cells: cells rendered so far.
    """

    where: str
    up: str
    labels: dict[str, tuple[str, str]]
    citations: dict[str, tuple[str, str]]
    problems: list[str]
    open_divs: list[str] = field(default_factory=list)
    cells: int = 0


def slug(text: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")


def markdown(source: str, context: Context) -> str:
    """A Markdown cell as HTML."""
    md = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    md.use(footnote_plugin).use(deflist_plugin).use(attrs_plugin, spans=True).use(attrs_block_plugin)
    md.use(dollarmath_plugin, double_inline=True, allow_space=False, renderer=_math)
    md.core.ruler.push("references", partial(_references, context))
    rules: Any = md.renderer
    rules.rules["fence"] = lambda tokens, i, *_: code_html(tokens[i].content, tokens[i].info)
    rules.rules["image"] = partial(_image, context, rules)
    context.cells += 1  # footnotes are numbered per cell
    return str(md.render(_divs(source, context), {"docId": str(context.cells)}))


def _math(text: str, options: dict[str, Any]) -> str:
    return mathml(text, display="block" if options.get("display_mode") else "inline")


def _image(context: Context, renderer: Any, tokens: Any, i: int, options: Any, env: Any) -> str:
    token = tokens[i]
    caption = renderer.renderInlineAsText(token.children, options, env)
    label, alt = str(token.attrs.get("id", "")), str(token.attrs.get("fig-alt", caption))
    image = f'<img src="{html.escape(str(token.attrs["src"]))}" alt="{html.escape(alt)}">'
    if label not in context.labels:
        return image
    number = context.labels[label][1]
    return (
        f'<figure id="{label}">{image}<figcaption><span class="number">{number}</span> {caption}</figcaption></figure>'
    )


def code_html(code: str, language: str = "") -> str:
    """Highlighted code; ``{=html}`` is passed through, an unknown language is shown plain."""
    language = language.strip("{}. ") or "text"
    if language == "=html":
        return code
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(code, lexer, HtmlFormatter()).strip()


def _divs(source: str, context: Context) -> str:
    """Turn Quarto's ``:::`` fences into HTML: a div may open in one cell and close in a later one.

    Likewise the captions of tables and the labels of equations.
    """
    lines: list[str] = []
    fenced, above = False, ""
    rest = iter(source.split("\n"))
    for line in rest:
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        fence = None if fenced else re.match(r"\s*:{3,}\s*(.*?)\s*:*\s*$", line)
        caption = None if fenced else re.match(r": +(.*?)\s*(?:\{#(tbl-[\w-]+)\})?\s*$", line)
        equation = None if fenced else re.match(r"(.*\$\$)\s*\{#(eq-[\w-]+)\}", line)
        if fence and not fence[1]:
            lines += ["", context.open_divs.pop() if context.open_divs else "", ""]
        elif fence:
            lines += _open_div(fence[1], rest, context.open_divs)
        elif caption and above.startswith("|"):
            number = context.labels.get(caption[2] or "", ("", ""))[1]
            lines += ["", f'<div class="caption" id="{caption[2] or ""}">', ""]
            lines += [f'<span class="number">{number}</span> {caption[1]}', "", "</div>", ""]
        elif equation:
            number = context.labels.get(equation[2], ("", "?"))[1]
            lines += [equation[1], "", f'<p class="equation" id="{equation[2]}">({number})</p>']
        else:
            lines.append(line)
        above = line if line.strip() else above
    return "\n".join(lines)


def _open_div(attributes: str, rest: Iterator[str], open_divs: list[str]) -> list[str]:
    """Lines that open a div or a callout; a callout without a title takes its first heading."""
    classes = " ".join(re.findall(r"\.([\w-]+)", attributes)) or re.sub(r"[{}].*", "", attributes)
    label = re.search(r"#([\w-]+)", attributes)
    name = f' id="{label[1]}"' if label else ""
    kind = next((kind for kind in CALLOUTS if f"callout-{kind}" in classes.split()), None)
    if kind is None:
        open_divs.append("</div>")
        return ["", f'<div class="{classes}"{name}>', ""]
    left_over = []
    if given := re.search(r'title="([^"]*)"', attributes):
        title = given[1]
    else:
        first = next((line for line in rest if line.strip()), "")
        heading = re.match(r"#+ +(.*)", first)
        title = heading[1] if heading else kind.title()
        left_over = [] if heading else [first]
    title = html.escape(title)
    if folded := re.search(r'collapse="?(true|false)', attributes):
        open_divs.append("</details>")
        state = " open" if folded[1] == "false" else ""
        opening = f'<details class="callout {classes}"{name}{state}><summary>{title}</summary>'
    else:
        open_divs.append("</div>")
        opening = f'<div class="callout {classes}"{name}><p class="callout-title">{title}</p>'
    return ["", opening, "", *left_over]


def _references(context: Context, state: Any) -> None:
    """Resolve cross-references and citations in the text (never in code), give headings their anchors."""
    for position, token in enumerate(state.tokens):
        if token.type == "heading_open":
            inline = state.tokens[position + 1]
            options = re.search(r"\s*\{([^}]*)\}\s*$", inline.content)
            if options and inline.children[-1].type == "text":
                inline.children[-1].content = re.sub(r"\s*\{[^}]*\}\s*$", "", inline.children[-1].content)
            anchor = re.search(r"#([\w-]+)", options[1]) if options else None
            token.attrSet("id", anchor[1] if anchor else slug(re.sub(r"[*`]|\{.*\}", "", inline.content)))
        for child in token.children or ():
            if child.type == "link_open" and "://" not in (href := str(child.attrs["href"])):
                child.attrSet("href", re.sub(r"\.(?:ipynb|qmd)(?=#|$)", ".html", href))
            if child.type == "text" and "@" in child.content:
                child.type, child.content = "html_inline", _resolve(context, html.escape(child.content, quote=False))


def _resolve(context: Context, text: str) -> str:
    def crossref(match: re.Match[str]) -> str:
        label = match[1]
        if label not in context.labels:
            context.problems.append(f"{context.where}: @{label} leads nowhere")
            return f"<strong>?{label}</strong>"
        href, shown = context.labels[label]
        return f'<a class="crossref" href="{context.up}{href}">{html.escape(shown)}</a>'

    def cite(key: str) -> str:
        if key not in context.citations:
            context.problems.append(f"{context.where}: [@{key}] is not in the bibliography")
            return f"<strong>?{key}</strong>"
        href, shown = context.citations[key]
        return f'<a href="{context.up}{href}">{html.escape(shown)}</a>'

    def bracketed(match: re.Match[str]) -> str:
        inner = re.sub(r"-?@([\w:-]*\w)", lambda m: cite(m[1]), match[1])
        return f"({inner})"

    def narrative(match: re.Match[str]) -> str:
        return cite(match[1]) if match[1] in context.citations else match[0]

    text = re.sub(rf"\[?-?@({LABEL})\]?", crossref, text)
    text = re.sub(r"\[((?:[^\]]*[\s;-])?@\w[^\]]*)\]", bracketed, text)
    return re.sub(r"(?<![\w.])@(\w[\w:-]*\w)", narrative, text)
