"""Results of statements in a file: a killed evaluation goes on where it was, and the next one runs no gold again."""

from __future__ import annotations

import hashlib
import io
import pickle
import sqlite3
import time
import zlib
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from askguru_lib.databases.worker import Limits, Result, Target, file_signature
from askguru_lib.errors import DatabaseError

MAX_BYTES = 2**30
"""Size above which the oldest results go when the store is closed."""

_MAX_RESULT = 2**23
_COMMIT_S = 1.0
_CLASSES = {
    "askguru_lib.databases.worker": {"Result", "Failure"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "uuid": {"UUID", "SafeUUID"},
}
_APPLICATION_ID = 0x61736B47
"""In the header of the file: what tells a store from somebody's database."""
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS result (key TEXT PRIMARY KEY, scope TEXT NOT NULL, value BLOB NOT NULL);
"""


class ResultStore:
    """A file of results, for an executor.

    A result belongs to its statement, the limits, the engine's version, and the database's file as it is: when the file
    changes, its results are not found any more. Nothing tells whether the contents of a server's database changed, so
    results of servers are kept only within a ``scope``.

    Args:
        path: an SQLite file; made where it is missing. It can be deleted at any time.
        scope: names one evaluation. Without it, results of servers are not kept; with it, ``forget_scope`` when the
            evaluation is finished.

    Raises:
        DatabaseError: the file cannot be opened or is no store.
    """

    def __init__(self, path: str | Path, scope: str = "") -> None:
        self.path, self._scope = Path(path), scope
        self._committed = time.monotonic()
        self.hits = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level="DEFERRED", check_same_thread=False)
            (mark,), (tables,) = (
                self._db.execute(query).fetchone()
                for query in ("PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
            )
            if tables and mark != _APPLICATION_ID:
                raise sqlite3.DatabaseError("it is another database")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as e:
            raise self._unusable(e) from e

    def _unusable(self, error: Exception) -> DatabaseError:
        return DatabaseError(
            f"the store of results cannot be used ({error})",
            where=str(self.path),
            hint="delete it, name another, or go without",
        )

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def get(self, target: Target, sql: str, limits: Limits) -> Result | None:
        """The stored result of a statement, None when there is none."""
        key = self._key(target, sql, limits)
        if key is None:
            return None
        try:
            row = self._db.execute("SELECT value FROM result WHERE key = ?", (key,)).fetchone()
            found = _Reader(io.BytesIO(zlib.decompress(row[0]))).load() if row else None
        except (sqlite3.Error, zlib.error, pickle.UnpicklingError, EOFError) as e:
            raise self._unusable(e) from e
        self.hits += found is not None
        return found  # type: ignore[no-any-return]

    def put(self, target: Target, sql: str, limits: Limits, result: Result) -> None:
        """Keep a result; it is on disk within about a second. Results of more than 8 MB are not kept."""
        key = self._key(target, sql, limits)
        if key is None:
            return
        value = zlib.compress(pickle.dumps(result, protocol=5), level=1)
        if len(value) > _MAX_RESULT:
            return
        scope = "" if file_signature(target) else self._scope
        try:
            self._db.execute("INSERT OR REPLACE INTO result VALUES (?, ?, ?)", (key, scope, value))
            if time.monotonic() - self._committed > _COMMIT_S:
                self._db.commit()
                self._committed = time.monotonic()
        except sqlite3.Error as e:
            raise self._unusable(e) from e

    def forget_scope(self) -> None:
        """Drop what was kept of servers for this scope."""
        with suppress(sqlite3.Error):
            self._db.execute("DELETE FROM result WHERE scope = ? AND scope <> ''", (self._scope,))

    def close(self) -> None:
        """Write what is pending; the oldest results go when the file has outgrown ``MAX_BYTES``."""
        with suppress(sqlite3.Error, OSError):
            self._db.commit()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if (size := self.path.stat().st_size) > MAX_BYTES:
                (count,) = self._db.execute("SELECT count(*) FROM result").fetchone()
                newest = "SELECT rowid FROM result ORDER BY rowid DESC LIMIT ?"
                kept = int(0.8 * count * MAX_BYTES / size)
                self._db.execute(f"DELETE FROM result WHERE rowid NOT IN ({newest})", (kept,))
                self._db.commit()
                self._db.execute("VACUUM")
        self._db.close()

    def _key(self, target: Target, sql: str, limits: Limits) -> str | None:
        signature = file_signature(target)
        if signature is None and not self._scope:
            return None
        what = (target.dialect, target.location, signature or self._scope, _version(target.dialect), limits, sql)
        return hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).hexdigest()


def _version(dialect: str) -> str:
    if dialect == "sqlite":
        return sqlite3.sqlite_version
    return metadata.version("duckdb") if dialect == "duckdb" else ""


class _Reader(pickle.Unpickler):
    """Makes results and the values that stand in them, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _CLASSES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a result does not hold {module}.{name}")
