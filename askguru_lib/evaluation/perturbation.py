"""Other contents for the same schema, on which a query that is right by luck gives itself away.

``SELECT COUNT(*) FROM orders`` answers "how many open orders?" as long as every order is open. The idea is that of the
test suites of Zhong, Yu and Klein, "Semantic evaluation for text-to-SQL with distilled test suites", EMNLP 2020. Here
the contents are not fuzzed from nothing but made from the real ones: rows dropped and doubled, values exchanged between
rows, NULLs and extreme values planted, keys kept valid. What no content of this kind tells apart, like ``> 10`` and
``>= 11`` among whole numbers, stays undetected: survival is evidence, not proof.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp
from tqdm import tqdm

from askguru_lib.config import RunConfig
from askguru_lib.data.stability import unstable
from askguru_lib.data.trees import shared_tree
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.errors import DatabaseError
from askguru_lib.evaluation.evaluate import Evaluation, evaluate

DROPPED, DOUBLED, NULLED, EXTREME = (0.1, 0.4), 0.1, 0.05, 0.03
"""Shares of rows: dropped (from, to), doubled, set to NULL, and set to a column's least or greatest value."""


@dataclass(frozen=True)
class Survival:
    """What became of the predictions that were right on the real database.

    Attributes:
        tried: by id of the prediction, on how many variants it could be judged.
        unmasked: by id, the number of the first variant on which it was wrong.
    """

    tried: dict[str, int]
    unmasked: dict[str, int]


def perturb(database: str | Path, folder: str | Path, k: int = 4, seed: int = 0) -> list[Path]:
    """Write ``k`` variants of an SQLite database; the same ones for the same seed.

    Every variant has the schema of the original, valid foreign keys, and at least one row in every table that had one.

    Raises:
        DatabaseError: not a readable SQLite database, or the disk refuses.
    """
    database, folder = Path(database), Path(folder)
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(k):
            path = folder / f"{database.stem}.{number}.sqlite"
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            uri = f"{database.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                _vary(copy, random.Random(f"{seed}/{database.stem}/{number}"))
                copy.commit()
            made.append(part.replace(path))
    except (sqlite3.Error, OSError) as e:
        raise DatabaseError(
            f"cannot make variants ({e})", where=str(database), hint="give an SQLite database and a folder with space"
        ) from e
    return made


def _vary(db: sqlite3.Connection, rng: random.Random) -> None:
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    for table in (t for t in tables if not t.startswith("sqlite_")):
        columns = db.execute(f"PRAGMA table_info({_name(table)})").fetchall()
        fixed = {row[3] for row in db.execute(f"PRAGMA foreign_key_list({_name(table)})")}
        for (index,) in db.execute('SELECT name FROM pragma_index_list(?) WHERE "unique"', (table,)).fetchall():
            fixed |= {row[2] for row in db.execute(f"PRAGMA index_info({_name(index)})")}
        keys = [c[1] for c in columns if c[5]]
        free = [(c[1], not c[3]) for c in columns if c[1] not in fixed and not c[5]]
        _drop(db, table, rng)
        for column, nullable in free:
            _change(db, table, column, nullable, rng)
        if len(keys) == 1:
            _double(db, table, keys[0], [c[1] for c in columns], rng)
    while orphans := db.execute("PRAGMA foreign_key_check").fetchall():
        for table, rowid, *_ in orphans:
            db.execute(f"DELETE FROM {_name(table)} WHERE rowid = ?", (rowid,))


def _drop(db: sqlite3.Connection, table: str, rng: random.Random) -> None:
    rows = [row[0] for row in db.execute(f"SELECT rowid FROM {_name(table)} ORDER BY rowid")]
    gone = rng.sample(rows, min(int(len(rows) * rng.uniform(*DROPPED)), max(len(rows) - 1, 0)))
    db.executemany(f"DELETE FROM {_name(table)} WHERE rowid = ?", [(row,) for row in gone])


