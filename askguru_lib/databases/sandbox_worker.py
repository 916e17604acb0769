"""What runs inside a sandbox's process: SQL that may write, on a copy that is thrown away, bounded in time and memory.

As in ``worker``, the process imports the standard library and the one driver it needs.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from askguru_lib.databases import worker
from askguru_lib.databases.sessions_embedded import FORBIDDEN_FUNCTIONS, INTROSPECTION, PROGRESS_OPS, bound
from askguru_lib.databases.worker import Limits, first_word

_PRAGMAS = INTROSPECTION | {
    *("automatic_index", "case_sensitive_like", "collation_list", "compile_options", "count_changes", "database_list"),
    *("defer_foreign_keys", "encoding", "foreign_key_check", "foreign_keys", "freelist_count", "function_list"),
    *("ignore_check_constraints", "integrity_check", "optimize", "page_count", "page_size", "quick_check"),
    *("recursive_triggers", "reverse_unordered_selects", "synchronous", "user_version"),
}
TRANSACTION = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}
_MEASURED = {
    *("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE", "EXECUTE", "DECLARE"),
}
_COST_OPS = 10

Rows = list[tuple[Any, ...]]
Tell = Callable[..., None]


class Session(Protocol):
    """A connection to the copy; each statement outside an explicit transaction is committed at once."""

    connection: Any
    dialect: str

    def execute(self, sql: str) -> Rows | None:
        """At most ``max_rows`` rows, None from a statement that returns none; the driver's errors are raised."""

    def timed_out(self, error: BaseException) -> bool: ...

    def rollback(self) -> None: ...

    def cost(self, sqls: Sequence[str]) -> float:
        """What the statements cost, in the engine's own unit; whatever they change is taken back."""


class SQLiteSession:
    """A file with an authorizer: its own tables may be changed, and nothing beside it can be reached."""

    dialect = "sqlite"

    def __init__(self, location: str, limits: Limits) -> None:
        self._limits, self._deadline, self._refused, self._ticks = limits, float("inf"), "", 0
        db = self.connection = sqlite3.connect(location, isolation_level=None)
        bound(db, limits, "synchronous=OFF")
        db.set_progress_handler(self._tick, PROGRESS_OPS)
        db.set_authorizer(self._authorize)

    def _tick(self) -> int:
        self._ticks += 1
        return int(time.monotonic() > self._deadline)

    def _authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_ATTACH and first not in ("", ":memory:"):
            self._refused = "another file"
        elif action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FORBIDDEN_FUNCTIONS:
            self._refused = f"function {second}"
        elif action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _PRAGMAS:
            self._refused = f"PRAGMA {first}"
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def execute(self, sql: str) -> Rows | None:
        self._refused, self._deadline = "", time.monotonic() + self._limits.timeout_s
        try:
            cursor = self.connection.execute(sql)
            return cursor.fetchmany(self._limits.max_rows) if cursor.description else None
        except sqlite3.DatabaseError as e:
            if self._refused:
                raise sqlite3.DatabaseError(f"not allowed in a sandbox: {self._refused}") from e
            raise
        finally:
            self._deadline = float("inf")

    def timed_out(self, error: BaseException) -> bool:
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT

    def rollback(self) -> None:
        self.connection.rollback()

    def cost(self, sqls: Sequence[str]) -> float:
        """Steps of SQLite's virtual machine, in tens: its plans carry no cost, and steps are the same everywhere."""
        total = 0
        self.connection.execute("BEGIN")
        self.connection.set_progress_handler(self._tick, _COST_OPS)
        try:
            for sql in without_transactions(sqls):
                self._ticks = 0
                self.execute(sql)
                total += self._ticks if first_word(sql) in _MEASURED else 0
        finally:
            self.connection.set_progress_handler(self._tick, PROGRESS_OPS)
            self.rollback()
        return float(total)


class PostgreSQLSession:
    """A connection as the copy's owner, an account that has no power beyond it."""

    dialect = "postgresql"

    def __init__(self, location: str, limits: Limits) -> None:
        import psycopg

        self._limits, self._canceled = limits, psycopg.errors.QueryCanceled
        self.connection = psycopg.connect(location, autocommit=True, connect_timeout=10, prepare_threshold=None)
        with suppress(psycopg.Error):  # a killed process must not leave a query behind
            self.connection.execute("SET client_connection_check_interval = '1s'")

    def execute(self, sql: str, one: bool = False) -> Rows | None:
        self.connection.execute(f"SET statement_timeout = {max(1, int(self._limits.timeout_s * 1000))}")
        with self.connection.cursor() as cursor:
            cursor.execute(sql, binary=one or None)  # a binary result is given for a single statement only
            while cursor.nextset():  # of several statements in one text the last one's rows count
                pass
            return cursor.fetchmany(self._limits.max_rows) if cursor.description else None

    def timed_out(self, error: BaseException) -> bool:
        return isinstance(error, self._canceled)

    def rollback(self) -> None:
        self.connection.rollback()

    def cost(self, sqls: Sequence[str]) -> float:
        """The planner's total cost; statements that are not explained, such as CREATE INDEX, are run."""
        total = 0.0
        self.connection.execute("BEGIN")
        try:
            for sql in without_transactions(sqls):
                if first_word(sql) in _MEASURED:
                    plan: Any = self.execute(f"EXPLAIN (FORMAT JSON) {sql}", one=True)
                    total += plan[0][0][0]["Plan"]["Total Cost"]
                else:
                    self.execute(sql)
        finally:
            self.rollback()
        return total


def without_transactions(sqls: Sequence[str]) -> list[str]:
    """The statements but BEGIN, COMMIT and their like: they would end the transaction that takes changes back."""
    return [sql for sql in sqls if first_word(sql) not in TRANSACTION]


def serve(work: Callable[[Mapping[str, Any], Session, Tell], None]) -> None:
    """The main function of a sandbox's process: read the task, give up every power, connect, work.

    ``work`` gets the task, the session and ``tell``, which sends one message, as keywords, to the process outside. What
    the work itself prints goes nowhere.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    task = json.load(sys.stdin)
    kind: Any = {"sqlite": SQLiteSession, "postgresql": PostgreSQLSession}[task["dialect"]]
    limits = Limits(task["timeout_s"], task["max_rows"], task["memory_mb"])
    worker.start(["psycopg"] if task["dialect"] == "postgresql" else [], limits.memory_mb, task["file_mb"])
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (task["total_s"], task["total_s"]))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    signal.alarm(task["total_s"])  # when nobody is left to kill it

    def tell(**message: Any) -> None:
        out.write(json.dumps(message, default=str) + "\n")
        out.flush()

    work(task, kind(task["location"], limits), tell)
    tell(done=True)
