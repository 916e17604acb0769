"""Random databases on paper: M-Schemas with believable names, types, comments, values and keys.

The small base model learns on thousands of these, so that it reads schemas instead of remembering them. Every schema
has
one style of naming (snake_case, camelCase, capitals, abbreviations with comments …), as real ones do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from askguru_lib.data import phrasing
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.training.lexicon import CATEGORIES, DATES, ENTITIES, FIRST, LABELS, LAST, MEASURES, SYLLABLES

COMMENT_FORMS = ("{x}", "{x}", "{x}", "{x} of the {t}", "the {x}", "{t} {x}")


@dataclass(frozen=True)
class RandomDatabase:
    """A schema, and what its coded values stand for."""

    schema: MSchema
    meanings: dict[str, dict[str, str]]


def made_up(rng: random.Random) -> str:
    """A word that no model has seen: it can only be copied."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 3])))


def _words(name: str) -> list[str]:
    return name.split("_")


def _abbreviate(rng: random.Random, name: str) -> str:
    parts = []
    for word in _words(name):
        short = word[0] + re.sub("[aeiou]", "", word[1:])
        parts.append(rng.choice([short[:4], short[:3], word[:3], word[:4]]) if len(word) > 3 else word)
    return "_".join(parts)


def _code(rng: random.Random) -> str:
    return "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVWZ") for _ in range(rng.choice([4, 5, 5])))


STYLES: dict[str, tuple[Callable[[random.Random, str], str], float, float]] = {
    "snake": (lambda _, n: n, 0.7, 8),
    "camel": (lambda _, n: _words(n)[0] + "".join(w.capitalize() for w in _words(n)[1:]), 0.4, 1.5),
    "pascal": (lambda _, n: "".join(w.capitalize() for w in _words(n)), 0.4, 1.5),
    "upper": (lambda _, n: n.upper(), 0.8, 0.4),
    "short": (_abbreviate, 0.97, 1.5),
    "code": (lambda rng, _: _code(rng), 0.97, 1.5),
}
"""Naming style: how a plain name is written, the chance that its schema has comments, and its weight."""


def random_database(rng: random.Random, tables: tuple[int, int] = (2, 6), max_columns: int = 6) -> RandomDatabase:
    """Draw a database.

    Args:
        tables: least and most tables.
        max_columns: most columns a table, keys included.
    """
    style, comment_chance, _ = STYLES[rng.choices(list(STYLES), [w for _, _, w in STYLES.values()])[0]]
    commented = rng.random() < comment_chance
    plural_tables, prefix = rng.random() < 0.5, rng.choice(["", "", "", "", "tbl_", "t_", "dim_"])
    entities = rng.sample(ENTITIES, rng.randint(*tables))
    if rng.random() < 0.25:
        entities[0] = made_up(rng)
    schema = MSchema(rng.choice([rng.choice(ENTITIES), made_up(rng)]))
    meanings: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    keys: dict[str, str] = {}
    key_form = rng.choice(["{e}_id", "{e}_id", "id", "{e}_no", "{e}_number", "{e}_code"])
    for place, entity in enumerate(entities):
        said = phrasing.humanize(entity)
        table = _unused(rng, style, prefix + (phrasing.plural(entity) if plural_tables else entity), schema.tables)
        names[entity] = table
        schema.add_table(table, comment=_table_comment(rng, said) if commented else "")
        taken: dict[str, dict] = schema.tables[table]["fields"]
        key = _unused(rng, style, key_form.format(e=entity), taken)
        keys[entity] = key
        text_key = rng.random() < 0.15
        comment = f"{said} {rng.choice(['number', 'id', 'key'])}" if commented else ""
        schema.add_field(table, key, "TEXT" if text_key else rng.choice(["INTEGER", "INTEGER", "BIGINT"]), True, False,
                         comment=comment, examples=_keys(rng, text_key))  # fmt: skip
        parents = _parents(rng, entities[:place])
        for parent in parents:
            column = _unused(rng, style, key_form.format(e=parent) if key_form != "id" else f"{parent}_id", taken)
            info = schema.tables[names[parent]]["fields"][keys[parent]]
            schema.add_field(table, column, info["type"], nullable=rng.random() < 0.3,
                             comment=f"{phrasing.humanize(parent)} {rng.choice(['number', 'id', 'key', 'reference'])}"
                             if commented else "", examples=rng.sample(info["examples"], 3))  # fmt: skip
            schema.add_foreign_key(table, column, None, names[parent], keys[parent])
        room = max_columns - len(taken)
        for plain, kind in _attributes(rng, max(2, rng.randint(min(2, room), max(room, 2)))):
            column = _unused(rng, style, plain, taken)
            comment = rng.choice(COMMENT_FORMS).format(x=phrasing.humanize(plain), t=said) if commented else ""
            field_type, examples = _values(rng, plain, kind)
            if kind == "category" and rng.random() < 0.25:
                examples, meanings[f"{table}.{column}"] = _codes(rng, plain)
            schema.add_field(table, column, field_type, nullable=rng.random() < 0.2, comment=comment, examples=examples)
    return RandomDatabase(schema, meanings)


