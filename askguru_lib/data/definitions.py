"""What an evidence says that words mean, as SQL: *Flat is PR_TYP = 'F'*, *value means QTY * PRICE*.

The column in such a sentence is there for a condition or a sum, and not to be shown; as a definition of its term a
model sees what it is for. SQL is read as it stands; a few conditions and formulas in words (*has no term_mo*, *MINS up
to 35*, *QTY times PRICE*) are put into SQL, if they call the column by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from askguru_lib.data.phrasing import COMPARISONS
from askguru_lib.data.schema_words import Item, Place
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.values import WORD

_NAME = r"""(?:[A-Za-z_]\w*|"[^"\n]+"|`[^`\n]+`)"""
_TOKEN = re.compile(
    rf"""\s*(?:(?P<text>'(?:[^'\n]|'')*')|(?P<number>\d+(?:\.\d+)?)(?!\.?\w)
    |(?P<said>times|plus|minus|divided\ by)(?!\w)
    |(?P<name>{_NAME}(?:\.{_NAME})?)(?P<call>\()?
    |(?P<mark><>|!=|<=|>=|\|\||[=<>*/+(),-]))""",
    re.VERBOSE,
)
_SAID = {"times": "*", "plus": "+", "minus": "-", "divided by": "/"}
_KEYWORDS = frozenset(
    "IS NOT NULL IN LIKE BETWEEN AND OR CASE WHEN THEN ELSE END CAST AS DISTINCT and or".split()  # noqa: SIM905
)
_START = re.compile(rf"""(?<![\w.'"`])(?:{_NAME}|\(|\d)""")
_OPERATORS = re.compile(r"[=<>*/+]| - |\bIS\b|\bIN\b|\bLIKE\b|\bBETWEEN\b|\|\|")
_GOES_ON = re.compile(r"\s*(?:%|(?:per ?cent|days?|less|minus|plus|times|divided by|as a percentage)\b|[*/+]|- )")
_WENT_BEFORE = re.compile(r"\b(?:from|times|minus|plus|less|divided by) $")
_MOST_TOKENS = 80
_DEEPEST = 10

_OPERATOR = {words: operator for operator, said in COMPARISONS.items() for words in said if words != "from"} | {
    "up to": "<=", "before": "<", "earlier than": "<", "after": ">", "later than": ">",
}  # fmt: skip
_INVERSE = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}
_HOW = "|".join(re.escape(how) for how in sorted(_OPERATOR, key=len, reverse=True))
_IN_WORDS = re.compile(
    rf"""(?:(?P<no>\b(?:(?:has|have|had|with)\ no|without(?:\ an?)?)\ ))?(?P<name>{_NAME})(?!\.?\w|\()
    (?:\ (?:of\ |is\ )?(?:(?P<how>{_HOW})\ (?P<value>\d{{1,3}}(?:,\d{{3}})+|\d+(?:\.\d+)?)(?![.,]?\w)
        |(?P<not>not\ )?(?P<than>{_HOW})\ (?P<other>{_NAME})(?!\.?\w|\())
    |\ (?:is\ )?(?P<texts>'[^'\n]*'(?:(?:,\ |,?\ or\ )'[^'\n]*')*)
    |\ is\ (?P<known>(?:not\ )?(?:empty|missing|null|unknown|filled|set|known|given))(?!\w))?""",
    re.VERBOSE,
)
"""A condition on a column that is called by its name: *has no term_mo*, *MINS up to 35*, *ST 'X' or 'N'*."""
_DAYS = re.compile(
    rf"\b(?:days|time) (?:from|between) (?P<a>{_NAME})(?!\.?\w) (?:to|and|until) (?P<b>{_NAME})(?!\.?\w)"
)
_UNKNOWN = frozenset(("empty", "missing", "null", "unknown", "not filled", "not set", "not known", "not given"))
_A_WORD = re.compile(r"[A-Za-z]?[a-z]+")
"""A name that a sentence may have meant as a word: *without name* may be one."""

