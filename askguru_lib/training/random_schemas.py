"""Random databases on paper: M-Schemas with believable names, types, comments, values and keys.

The small base model learns on thousands of these, so that it reads schemas instead of remembering them. Every schema
has one style of naming (snake_case, camelCase, capitals, abbreviations with comments …), and its names share words, as
in real ones: order lines beside orders, the capacity of a room and of a course, links of two tables without a key.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from askguru_lib.data import phrasing
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.training.lexicon import CATEGORIES, DATES, ENTITIES, LABELS, MEASURES
from askguru_lib.training.random_values import (
    ADJECTIVES,
    NOUNS,
    PERSONAL,
    VERBS,
    codes,
    column_values,
    key_values,
    made_up,
)

COMMENT_FORMS: dict[str, tuple[str, ...]] = {
    "label": ("{x}", "{x} of the {t}", "{t} name", "full name", "what the {t} is called", "name of the {t}"),
    "category": ("{x}", "{x} of the {t}", "{t} {x}", "kind of {t}", "{n} of the {t}", "{x} or {n}", "{a} {x}", "{v}",
                 "class of {n}", "{x}; see the {n}"),
    "measure": ("{x}", "{x} of the {t}", "{t} {x}", "{x} in {u}", "{x} ({u})", "{a} {x}", "{x} per {n}",
                "number of {ns}", "{n} of the {t} in {u}", "{x}, empty if not known"),
    "date": ("{x}", "{x} of the {t}", "date of {n}", "day of the {n}", "date of the {a} {n}", "{a} date",
             "when the {t} was {p}", "date it was {p}", "empty until {p}"),
    "key": ("{t} number", "{t} id", "{t} key", "the {t}", "number of the {t}"),
    "reference": ("{t} number", "{t} id", "{t} reference", "the {t}", "{a} {t}", "its {t}", "{t} of the {n}"),
}  # fmt: skip
"""How a column's comment is worded: {x} its name, {t} its table, {n} {ns} {a} {p} words of no meaning here, {u} a unit,
{v} its values."""
TABLE_COMMENTS = {
    True: ("{s}", "{s}", "{s}", "{t}", "{t} records", "list of {s}", "{a} {s}", "{s} of the {n}", "{s} and their {ns}",
           "{s} used by {o}", "{s} that were {p}", "{s} in the {n}", "{ns} of {s}", "{p} {s}", "one row per {t}",
           "{s} {p} for {o}", "all {s} since {y}", "{t} master data", "one line per {t}"),
    False: ("{ns} in the {n}", "{ns} with a {n}", "{a} {ns}", "{ns} of the {n}", "{ns} and {n}", "{n}", "{ns}",
            "{ns} {p} by {o}", "what was {p}, by {n}", "{a} {ns} and what they {v}", "one row per {n}",
            "{ns} we {v} with", "who {p} which {n}", "every {n} since {y}"),
}  # fmt: skip
"""How a table's comment is worded, by whether it repeats the table's name. A schema in which every comment does would
teach a model to look for the comment that repeats a name, and to fail where only one of them happens to."""
ROLES = ("origin", "source", "home", "first", "second", "main", "parent", "from", "to", "sender", "receiver", "target",
         "billing", "previous", "winner", "owner", "leading", "local", "responsible", "current")  # fmt: skip
"""What a reference may be called where it is not called like the table that it refers to."""
OWN_ROLES = {"parent": True, "manager": True, "mentor": True, "supervisor": True, "boss": True, "successor": True,
             "previous": False, "main": False, "leading": False, "original": False, "upper": False, "replaced": False,
             "responsible": False}  # fmt: skip
"""What a reference to a row of the same table may be called, and whether that is a noun that may stand alone."""
OWN_KEY = 0.13
"""Share of the tables that refer to themselves."""
PARTS = ("item", "line", "detail", "entry", "record", "type", "group", "class", "run", "history", "event", "log",
         "part", "member", "visit", "change", "note", "price", "status", "plan", "team", "site", "version",
         "round")  # fmt: skip
"""What the second word of a table is called whose first word is another table (order lines)."""
UNITS = ("euro", "dollars", "kg", "tons", "km", "metres", "minutes", "hours", "days", "percent", "litres", "units")


@dataclass(frozen=True)
class RandomDatabase:
    """A schema, and what its coded values stand for."""

    schema: MSchema
    meanings: dict[str, dict[str, str]]


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
    "pascal": (lambda _, n: "".join(w.capitalize() for w in _words(n)), 0.4, 1.8),
    "pascal ID": (lambda _, n: "".join(w.upper() if w == "id" else w.capitalize() for w in _words(n)), 0.4, 1.0),
    "spaced": (lambda _, n: " ".join(w.capitalize() for w in _words(n)), 0.4, 0.5),
    "upper": (lambda _, n: n.upper(), 0.8, 0.7),
    "short": (_abbreviate, 0.97, 1.8),
    "short upper": (lambda rng, n: _abbreviate(rng, n).upper(), 0.97, 1.2),
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
    commented, cryptic = rng.random() < comment_chance, comment_chance > 0.9
    # Where names are words, some columns go without a comment; where they are codes, none can.
    wanted = 0.97 if cryptic else rng.choice([0.5, 0.8, 0.95])
    plural_share, repeats = rng.choice([0.0, 0.0, 1.0, 1.0, 0.5]), rng.choice([0.0, 0.3, 0.6, 0.9])
    prefix = rng.choice(["", "", "", "", "", "", "", "tbl_", "tbl_", "dim_"])
    entities = _entities(rng, rng.randint(*tables))
    schema = MSchema(rng.choice([rng.choice(ENTITIES), made_up(rng)]))
    meanings: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    keys: dict[str, str] = {}
    key_form = rng.choice(["{e}_id", "{e}_id", "id", "id", "{e}_no", "{e}_number", "{e}_code"])

    others = [phrasing.humanize(e) for e in entities] if rng.random() < 0.7 else []
    used: list[tuple[str, str]] = []

    def comment(kind: str, table: str, x: str = "", values: Sequence[str] = ()) -> str:
        if not commented or rng.random() > wanted:
            return ""
        plain = x and (rng.random() < 0.25 or x in PERSONAL)
        form = rng.choice(("{x}", "{x} of the {t}")) if plain else rng.choice(COMMENT_FORMS[kind])
        spelled = " ".join([*values[:-1], "or", *values[-1:]]).lower()
        return _worded(rng, form, x=x, t=table, v=spelled, others=others)

    for place, entity in enumerate(entities):
        said = phrasing.humanize(entity)
        written = phrasing.plural(entity) if rng.random() < plural_share else entity
        table = _unused(rng, style, prefix + written, schema.tables)
        names[entity] = table
        about = (
            _worded(
                rng,
                rng.choice(TABLE_COMMENTS[cryptic or rng.random() < repeats]),
                t=said,
                o=phrasing.plural(rng.choice(ENTITIES)),
                v=rng.choice(VERBS),
                others=others,
            )
            if commented and (cryptic or rng.random() < 0.9)
            else ""
        )
        schema.add_table(table, comment=about)
        taken: dict[str, dict] = schema.tables[table]["fields"]
        parents = _parents(rng, entity, [e for e in entities[:place] if e in keys])
        joins_two = len(set(parents)) > 1 and rng.random() < 0.35
        if not joins_two:
            form = key_form if rng.random() < 0.85 else rng.choice(["{n}_code", "{n}_number", "code", "{n}", "{e}_{n}"])
            key = _unused(rng, style, form.format(e=entity, n=rng.choice(NOUNS)), taken)
            keys[entity] = key
            text_key = rng.random() < 0.15
            schema.add_field(table, key, "VARCHAR" if text_key else rng.choice(["INTEGER", "INTEGER", "BIGINT"]), True,
                             False, comment=comment("key", said), examples=key_values(rng, text_key))  # fmt: skip
        for parent in parents:
            form = key_form if key_form != "id" else "{e}_id"
            if rng.random() < 0.2:
                form = rng.choice(["{r}", "{r}_{e}", "{e}", form.replace("{e}", "{r}"), form.replace("{e}", "{r}_{e}")])
            column = _unused(rng, style, form.format(e=parent, r=rng.choice(ROLES)), taken)
            info = schema.tables[names[parent]]["fields"][keys[parent]]
            schema.add_field(table, column, info["type"], joins_two, not joins_two and rng.random() < 0.3,
                             comment=comment("reference", phrasing.humanize(parent)),
                             examples=rng.sample(info["examples"], 3))  # fmt: skip
            schema.add_foreign_key(table, column, None, names[parent], keys[parent])
        if not joins_two and rng.random() < OWN_KEY:
            role, info = rng.choice(list(OWN_ROLES)), taken[keys[entity]]
            alone = ["{r}", key_form.replace("{e}", "{r}") if "{e}" in key_form else "{r}_id"]
            form = rng.choice(["{r}_{e}", *alone]) if OWN_ROLES[role] else "{r}_{e}"
            column = _unused(rng, style, form.format(r=role, e=entity), taken)
            schema.add_field(
                table,
                column,
                info["type"],
                nullable=True,
                comment=f"{role} {said}" if commented else "",
                examples=rng.sample(info["examples"], 3),
            )
            schema.add_foreign_key(table, column, None, table, keys[entity])
        room = max_columns - len(taken)
        count = rng.randint(0, max(min(3, room), 0)) if joins_two else max(2, rng.randint(min(2, room), max(room, 2)))
        named = 0.0 if joins_two else 0.6 if parents else 0.85
        attributes = _attributes(rng, entity, count, named, used, [e for e in entities if e != entity])
        used += attributes
        for plain, kind in attributes:
            column = _unused(rng, style, plain, taken)
            field_type, examples = column_values(rng, plain, kind)
            if kind == "category" and rng.random() < 0.25:
                examples, meanings[f"{table}.{column}"] = codes(rng, plain)
            note = comment("category" if kind == "flag" else kind, said, phrasing.humanize(plain), examples[:4])
            schema.add_field(table, column, field_type, nullable=rng.random() < 0.2, comment=note, examples=examples)
    return RandomDatabase(schema, meanings)


def _entities(rng: random.Random, count: int) -> list[str]:
    known = [e if rng.random() < 0.7 else rng.choice(NOUNS) for e in rng.sample(ENTITIES, count)]
    if rng.random() < 0.25:
        known[0] = made_up(rng)
    compound = rng.choice([0.0, 0.2, 0.5])
    for place in range(1, count):
        whole = rng.choice(known[:place])
        if rng.random() < compound and "_" not in whole:
            known[place] = f"{whole}_{rng.choice(PARTS if rng.random() < 0.7 else NOUNS)}"
    return list(dict.fromkeys(known))


def _worded(
    rng: random.Random, form: str, t: str, x: str = "", o: str = "", v: str = "", others: Sequence[str] = ()
) -> str:
    noun, past = rng.choice(others if others and rng.random() < 0.3 else NOUNS), rng.choice(VERBS)
    past += "d" if past.endswith("e") else "ed"
    return form.format(x=x, t=t, s=phrasing.plural(t), o=o, v=v, n=noun, ns=phrasing.plural(rng.choice(NOUNS)), p=past,
                       a=rng.choice(ADJECTIVES), u=rng.choice(UNITS), y=rng.randint(1950, 2023))  # fmt: skip


def _unused(rng: random.Random, style: Callable[[random.Random, str], str], plain: str, taken: dict) -> str:
    lowered = {t.lower() for t in taken}
    name = style(rng, plain)
    while name.lower() in lowered:
        name = style(rng, f"{plain}_{rng.randint(2, 99)}")
    return name


def _parents(rng: random.Random, entity: str, before: list[str]) -> list[str]:
    if not before or rng.random() < 0.08:
        return []
    parents = rng.sample(before, min(len(before), rng.choices([1, 2, 3], [0.68, 0.25, 0.07])[0]))
    whole = entity.rsplit("_", 1)[0]
    if whole in before and rng.random() < 0.8:  # order lines belong to orders
        parents = [whole, *(p for p in parents if p != whole)][: max(len(parents), 1)]
    return [*parents, parents[0]] if rng.random() < 0.05 else parents


def _attributes(
    rng: random.Random, entity: str, count: int, named: float, used: Sequence[tuple[str, str]], others: Sequence[str]
) -> list[tuple[str, str]]:
    """Plain names and kinds of a table's columns besides its keys.

    Args:
        named: the chance that a row has a name.
        used: what other tables have, some of which this one has, too.
        others: the other tables, whose names some names begin with.
    """
    chosen: list[tuple[str, str]] = []
    roll = rng.random()
    if roll < named * 0.12 and count > 1:
        chosen += [("first_name", "label"), (rng.choice(["last_name", "surname"]), "label")]
    elif roll < named:
        label = rng.choice([*LABELS, f"{entity}_name", f"{entity}_title"]) if rng.random() < 0.6 else "name"
        chosen.append((label, "label"))
    pools: dict[str, list[str]] = {"category": list(CATEGORIES), "measure": list(MEASURES), "date": list(DATES)}
    while len(chosen) < count:
        kind = rng.choices(["category", "measure", "date", "flag"], [0.4, 0.39, 0.17, 0.04])[0]
        if kind == "flag":
            name = f"{rng.choice(['is', 'is', 'has', 'was'])}_{rng.choice(ADJECTIVES)}"
        elif used and rng.random() < 0.15:
            name, kind = rng.choice(used)
            if kind == "label":
                continue
        else:
            name = rng.choice(pools[kind])
            roll = rng.random()
            if others and roll > 0.93:
                name = f"{rng.choice(others)}_{name}"
            elif roll < 0.2:
                first = made_up(rng) if roll < 0.05 else rng.choice(NOUNS if roll < 0.13 else ADJECTIVES)
                name = f"{first}_{name}"
            elif roll < 0.3:
                name = _new_attribute(rng, kind)
        if name not in {n for n, _ in chosen}:
            chosen.append((name, kind))
    labels = [attribute for attribute in chosen if attribute[1] == "label"] or chosen[:1]
    rest = chosen[len(labels) :]
    rng.shuffle(rest)
    return labels + rest


def _new_attribute(rng: random.Random, kind: str) -> str:
    noun, adjective = rng.choice(NOUNS), rng.choice(ADJECTIVES)
    past = rng.choice(VERBS)
    past += "d" if past.endswith("e") else "ed"
    forms = {
        "category": (noun, f"{adjective}_{noun}", f"{noun}_kind", f"{noun}_class"),
        "measure": (f"{noun}_count", f"number_of_{phrasing.plural(noun)}", f"{noun}_hours", phrasing.plural(noun),
                    f"{past}_year", f"{noun}_pct"),
        "date": (f"{past}_on", f"{past}_at", f"{noun}_date", f"date_{past}"),
    }  # fmt: skip
    return rng.choice(forms[kind])
