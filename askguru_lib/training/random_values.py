"""Values of random databases, and the words that they are made of: names of people and things, categories, measures,
dates, keys and codes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from faker.providers.address.en_US import Provider as Addresses
from faker.providers.job.en_US import Provider as Jobs
from faker.providers.lorem.en_US import Provider as English
from faker.providers.person.en_US import Provider as People

from askguru_lib.data import phrasing
from askguru_lib.training.lexicon import CATEGORIES, MEASURES, SYLLABLES

TITLES = ("Introduction to {n}", "{n} of the {m}", "{n} and {m}", "{a} {n} {m}", "{n} in the {a} {m}", "{n} & {m}",
          "How to {n} a {m}", "{n} for {m}", "{a} {n} II", "{n}, {a}", "St. {n} {m}", "{n}-{m}", "{n}'s {m}",
          "Don't {n} the {m}", "A {n} to {a}", "the {n} {m}", "{n} of a {a} {m}", "O'{n} & {m}",
          "{n} no. 7")  # fmt: skip
"""What a row may be called in several words."""
SQL_TYPES = {
    "label": ("TEXT", "VARCHAR", "VARCHAR"),
    "category": ("TEXT", "VARCHAR", "VARCHAR", "CHAR"),
    "fraction": ("REAL", "DECIMAL", "NUMERIC", "NUMERIC", "FLOAT"),
    "date": ("DATE", "DATE", "DATE", "TEXT", "TIMESTAMP", "DATETIME"),
}


def _short_words(part: str) -> list[str]:
    return [w for w in English.parts_of_speech[part] if 3 <= len(w) <= 10 and w.isalpha()]


NOUNS, ADJECTIVES = _short_words("noun"), _short_words("adjective")
VERBS = [v for v in _short_words("verb") if not re.search("[aeiou][bdgmnpt]$|y$", v)]
"""Verbs whose past is the stem and -ed."""
FIRST, LAST = list(People.first_names), list(People.last_names)
COUNTRIES, STATES, JOBS = list(Addresses.countries), list(Addresses.states), list(Jobs.jobs)
PERSONAL = {"first name": FIRST, "last name": LAST, "surname": LAST}
"""Labels that say a part of a person's name, with its values."""
WIDE: dict[str, Callable[[random.Random], str]] = {
    "country": lambda rng: rng.choice(COUNTRIES),
    "state": lambda rng: rng.choice(STATES),
    "city": lambda rng: f"{rng.choice(LAST)}{rng.choice(Addresses.city_suffixes)}",
    "position": lambda rng: rng.choice(JOBS).split(",")[0].lower(),
    "role": lambda rng: rng.choice(JOBS).split(",")[0].lower(),
}
"""Categories with hundreds of values."""


def made_up(rng: random.Random) -> str:
    """A word that no model has seen: it can only be copied."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 3])))


def key_values(rng: random.Random, text: bool) -> list[str]:
    """Numbers that follow each other, or such numbers behind two letters."""
    start = rng.choice([1, 1, 1, 100, 1000, rng.randint(2, 9000)])
    prefix = "".join(rng.choice("ABCKLMPRSTX") for _ in range(2)) if text else ""
    return [f"{prefix}{start + i}" for i in range(6)]


def column_values(rng: random.Random, plain: str, kind: str) -> tuple[str, list[str]]:
    """SQL type and example values of a column, by its plain name and kind."""
    if kind == "label":
        names = PERSONAL.get(phrasing.humanize(plain))
        return rng.choice(SQL_TYPES["label"]), [rng.choice(names) if names else _label(rng) for _ in range(6)]
    if kind == "flag":
        return rng.choice(["INTEGER", "SMALLINT", "BOOLEAN"]), ["0", "1"]
    if kind == "date":
        year, sql_type = rng.randint(1995, 2023), rng.choice(SQL_TYPES["date"])
        days = [
            f"{rng.randint(year, min(year + 4, 2024))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            for _ in range(6)
        ]
        if sql_type in ("TIMESTAMP", "DATETIME"):
            days = [f"{day} {rng.randint(0, 23):02}:{rng.choice(['00', '15', '30', '45'])}:00" for day in days]
        return sql_type, days
    if kind == "measure":
        low, high = MEASURES.get(_known_tail(plain, MEASURES), (1, 900))
        if plain.endswith("_year"):
            low, high = 1950, 2024
        if rng.random() < 0.3 and 10 <= high < 10000:
            return rng.choice(SQL_TYPES["fraction"]), [f"{rng.uniform(low, high):.2f}" for _ in range(6)]
        return rng.choice(["INTEGER", "INTEGER", "INTEGER", "SMALLINT"]), [
            str(rng.randint(low, high)) for _ in range(6)
        ]
    tail = _known_tail(plain, CATEGORIES)
    values = [v for v in CATEGORIES.get(tail, "").split("|") if v]
    if tail in WIDE and rng.random() < 0.6:
        values = [WIDE[tail](rng) for _ in range(12)]
    elif tail not in CATEGORIES or (values and rng.random() < 0.2):
        pool = rng.choice([NOUNS, ADJECTIVES])
        values = [rng.choice([made_up(rng), rng.choice(pool), rng.choice(pool)]) for _ in range(7)]
        if rng.random() < 0.5:
            values = [v.capitalize() for v in values]
    elif not values:
        letters = "".join(rng.choice("ABCDEFGHKMNPRSTXZ") for _ in range(rng.choice([0, 1, 2])))
        values = [f"{letters}{rng.randint(100, 9999)}" for _ in range(6)]
    values = list(dict.fromkeys(values))
    return rng.choice(SQL_TYPES["category"]), rng.sample(values, min(6, len(values)))


def _known_tail(name: str, known: Mapping[str, object]) -> str:
    return name if name in known else name.split("_", 1)[-1]


def _person(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def _label(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.35:
        return _person(rng)
    if roll < 0.45:
        return rng.choice([rng.choice(FIRST), rng.choice(LAST)])
    if roll < 0.6:
        return made_up(rng).capitalize()
    if roll < 0.66:
        return f"The {rng.choice(ADJECTIVES).capitalize()} {rng.choice(NOUNS).capitalize()}"
    if roll < 0.79:
        return rng.choice(TITLES).format(n=rng.choice(NOUNS).capitalize(), m=rng.choice(NOUNS).capitalize(),
                                         a=rng.choice(ADJECTIVES).capitalize())  # fmt: skip
    second = rng.choice(
        ["Street", "Group", "House", "One", "Center", "Park", "Works", "Bay", "Road", "Pump", "Ltd", "12"]
    )
    first = made_up(rng) if roll < 0.88 else rng.choice([*NOUNS, *ADJECTIVES])
    return f"{first.capitalize()} {second}"


def codes(rng: random.Random, plain: str) -> tuple[list[str], dict[str, str]]:
    """Codes, and what each of them means."""
    spelled = [v for v in CATEGORIES.get(_known_tail(plain, CATEGORIES), "").split("|") if len(v) > 2] or [
        "open",
        "closed",
        "blocked",
    ]
    chosen = rng.sample(spelled, min(4, len(spelled)))
    form = rng.choice([lambda v, _: v[0].upper(), lambda v, _: v[:2].upper(), lambda _, i: str(i + 1), lambda _,
                       i: f"{i + 1:02}",
                       lambda _, i: "XKZWYQ"[i]])  # fmt: skip
    codes: dict[str, str] = {}
    for i, value in enumerate(chosen):
        codes.setdefault(form(value, i), value.lower())
    return list(codes), codes
