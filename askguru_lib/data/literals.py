"""Dates and numbers as people write them, and as SQL does: *1 September 2025* is ``'2025-09-01'``, *a thousand* 1000.

A small model copies better than it translates; schema links say these beside the names that a question means.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable

from askguru_lib.data.phrasing import MONTHS, NUMBER_WORDS
from askguru_lib.data.schema_words import Place

_A_MONTH = "|".join((*MONTHS, "Sept", *(month[:3] for month in MONTHS)))
_MONTH = rf"(?P<month>(?:{_A_MONTH})\b\.?)"
_YEAR = r"(?P<year>(?:1[6-9]|20)\d\d)"
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_DATES = tuple(
    re.compile(rf"(?<![\w-]){form}(?![\w%]|-\d)", re.IGNORECASE)
    for form in (
        rf"{_DAY}(?: of)? {_MONTH},? {_YEAR}",
        rf"{_MONTH} {_DAY},? {_YEAR}",
        rf"(?:(?P<first>first|start|beginning|1st)(?: day)? of |(?P<last>end|last day) of )?{_MONTH},? (?:of )?{_YEAR}",
        rf"{_YEAR}-(?P<number>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?",
    )
)
_NTH = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_PARTS = re.compile(
    rf"""(?<![\w-])(?:(?:(?P<nth>{"|".join(_NTH)}|last)\ (?P<part>quarter|half)\ of|(?P<letter>[QH])(?P<digit>[1-4]))
    |(?P<edge>start|beginning|first\ day|end|last\ day)\ of)\ {_YEAR}(?![\w%]|-\d)""",
    re.VERBOSE | re.IGNORECASE,
)
"""Quarters, halves, beginning and end of a year."""
_FROM = re.compile(r"\b(?:since|from|before|after)$", re.IGNORECASE)
_UNTIL = re.compile(r"\b(?:until|till|to|through)$", re.IGNORECASE)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(NUMBER_WORDS) if value} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
_TIMES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_UNITS = "|".join(NUMBER_WORDS[1:10])
_WORD = rf"(?:{'|'.join(_TENS)})(?:[ -](?:{_UNITS})(?!\w))?|{'|'.join(NUMBER_WORDS[1:])}"
_NUMBER = re.compile(
    rf"""(?<![\w.,:/'’-])(?:
        (?P<count>\d+(?:\.\d+)?|an?|{_WORD})[ ](?P<times>{"|".join(_TIMES)})
            (?:\ and\ (?P<rest>\d+|{_WORD}))?
        |half\ an?\ (?P<half_of>{"|".join(_TIMES)})
        |(?<!\bthe\ (?=two))(?P<word>{_WORD})
        |(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|(?:0|[1-9]\d*)(?:\.\d+)?)
            (?![\w/]|[.,:-]\d)(?!\ (?:{_A_MONTH})\b)
    )(?!\w)(?!\ (?:tenths?|quarters?|thirds?|halves)\b)""",
    re.VERBOSE | re.IGNORECASE,
)
_COMPARED = re.compile(r"(?:than|over|above|below|under|least|most|exceeding|[<>=$€£]) ?$")
"""What stands before an amount rather than a year."""
_NOT_SAID = re.compile(r"(?:\b(?:as|like|e\.g\.)|[-+*/=]) $")
_MOST = 50
"""Literals of a text; what is longer is no question."""


def literals(text: str) -> dict[Place, str]:
    """Dates and numbers that a text says, by place, as SQL writes them.

    A month or a year is written as ``strftime`` gives it, a quarter or a half of one as two days for ``BETWEEN``;
    behind *since* or *before*, *until* or *to*, a month is its first or last day. A number inside a word, a code or a
    calculation is none, nor is what only shows a form (*the month as 2024-01*), nor *one*.
    """
    found: dict[Place, str] = {}
    for place, literal in (*_parts(text), *_dates(text), *_numbers(text)):
        within = any(place[0] < end and start < place[1] for start, end in found)
        if not within and not _NOT_SAID.search(text[max(place[0] - 6, 0) : place[0]]):
            found[place] = literal
        if len(found) == _MOST:
            break
    return dict(sorted(found.items()))


def _dates(text: str) -> Iterable[tuple[Place, str]]:
    for form in _DATES:
        for match in form.finditer(text):
            parts = match.groupdict()
            if name := parts.get("month"):
                month = next(i for i, whole in enumerate(MONTHS, 1) if whole.lower().startswith(name[:3].lower()))
            else:
                month = int(parts["number"])
            year = int(parts["year"])
            before, last = text[: match.start()].rstrip()[-10:], monthrange(year, month)[1]
            day = int(parts.get("day") or 0)
            if not day and parts.get("month"):
                day = 1 if parts.get("first") or _FROM.search(before) else day
                day = last if parts.get("last") or _UNTIL.search(before) else day
            if day <= last:
                yield match.span(), f"'{year}-{month:02}-{day:02}'" if day else f"'{year}-{month:02}'"


def _parts(text: str) -> Iterable[tuple[Place, str]]:
    for match in _PARTS.finditer(text):
        year = match["year"]
        if edge := match["edge"]:
            yield match.span(), f"'{year}-12-31'" if edge.lower() in ("end", "last day") else f"'{year}-01-01'"
            continue
        count = 4 if (match["part"] or match["letter"])[0] in "qQ" else 2
        nth = _NTH.get(match["nth"].lower(), count) if match["nth"] else int(match["digit"])
        if nth <= count:
            last = 12 // count * nth
            first, days = last - 12 // count + 1, monthrange(int(year), last)[1]
            yield match.span(), f"'{year}-{first:02}-01' AND '{year}-{last:02}-{days}'"


def _numbers(text: str) -> Iterable[tuple[Place, str]]:
    for match in _NUMBER.finditer(text):
        if times := match["times"]:
            number = _count(match["count"]) * _TIMES[times.lower()] + (_count(match["rest"]) if match["rest"] else 0)
            yield match.span(), f"{number:.15g}"
        elif match["half_of"]:
            yield match.span(), str(_TIMES[match["half_of"].lower()] // 2)
        elif word := match["word"]:
            if word.lower() != "one":
                yield match.span(), f"{_count(word):g}"
        else:
            digits = match["digits"].replace(",", "")
            compared = _COMPARED.search(text[max(match.start() - 12, 0) : match.start()])
            year = re.fullmatch(_YEAR, digits) and "," not in match["digits"] and not compared
            yield match.span(), f"'{digits}'" if year else digits


def _count(said: str) -> float:
    words = re.split(r"[ -]", said.lower())
    if words[0] in _WORDS:
        return float(sum(_WORDS[word] for word in words))
    return 1.0 if words[0] in ("a", "an") else float(said)
