"""Building the embedded databases: files for SQLite and DuckDB, a server's databases for PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tqdm import tqdm

from askguru_lib.databases.samples.catalog import NAMES, check, definition, load, stamp
from askguru_lib.databases.samples.server import fill, serve
from askguru_lib.errors import DatabaseError

SUFFIXES = {"sqlite": ".sqlite", "duckdb": ".duckdb"}
"""Engines that keep a database in a file."""

ENGINES = (*SUFFIXES, "postgresql")


def build(name: str, folder: str | Path, engine: str = "sqlite", force: bool = False) -> Path:
    """Write ``<folder>/<name>.sqlite`` (or ``.duckdb``), and ``<name>.comments.json`` beside it.

    The second holds what an engine cannot: for SQLite all comments, for every engine what codes stand for. A file that
    was built from the same definition is left alone unless ``force``.

    Raises:
        DatabaseError: unknown database or engine, or the disk refuses.
    """
    check(name)
    if engine not in SUFFIXES:
        raise DatabaseError(
            f"no file can be built for '{engine}'",
            where=f"database '{name}'",
            hint="build sqlite or duckdb files, use build_all for postgresql, or fill a server with samples.load",
        )
    path = Path(folder) / f"{name}{SUFFIXES[engine]}"
    comments = path.with_suffix(".comments.json")
    mark = stamp(name)
    if not force and comments.is_file() and _stamp_of(path) == mark:
        return path
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        _write_database(name, part, engine, mark)
        _write_text(comments, _comments(name))
        part.replace(path)
        if engine == "duckdb":
            _write_text(_stamp_file(path), f"{mark}\n")
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

    For ``postgresql`` a server from a wheel is started with its files in ``<folder>/postgresql``. It runs as long as
    this process; another process starts it again with the same call, which then has nothing to build.

    Returns:
        The path of ``db_conn.json``; the paths in it are relative to it.

    Raises:
        DatabaseError: as :func:`build`.
    """
    folder = Path(folder)
    settings: dict[str, Any] = {"dialect": engine}
    if engine == "postgresql":
        url = serve(folder / "postgresql")
        settings |= {"host": url.query.get("host") or url.host, "port": url.port, "user": url.username}
    databases, bar = {}, tqdm(names, desc="databases", unit="db")
    for name in bar:
        bar.set_postfix_str(name)
        check(name)
        if engine == "postgresql":
            fill(url, name, force)
            databases[name] = name
        else:
            databases[name] = build(name, folder, engine, force).name
    settings["databases"] = databases
    connection = folder / "db_conn.json"
    try:
        if engine != "sqlite":
            for name in names:
                _write_text(folder / f"{name}.comments.json", _comments(name))
            settings["comments"] = {name: f"{name}.comments.json" for name in names}
        _write_text(connection, json.dumps({k: v for k, v in settings.items() if v is not None}, indent=2) + "\n")
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


def _write_database(name: str, path: Path, engine: str, mark: int) -> None:
    made = sa.create_engine(sa.URL.create(engine, database=str(path)))
    if engine == "sqlite":

        @sa.event.listens_for(made, "connect")
        def _prepare(dbapi: Any, _: Any) -> None:
            dbapi.execute("PRAGMA foreign_keys = ON")
            dbapi.execute("PRAGMA synchronous = OFF")

    try:
        load(name, made)
        if engine == "sqlite":
            with made.begin() as connection:
                connection.exec_driver_sql(f"PRAGMA user_version = {mark}")
    finally:
        made.dispose()


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _comments(name: str) -> str:
    made = definition(name)
    tables = made.metadata.sorted_tables
    comments = {
        "tables": {t.name: t.comment for t in tables if t.comment},
        "columns": {f"{t.name}.{c.name}": c.comment for t in tables for c in t.columns if c.comment},
        "values": made.meanings,
    }
    return json.dumps(comments, ensure_ascii=False, indent=2) + "\n"


def _stamp_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.stamp")


def _stamp_of(path: Path) -> int | None:
    """What the file was built from; None when it is not there or damaged."""
    if not path.is_file():
        return None
    if path.suffix == ".duckdb":
        mark = _stamp_file(path)
        return int(mark.read_text()) if mark.is_file() and mark.stat().st_mtime >= path.stat().st_mtime else None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return None
