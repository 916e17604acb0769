"""Dates and numbers as people write them, and as SQL does: *1 September 2025* is ``'2025-09-01'``, *a thousand* 1000.

A small model copies better than it translates; schema links say these beside the names that a question means.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable

from askguru_lib.data.phrasing import MONTHS, NUMBER_WORDS

Place = tuple[int, int]
"""Where a phrase begins and ends."""

_A_MONTH = "|".join((*MONTHS, *(month[:3] for month in MONTHS)))
_MONTH = rf"(?P<month>(?:{_A_MONTH})\b\.?)"
_YEAR = r"(?P<year>(?:1[6-9]|20)\d\d)"
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_DATES = tuple(
    re.compile(rf"(?<![\w-]){form}(?![\w%]|-\d)")
    for form in (
        rf"{_DAY}(?: of)? {_MONTH},? {_YEAR}",
        rf"{_MONTH} {_DAY},? {_YEAR}",
        rf"{_MONTH},? (?:of )?{_YEAR}",
        rf"{_YEAR}-(?P<number>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?",
    )
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(NUMBER_WORDS) if value > 1} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
"""*One* is more often a word of another kind (*each one*)."""
_TIMES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_NUMBER = re.compile(
    rf"""(?<![\w.,:/-])(?:
        (?P<count>\d+(?:\.\d+)?|an?|one|{"|".join(_WORDS)})[ ](?P<times>{"|".join(_TIMES)})
        |(?P<word>{"|".join(_WORDS)})
        |(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w/:]|[.,-]\d)(?!\ (?:{_A_MONTH})\b)
    )(?!\w)""",
    re.VERBOSE | re.IGNORECASE,
)

_NOT_SAID = re.compile(r"(?:\b(?:as|like|e\.g\.)|[-+*/=]) $")


def literals(text: str) -> dict[Place, str]:
    """Dates and numbers that a text says, by place, as SQL writes them.

    A month of a year is written as ``strftime('%Y-%m')`` gives it. A number inside a word, a code or a calculation is
    none, nor is what only shows a form (*the month as 2024-01*).
    """
    found: dict[Place, str] = {}
    for place, literal in (*_dates(text), *_numbers(text)):
        if not _NOT_SAID.search(text, 0, place[0]) and not any(
            place[0] < end and start < place[1] for start, end in found
        ):
            found[place] = literal
    return dict(sorted(found.items()))


def _dates(text: str) -> Iterable[tuple[Place, str]]:
    for form in _DATES:
        for match in form.finditer(text):
            parts = match.groupdict()
            if name := parts.get("month"):
                month = next(i for i, whole in enumerate(MONTHS, 1) if whole.startswith(name[:3]))
            else:
                month = int(parts["number"])
            year, day = int(parts["year"]), parts.get("day")
            if int(day or 1) <= monthrange(year, month)[1]:
                yield match.span(), f"'{year}-{month:02}-{int(day):02}'" if day else f"'{year}-{month:02}'"


def _numbers(text: str) -> Iterable[tuple[Place, str]]:
    for match in _NUMBER.finditer(text):
        if times := match["times"]:
            count = match["count"].lower()
            number = float(_WORDS.get(count, 1 if count in ("a", "an", "one") else count)) * _TIMES[times.lower()]
            yield match.span(), f"{number:.15g}"
        elif word := match["word"]:
            yield match.span(), str(_WORDS[word.lower()])
        else:
            yield match.span(), match["digits"].replace(",", "")
