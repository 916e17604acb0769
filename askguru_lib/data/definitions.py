"""What an evidence says that words mean, as SQL: *Flat is PR_TYP = 'F'*, *value means QTY * PRICE*.

The column in such a sentence is there for a condition or a sum, and not to be shown; as a definition of its term a
model sees what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from askguru_lib.data.phrasing import COMPARISONS
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.values import WORD

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\n]|'')*')|(?P<number>\d+(?:\.\d+)?)(?!\.?\w)
    |(?P<name>(?:[A-Za-z_]\w*|"[^"\n]+"|`[^`\n]+`)(?:\.(?:[A-Za-z_]\w*|"[^"\n]+"|`[^`\n]+`))?)(?P<call>\()?
    |(?P<mark><>|!=|<=|>=|\|\||[=<>*/+(),-]))""",
    re.VERBOSE,
)
_KEYWORDS = frozenset(("IS", "NOT", "NULL", "IN", "LIKE", "BETWEEN", "AND", "OR", "and", "or"))
_START = re.compile(r"""(?<![\w.'"`])(?:[A-Za-z_]\w*|"[^"\n]+"|`[^`\n]+`|(?<!\w )(?<!\w)\(|\d)""")
"""A parenthesis behind a word is the sentence's, and not SQL's."""
_OPERATORS = re.compile(r"[=<>*/+]| - |\bIS\b|\bIN\b|\bLIKE\b|\bBETWEEN\b|\|\|")
_CLAUSE = re.compile(r"[.;\n](?:\s|$)|, |\n")
_VERB = re.compile(
    r"""\s*(?:\b(?:is|are|was|were|means?|meaning|stands?\ for|refers?\ to|counts?\ as|have|has|had|with|without|where
    |when|if|that\ is|i\.e\.)|[:=(])
    \s*(?:(?:when|if|where|that|those\ with|the|an?|no|:|(?:sum|total|average)\ of)\s+)*$""",
    re.VERBOSE | re.IGNORECASE,
)
_BEFORE_TERM = re.compile(
    r"(?:(?:and|or|but|an?|the|all|only|count|show|call it|(?:leave|leaving|left) out|without|except|not|for|of)\s+)+",
    re.IGNORECASE,
)
_OPERATOR = {words: operator for operator, said in COMPARISONS.items() for words in said if words != "from"} | {
    "up to": "<="
}
_HOW = "|".join(re.escape(how) for how in sorted(_OPERATOR, key=len, reverse=True))
_IN_WORDS = re.compile(
    rf"""(?:(?P<no>\b(?:has|have|had|with|without)\ (?:(?:no|an?)\ )?))?(?<![\w.'"`])
    (?P<name>[A-Za-z_]\w*)(?!\.?\w|\()
    (?:\ (?:of\ |is\ )?(?P<how>{_HOW})\ (?P<value>\d+(?:\.\d+)?)(?!\.?\w))?
    """,
    re.VERBOSE,
)
"""A condition on a column that is called by its name, in words: *has no term_mo*, *MINS up to 35*."""
_A_WORD = re.compile(r"[A-Za-z]?[a-z]+")
"""A name that a sentence may have meant as a word: *without name* may be one."""
_NO_TERM = frozenset("those these they it this that which who ones".split())  # noqa: SIM905
_LONGEST_TERM = 5
"""Words of a term, at most."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A term, and what it means.

    Attributes:
        term: where it stands: in the question, if that says it, or else in the definition itself.
        place: of the whole definition, from the term on.
        start: of the SQL in it.
        columns: names in the SQL, with their places in the text: ``(start, end, table or "", column)``.
        instead: what the SQL says behind its only column, where the text says it in words.
    """

    term: tuple[int, int]
    place: tuple[int, int]
    start: int
    columns: tuple[tuple[int, int, str, str], ...]
    instead: str = ""


def definitions(text: str, columns: Collection[tuple[str, str]]) -> list[Definition]:
    """Definitions in a question with its evidence, in their order.

    Args:
        text: a question, and its evidence, which begins behind the first line's end; only there is anything defined.
        columns: ``(table, column)`` of the schema, as it spells them.
    """
    names = {column for _, column in columns}
    found: list[Definition] = []
    at = begin = text.find("\n") + 1 or len(text)
    while match := _START.search(text, at):
        start, floor = match.start(), found[-1].place[1] if found else begin
        if said := _in_words(text, start, names):
            end, used, instead = said
            found.append(_defined(text, used[0][0], end, used, floor, instead))
            at = end
        elif run := _run(text, start, names):
            end, used = run
            found.append(_defined(text, start, end, used, floor))
            at = end
        else:
            at = match.end()
    return found