_CLAUSE = re.compile(r"[.;\n](?:\s|$)|, |\n")
_VERB = re.compile(
    r"""(?<!\s)\s*(?:\b(?:is|are|was|were|means?|meaning|stands?\ for|refers?\ to|counts?\ as|have|has|had|with|without
    |where|when|if|that\ is|i\.e\.)|[:=(])
    \s*(?:(?:when|if|where|that|those\ with|the|an?|no|:|(?:sum|total|average)\ of)\s+)*$""",
    re.VERBOSE | re.IGNORECASE,
)
_DEFINES = re.compile(r"\s+(?:is|are|means?)\s", re.IGNORECASE)
_BEFORE_TERM = re.compile(
    r"(?:(?:and|or|but|an?|the|all|only|count|show|call it|(?:leave|leaving|left) out|without|except|not|for|of)\s+)+",
    re.IGNORECASE,
)
_INNER = re.compile(r"\b(?:of|each|on|over|per)\b\s*", re.IGNORECASE)
_NO_TERM = frozenset("those these they it this that which who ones".split())  # noqa: SIM905
_LONGEST_TERM = 5
"""Words of a term, at most."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A term, and what it means.

    Attributes:
        term: where it stands: in the question, if that says it, or else in the definition itself.
        place: of the whole definition, from the term on.
        sql: what it means, in parts: text, and columns, without a table where that is not said.
    """

    term: Place
    place: Place
    sql: tuple[str | Item, ...]

    @property
    def columns(self) -> tuple[Item, ...]:
        """Those in its SQL, in its order."""
        return tuple(part for part in self.sql if not isinstance(part, str))


def definitions(text: str, columns: Mapping[Item, str], dialect: str = "sqlite") -> list[Definition]:
    """Definitions in a question with its evidence, in their order.

    Args:
        text: a question, and its evidence, which begins behind the first line's end; only there is anything defined.
        columns: the kinds (as :func:`askguru_lib.data.grammar.column_kind` says them) of the schema's
            ``(table, column)``, as it spells them.
        dialect: days between two dates are put into SQL for SQLite only.
    """
    kinds: dict[str, set[str]] = {}
    for (_, column), kind in columns.items():
        kinds.setdefault(column, set()).add(kind)
    found: list[Definition] = []
    at = begin = text.find("\n") + 1 or len(text)
    while match := _START.search(text, at):
        start, floor = match.start(), found[-1].place[1] if found else begin
        days = dialect == "sqlite"
        read = (days and _days(text, start, kinds)) or _in_words(text, start, kinds) or _run(text, start, kinds)
        if read:
            start, at, sql = read
            found.append(_defined(text, (start, at), sql, floor))
        else:
            at = match.end()
    return found


Read = tuple[int, int, tuple[str | Item, ...]]
"""Where SQL begins and ends, and its parts."""


def _parts(name: str) -> Item:
    table, _, column = re.sub(r'["`]', "", name).rpartition(".")
    return table, column


def _days(text: str, start: int, kinds: Mapping[str, set[str]]) -> Read | None:
    """*days from A to B*."""
    match = _DAYS.match(text, start)
    if match is None or any(_parts(match[n])[1] not in kinds for n in "ab"):
        return None
    if _GOES_ON.match(text, match.end()):
        return None
    return start, match.end(), ("julianday(", _parts(match["b"]), ") - julianday(", _parts(match["a"]), ")")


def _in_words(text: str, start: int, kinds: Mapping[str, set[str]]) -> Read | None:
    """A condition in words that begins there."""
    match = _IN_WORDS.match(text, start)
    if match is None or _parts(match["name"])[1] not in kinds or _WENT_BEFORE.search(text[max(start - 12, 0) : start]):
        return None
    column, begins = _parts(match["name"]), match.start("name")
    test = ""
    if match["how"] and not _GOES_ON.match(text, match.end()) and "number" in kinds[column[1]]:
        test = f" {_OPERATOR[match['how']]} {match['value'].replace(',', '')}"
    elif match["than"] and _parts(match["other"])[1] in kinds:
        operator = _OPERATOR[match["than"]]
        return begins, match.end(), (column, f" {_INVERSE[operator] if match['not'] else operator} ",
                                     _parts(match["other"]))  # fmt: skip
    elif match["texts"]:
        texts = re.findall(r"'[^']*'", match["texts"])
        test = f" = {texts[0]}" if len(texts) == 1 else f" IN ({', '.join(texts)})"
    elif match["known"]:
        test = " IS NULL" if match["known"] in _UNKNOWN else " IS NOT NULL"
    elif match["no"] and not _A_WORD.fullmatch(match["name"]):
        return begins, match.end("name"), (column, " IS NULL")
    return (begins, match.end(), (column, test)) if test else None


