"""The embedded databases: twelve small schemas with seeded rows, and a hand-written question bank for each."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import os
import random
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from faker import Faker
from tqdm import tqdm

from askguru_lib.errors import DatabaseError

NAMES: tuple[str, ...] = (
    *("plant", "claims"),  # cryptic names and codes: made to be fine-tuned for
    *("library", "retail", "university", "music", "property", "hr", "energy"),
    *("airline", "clinic", "football"),  # made to be kept from every stage of training
)

Populate = Callable[[random.Random, Faker], Iterator[tuple[str, list[dict[str, Any]]]]]

_BATCH = 1000


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
    _check(name)
    module = importlib.import_module(f"{__name__}.{name}")
    return Definition(name, module.TITLE, module.METADATA, module.populate, getattr(module, "MEANINGS", {}))


def bank(name: str) -> list[dict[str, Any]]:
    """The hand-written questions of one database, in the raw format, with gold SQL for SQLite.

    Raises:
        DatabaseError: there is no such database.
    """
    _check(name)
    return json.loads((resources.files(__name__) / "banks" / f"{name}.json").read_text(encoding="utf-8"))


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


def build(name: str, folder: str | Path, engine: str = "sqlite", force: bool = False) -> Path:
    """Write ``<folder>/<name>.sqlite`` and, since SQLite keeps no comments, ``<name>.comments.json`` beside it.

    A file that was built from the same definition is left alone unless ``force``.

    Raises:
        DatabaseError: unknown database or engine, or the disk refuses.
    """
    _check(name)
    if engine != "sqlite":
        raise DatabaseError(
            f"no file can be built for '{engine}'",
            where=f"database '{name}'",
            hint="build sqlite files, or fill a server with samples.load(name, engine)",
        )
    path = Path(folder) / f"{name}.sqlite"
    comments = path.with_suffix(".comments.json")
    stamp = _stamp(name)
    if not force and comments.is_file() and _stamp_of(path) == stamp:
        return path
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        _write_sqlite(name, part, stamp)
        _write_text(comments, json.dumps(_comments(name), ensure_ascii=False, indent=2) + "\n")
        part.replace(path)
    except (OSError, sqlite3.Error, sa.exc.OperationalError) as e:
        reason = getattr(e, "orig", None) or e
        raise DatabaseError(
            f"cannot write the database ({reason})", where=str(path), hint="free some space or change the folder"
        ) from e
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def build_all(folder: str | Path, names: Sequence[str] = NAMES, engine: str = "sqlite", force: bool = False) -> Path:
    """Build several databases and the ``db_conn.json`` that connects to them.

    Returns:
        The path of ``db_conn.json``; the paths in it are relative to it.
    """
    files = {}
    bar = tqdm(names, desc="databases", unit="db")
    for name in bar:
        bar.set_postfix_str(name)
        files[name] = build(name, folder, engine, force).name
    connection = Path(folder) / "db_conn.json"
    text = json.dumps({"dialect": engine, "databases": files}, indent=2) + "\n"
    try:
        _write_text(connection, text)
    except OSError as e:
        raise DatabaseError(
            f"cannot write the file ({e.strerror})", where=str(connection), hint="free some space or change the folder"
        ) from e
    return connection


def content_hash(path: str | Path) -> str:
    """SHA-256 over the columns and ordered rows of every table of an SQLite file.

    The same on every platform, where the file's own bytes depend on the SQLite version.

    Raises:
        DatabaseError: not a readable SQLite file.
    """
    digest = hashlib.sha256()
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            for (table,) in connection.execute(query).fetchall():
                columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
                order = ", ".join(str(i + 1) for i in range(len(columns)))
                digest.update(repr((table, columns)).encode())
                for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY {order}'):
                    digest.update(repr(row).encode())
    except sqlite3.Error as e:
        raise DatabaseError(f"not a readable SQLite file ({e})", where=str(path), hint="build it again") from e
    return digest.hexdigest()


def _check(name: str) -> None:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise DatabaseError(f"no embedded database '{name}'", hint=f"{guess}there are: {', '.join(NAMES)}")


def _write_sqlite(name: str, path: Path, stamp: int) -> None:
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi: Any, _: Any) -> None:
        dbapi.execute("PRAGMA foreign_keys = ON")
        dbapi.execute("PRAGMA synchronous = OFF")

    try:
        load(name, engine)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA user_version = {stamp}")
    finally:
        engine.dispose()


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _comments(name: str) -> dict[str, dict[str, Any]]:
    made = definition(name)
    tables = made.metadata.sorted_tables
    return {
        "tables": {t.name: t.comment for t in tables if t.comment},
        "columns": {f"{t.name}.{c.name}": c.comment for t in tables for c in t.columns if c.comment},
        "values": made.meanings,
    }


def _stamp(name: str) -> int:
    """Changes with anything that the rows depend on; kept in SQLite's ``user_version`` (a positive 32-bit integer)."""
    here = resources.files(__name__)
    sources = [(here / f).read_bytes() for f in ("__init__.py", f"{name}.py")]
    return zlib.crc32(b"\0".join([*sources, metadata.version("faker").encode()])) & 0x7FFFFFFF


def _stamp_of(path: Path) -> int | None:
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return None