def _in_words(
    text: str, start: int, names: Collection[str]
) -> tuple[int, tuple[tuple[int, int, str, str], ...], str] | None:
    """A condition in words that begins there: its end, its column, and what SQL says behind that."""
    match = _IN_WORDS.match(text, start)
    if match is None or match["name"] not in names:
        return None
    column = ((*match.span("name"), "", match["name"]),)
    if match["how"]:
        return match.end(), column, f" {_OPERATOR[match['how']]} {match['value']}"
    if match["no"] and re.search(r"\bno |without ", match["no"]) and not _A_WORD.fullmatch(match["name"]):
        return match.end("name"), column, " IS NULL"
    return None


def _run(text: str, start: int, names: Collection[str]) -> tuple[int, tuple[tuple[int, int, str, str], ...]] | None:
    """The end of the SQL that begins there, and the columns in it, if there is any."""
    at, depth = start, 0
    ends: list[int] = []
    used: list[tuple[int, int, str, str]] = []
    while (token := _TOKEN.match(text, at)) and token[0].strip():
        name, mark = token["name"], token["mark"]
        if name and token["call"]:
            depth += 1
        elif name and name not in _KEYWORDS:
            table, column = _parts(name)
            if column not in names:
                break
            begins = token.start("name")
            used.append((begins, begins + len(name), table, column))
        elif mark:
            depth += {"(": 1, ")": -1}.get(mark, 0)
            if depth < 0 or (mark == "," and not depth):
                break
        at = token.end()
        if not depth:
            ends.append(at)
    for end in ends[:-4:-1]:
        its = tuple(u for u in used if u[1] <= end)
        if its and _OPERATORS.search(text, start, end) and _is_sql(text[start:end]):
            return end, its
    return None


def _parts(name: str) -> tuple[str, str]:
    table, _, column = re.sub(r'["`]', "", name).rpartition(".")
    return table, column


def _is_sql(text: str) -> bool:
    try:
        tree = sqlglot.parse_one(text, dialect="sqlite")
    except SqlglotError:
        return False
    return isinstance(tree, exp.Binary | exp.Not | exp.In | exp.Between | exp.Paren | exp.Func)


def _defined(
    text: str, start: int, end: int, columns: tuple[tuple[int, int, str, str], ...], floor: int, instead: str = ""
) -> Definition:
    """The definition whose SQL is there: its term is what stands before a verb, in the same clause."""
    clause = max([m.end() for m in _CLAUSE.finditer(text, floor, start)], default=floor)
    verb = _VERB.search(text, clause, start)
    until = verb.start() if verb else clause
    behind = max([m.end() for m in re.finditer(r"[=*/+<>]", text[clause:until])], default=0)  # 100.0 / paid ones (…)
    words = [(m.start(), m.end()) for m in WORD.finditer(text, clause + behind, until)]
    if words and (skip := _BEFORE_TERM.match(text, words[0][0], words[-1][1])):
        words = [w for w in words if w[0] >= skip.end()] or words[-1:]
    words = words[-_LONGEST_TERM:]
    if all(text[slice(*w)].lower() in _NO_TERM for w in words):
        return Definition((start, end), (start, end), start, columns, instead)
    term = words[0][0], words[-1][1]
    asked = _said_before(text, clause, [stem(text[slice(*w)].lower()) for w in words])
    return Definition(asked or term, (term[0], end), start, columns, instead)


def _said_before(text: str, clause: int, stems: Sequence[str]) -> tuple[int, int] | None:
    """Where the words of a term stand before its definition."""
    words = [(m.start(), m.end(), stem(m[0].lower())) for m in WORD.finditer(text, 0, clause)]
    for first in range(len(words) - len(stems) + 1):
        if all(words[first + i][2] == said for i, said in enumerate(stems)):
            return words[first][0], words[first + len(stems) - 1][1]
    return None