def _run(text: str, start: int, kinds: Mapping[str, set[str]]) -> Read | None:
    """The longest SQL that begins there, if there is any."""
    at, depth = start, 0
    parts: list[str | Item] = []
    ends: list[tuple[int, int]] = []
    for _ in range(_MOST_TOKENS):
        token = _TOKEN.match(text, at)
        if token is None or not token[0].strip():
            break
        name, mark = token["name"], token["mark"]
        item = _parts(name) if name and not token["call"] and name not in _KEYWORDS else None
        depth += {"(": 1, ")": -1}.get(mark or token["call"] or "", 0)
        if (item and item[1] not in kinds) or not 0 <= depth <= _DEEPEST or (mark == "," and not depth):
            break
        gap = " " if token[0][0].isspace() and parts else ""
        parts += [gap, item] if item else [gap + _SAID.get(token["said"] or "", token[0].strip())]
        at = token.end()
        if not depth:
            ends.append((at, len(parts)))
    for end, count in ends[:-4:-1]:
        sql = _merged(parts[:count])
        plain = "".join(part if isinstance(part, str) else "x" for part in sql)
        whole = not all(isinstance(part, str) for part in sql) and _OPERATORS.search(plain)
        if whole and not _GOES_ON.match(text, end) and not _WENT_BEFORE.search(text[max(start - 12, 0) : start]):
            tree = _sql(plain)
            if tree is not None and not isinstance(tree, exp.Paren):  # a parenthesis of the sentence's own
                return start, end, sql
    return None


def _merged(parts: Sequence[str | Item]) -> tuple[str | Item, ...]:
    """Neighbouring texts as one."""
    out: list[str | Item] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(last := out[-1], str):
            out[-1] = last + part
        elif part:
            out.append(part)
    return tuple(out)


def _sql(text: str) -> exp.Expr | None:
    """The tree of an expression that a definition may be; what *and* or *or* joins in it has to be tests."""
    try:
        tree = sqlglot.parse_one(text, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return None
    fits = isinstance(tree, exp.Binary | exp.Not | exp.In | exp.Between | exp.Paren | exp.Func)
    tests = (side for node in tree.find_all(exp.Connector) for side in (node.left, node.right))
    sound = all(isinstance(test, exp.Predicate | exp.Connector | exp.Not | exp.Paren) for test in tests)
    return tree if fits and sound else None


def _defined(text: str, place: Place, sql: tuple[str | Item, ...], floor: int) -> Definition:
    """The definition whose SQL is there: its term is what stands before a verb, in the same clause."""
    start, end = place
    clause = max([m.end() for m in _CLAUSE.finditer(text, floor, start)], default=floor)
    verb = _VERB.search(text, clause, start)
    term = _term(text, clause, verb.start(), verb[0].strip().lower()) if verb else None
    if term is None:
        return Definition(place, place, sql)
    asked = _said_before(text, clause, [stem(word.lower()) for word in WORD.findall(text[slice(*term)])])
    return Definition(asked or term, (term[0], end), sql)


def _term(text: str, clause: int, until: int, verb: str) -> Place | None:
    """The words before a verb that are defined."""
    if quoted := re.search(r"'([^'\n]+)'$", text[clause:until]):
        return clause + quoted.start(1), clause + quoted.end(1)
    if defines := _DEFINES.search(text, clause, until):
        until, verb = defines.start(), "is"
    behind = [m.end() for m in re.finditer(r"[=*/+<>]", text[clause:until])]  # 100.0 / paid ones (…)
    if verb.startswith(("with", "where")):
        behind += [m.end() for m in _INNER.finditer(text[clause:until])]
    clause += max(behind, default=0)
    words = [m.span() for m in WORD.finditer(text, clause, until)]
    if words and (skip := _BEFORE_TERM.match(text, words[0][0], words[-1][1])):
        words = [w for w in words if w[0] >= skip.end()] or words[-1:]
    words = words[-_LONGEST_TERM:] if verb.startswith("(") else words[:_LONGEST_TERM]
    if all(text[slice(*w)].lower() in _NO_TERM for w in words):
        return None
    return words[0][0], words[-1][1]


def _said_before(text: str, clause: int, stems: Sequence[str]) -> Place | None:
    """Where the words of a term stand before its definition."""
    words = [(*m.span(), stem(m[0].lower())) for m in WORD.finditer(text, 0, clause)]
    for first in range(len(words) - len(stems) + 1):
        if all(words[first + i][2] == said for i, said in enumerate(stems)):
            return words[first][0], words[first + len(stems) - 1][1]
    return None