def _change(db: sqlite3.Connection, table: str, column: str, nullable: bool, rng: random.Random) -> None:
    """Exchange a column's values between rows (every other column), then plant NULLs and extremes."""
    rows = db.execute(f"SELECT rowid, {_name(column)} FROM {_name(table)} ORDER BY rowid").fetchall()
    values = [value for _, value in rows]
    if rng.random() < 0.5:
        rng.shuffle(values)
    known = [value for value in values if isinstance(value, int | float)]
    for place in range(len(values)):
        if nullable and rng.random() < NULLED:
            values[place] = None
        elif known and rng.random() < EXTREME:
            values[place] = rng.choice((min, max))(known)
    changed = [(new, rowid) for (rowid, old), new in zip(rows, values, strict=True) if new != old]
    db.executemany(f"UPDATE OR IGNORE {_name(table)} SET {_name(column)} = ? WHERE rowid = ?", changed)


def _double(db: sqlite3.Connection, table: str, key: str, columns: Sequence[str], rng: random.Random) -> None:
    """Copies of some rows under new keys, where keys are numbers."""
    largest = db.execute(f"SELECT MAX({_name(key)}) FROM {_name(table)}").fetchone()[0]
    if not isinstance(largest, int):
        return
    rows = [row[0] for row in db.execute(f"SELECT rowid FROM {_name(table)} ORDER BY rowid")]
    others = ", ".join(_name(c) for c in columns if c != key)
    listed = f", {others}" if others else ""
    copies = [(largest + i, row) for i, row in enumerate(rng.sample(rows, int(len(rows) * DOUBLED)), 1)]
    db.executemany(
        f"INSERT OR IGNORE INTO {_name(table)} ({_name(key)}{listed}) "
        f"SELECT ?{listed} FROM {_name(table)} WHERE rowid = ?",
        copies,
    )


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def survive(
    scores: Evaluation,
    test_set: Sequence[Mapping[str, Any]],
    connections: DatabaseConnections,
    folder: str | Path,
    *,
    k: int = 4,
    config: RunConfig | None = None,
) -> Survival:
    """Ask the predictions that were right again, on ``k`` variants of every database.

    A variant on which the gold fails, returns nothing, or has no single answer (a tie at its LIMIT) judges nobody.

    Args:
        scores: an evaluation on the real databases.
        test_set: the records that it was made from.
        connections: to the real databases, which must be SQLite.
        folder: receives the variants.

    Raises:
        DatabaseError: a database is not SQLite.
    """
    config = config or RunConfig()
    right = {item["id"]: item["sql_pred"] for item in scores.items if item["ex"]}
    records = [r for r in test_set if r["id"] in right and not _inner_limit(r["sql"], connections.dialect)]
    files: dict[str, str | Path] = {}
    for db_id in tqdm(dict.fromkeys(r["db_name"] for r in records), desc="variants", delay=2, file=sys.stderr):
        path = connections.path(db_id)
        if path is None or connections.dialect != "sqlite":
            raise DatabaseError("variants are made of SQLite files", where=db_id, hint="export the database to SQLite")
        files |= {f"{db_id}.{n}": p for n, p in enumerate(perturb(path, folder, k, config.seed))}
    tried = dict.fromkeys(right, 0)
    unmasked: dict[str, int] = {}
    if not files:
        return Survival(tried, unmasked)
    with Executor.from_config(DatabaseConnections.embedded(files), config.execution) as executor:
        for number in range(k):
            there = [{**r, "db_name": f"{r['db_name']}.{number}"} for r in records]
            pairs = [(r["db_name"], r["sql"]) for r in there]
            shaky = unstable(pairs, executor)
            empty = {i for i, result in enumerate(executor.run_many(pairs)) if not result.rows}
            judged = [r for i, r in enumerate(there) if i not in shaky and i not in empty]
            answers = [{"id": r["id"], "sql": right[r["id"]]} for r in judged]
            for item in evaluate(answers, judged, executor, config=config).items:
                tried[item["id"]] += 1
                if not item["ex"]:
                    unmasked.setdefault(item["id"], number)
    return Survival(tried, unmasked)


def _inner_limit(sql: str, dialect: str) -> bool:
    """A LIMIT inside may cut through a tie that cannot be seen from outside."""
    tree = shared_tree(sql, dialect)
    return tree is None or any(limit.parent is not tree for limit in tree.find_all(exp.Limit))