def _unused(rng: random.Random, style: Callable[[random.Random, str], str], plain: str, taken: dict) -> str:
    lowered = {t.lower() for t in taken}
    name = style(rng, plain)
    while name.lower() in lowered:
        name = style(rng, f"{plain}_{rng.randint(2, 99)}")
    return name


def _table_comment(rng: random.Random, said: str) -> str:
    return rng.choice(
        [said, phrasing.plural(said), phrasing.plural(said), f"{said} records", f"list of {phrasing.plural(said)}"]
    )


def _parents(rng: random.Random, before: list[str]) -> list[str]:
    if not before or rng.random() < 0.08:
        return []
    return rng.sample(before, min(len(before), rng.choices([1, 2], [0.75, 0.25])[0]))


def _attributes(rng: random.Random, count: int) -> list[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    if rng.random() < 0.8:
        chosen.append((rng.choice(LABELS) if rng.random() < 0.6 else "name", "label"))
    pools: dict[str, list[str]] = {"category": list(CATEGORIES), "measure": list(MEASURES), "date": list(DATES)}
    while len(chosen) < count:
        kind = rng.choices(["category", "measure", "date"], [0.42, 0.4, 0.18])[0]
        name = rng.choice(pools[kind])
        if rng.random() < 0.06:
            name = f"{made_up(rng)}_{name}"
        if name not in {n for n, _ in chosen}:
            chosen.append((name, kind))
    rest = chosen[1:]
    rng.shuffle(rest)
    return chosen[:1] + rest


def _keys(rng: random.Random, text: bool) -> list[str]:
    start = rng.choice([1, 1, 1, 100, 1000, rng.randint(2, 9000)])
    prefix = "".join(rng.choice("ABCKLMPRSTX") for _ in range(2)) if text else ""
    return [f"{prefix}{start + i}" for i in range(6)]


def _values(rng: random.Random, plain: str, kind: str) -> tuple[str, list[str]]:
    if kind == "label":
        return rng.choice(["TEXT", "VARCHAR"]), [_label(rng) for _ in range(6)]
    if kind == "date":
        year = rng.randint(1995, 2023)
        days = [
            f"{rng.randint(year, min(year + 4, 2024))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            for _ in range(6)
        ]
        return rng.choice(["DATE", "DATE", "TEXT"]), days
    if kind == "measure":
        low, high = MEASURES[_words_tail(plain, MEASURES)]
        if rng.random() < 0.3 and high < 10000:
            return rng.choice(["REAL", "DECIMAL", "NUMERIC"]), [f"{rng.uniform(low, high):.2f}" for _ in range(6)]
        return "INTEGER", [str(rng.randint(low, high)) for _ in range(6)]
    values = [v for v in CATEGORIES[_words_tail(plain, CATEGORIES)].split("|") if v]
    if not values:
        letters = "".join(rng.choice("ABCDEFGHKMNPRSTXZ") for _ in range(rng.choice([0, 1, 2])))
        values = [f"{letters}{rng.randint(100, 9999)}" for _ in range(6)]
    elif rng.random() < 0.15:
        values = [made_up(rng).capitalize() for _ in range(6)]
    return rng.choice(["TEXT", "TEXT", "VARCHAR"]), rng.sample(values, min(6, len(values)))


def _words_tail(name: str, known: dict) -> str:
    return name if name in known else name.split("_", 1)[1]


def _label(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.4:
        return f"{rng.choice(FIRST)} {rng.choice(LAST)}"
    if roll < 0.7:
        return made_up(rng).capitalize()
    second = rng.choice(["Street", "Group", "House", "One", "Center", "Park", "Works", "Bay"])
    return f"{made_up(rng).capitalize()} {second}"


def _codes(rng: random.Random, plain: str) -> tuple[list[str], dict[str, str]]:
    spelled = [v for v in CATEGORIES[_words_tail(plain, CATEGORIES)].split("|") if len(v) > 2] or [
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
