"""What the embedded databases are: twelve schemas with seeded rows, and a hand-written question bank for each."""

from __future__ import annotations

import difflib
import importlib
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from faker import Faker

from askguru_lib.errors import DatabaseError

NAMES: tuple[str, ...] = (
    *("plant", "claims"),  # cryptic names and codes: made to be fine-tuned for
    *("library", "retail", "university", "music", "property", "hr", "energy"),
    *("airline", "clinic", "football"),  # made to be kept from every stage of training
)

Populate = Callable[[random.Random, Faker], Iterator[tuple[str, list[dict[str, Any]]]]]

_BATCH = 1000
_HERE = "askguru_lib.databases.samples"


@dataclass(frozen=True)
class Definition:
    """One embedded database: what it is made of, whatever the engine.

    Attributes:
        name: its db_id.
        title: what it is about, for people.
        metadata: tables with keys and comments.
        populate: yields ``(table, rows)`` in an order that foreign keys allow; all chance comes from its arguments.
        meanings: what codes stand for, ``{"table.column": {code: meaning}}``; what a colleague would know.
    """

    name: str
    title: str
    metadata: sa.MetaData
    populate: Populate
    meanings: dict[str, dict[str, str]] = field(default_factory=dict)


def definition(name: str) -> Definition:
    """The definition of one embedded database.

    Raises:
        DatabaseError: there is no such database.
    """
    check(name)
    module = importlib.import_module(f"{_HERE}.{name}")
    return Definition(name, module.TITLE, module.METADATA, module.populate, getattr(module, "MEANINGS", {}))


def bank(name: str) -> list[dict[str, Any]]:
    """The hand-written questions of one database, in the raw format, with gold SQL for SQLite.

    Raises:
        DatabaseError: there is no such database.
    """
    check(name)
    return json.loads((resources.files(_HERE) / "banks" / f"{name}.json").read_text(encoding="utf-8"))


def training_bank(name: str) -> list[dict[str, Any]]:
    """Further hand-written questions about one database, only to learn from: several ways to ask for each query.

    They were written without :func:`bank`, of which a part is asked in the tests; one evidence of it was given as an
    example of its form. Databases that are no target have none.

    Raises:
        DatabaseError: there is no such database.
    """
    check(name)
    path = resources.files(_HERE) / "banks" / f"{name}_training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def critic_items(engine: str = "sqlite") -> Path:
    """Our own items in BIRD-CRITIC's format, with solutions and tests, over databases of ``NAMES``.

    Raises:
        DatabaseError: there are none for that engine.
    """
    path = Path(str(resources.files(_HERE) / "bird_critic" / f"{engine}.jsonl"))
    if not path.is_file():
        raise DatabaseError(f"no items for '{engine}'", hint="there are items for sqlite and postgresql")
    return path


def load(name: str, engine: sa.Engine) -> None:
    """Create the tables of one database on any engine and fill them; the same rows every time.

    Args:
        name: one of ``NAMES``.
        engine: writable; the tables must not exist yet.
    """
    made = definition(name)
    rng, fake = random.Random(f"askguru/{name}"), Faker("en_US")
    fake.seed_instance(zlib.crc32(name.encode()))
    tables = sa.MetaData()
    for table in made.metadata.sorted_tables:
        for column in table.to_metadata(tables).primary_key:
            column.autoincrement = False  # every key is given, and not every engine has SERIAL
    tables.create_all(engine, checkfirst=False)
    with engine.begin() as connection:
        for table_name, rows in made.populate(rng, fake):
            for start in range(0, len(rows), _BATCH):
                connection.execute(tables.tables[table_name].insert(), rows[start : start + _BATCH])


def stamp(name: str) -> int:
    """A positive 32-bit integer that changes with anything that the rows depend on."""
    here = resources.files(_HERE)
    sources = [(here / f).read_bytes() for f in ("catalog.py", f"{name}.py")]
    return zlib.crc32(b"\0".join([*sources, metadata.version("faker").encode()])) & 0x7FFFFFFF


def check(name: str) -> None:
    """Refuse what is not one of ``NAMES``; the nearest one is named."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise DatabaseError(f"no embedded database '{name}'", hint=f"{guess}there are: {', '.join(NAMES)}")
