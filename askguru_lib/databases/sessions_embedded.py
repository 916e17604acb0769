"""Read-only sessions on SQLite and DuckDB files, hardened for SQL that nobody has read."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from typing import Any
from urllib.parse import quote

from askguru_lib.databases.worker import (
    MAX_SQL,
    Denied,
    Failure,
    Limits,
    Result,
    Target,
    collect,
    first_word,
    is_blank,
    one_line,
)

PROGRESS_OPS = 2000
_SQLITE_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
INTROSPECTION = {
    "data_version",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
}
FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "sqlite_log"}
_SQLITE_CODES = {
    sqlite3.SQLITE_AUTH: "denied",
    sqlite3.SQLITE_READONLY: "denied",
    sqlite3.SQLITE_INTERRUPT: "timeout",
    sqlite3.SQLITE_NOMEM: "resource",
    sqlite3.SQLITE_TOOBIG: "resource",
    sqlite3.SQLITE_FULL: "resource",
    sqlite3.SQLITE_MISMATCH: "type",
    sqlite3.SQLITE_BUSY: "connection",
    sqlite3.SQLITE_CANTOPEN: "connection",
    sqlite3.SQLITE_CORRUPT: "connection",
    sqlite3.SQLITE_IOERR: "connection",
    sqlite3.SQLITE_LOCKED: "connection",
    sqlite3.SQLITE_NOTADB: "connection",
}
_SQLITE_MESSAGES: list[tuple[str, Any]] = [
    (r"syntax error|incomplete input|unrecognized token", "syntax"),
    (r"no such (?!savepoint)|ambiguous column name|unknown database|has no column named", "unknown_name"),
    (r"integer overflow|datatype mismatch|malformed JSON|wrong number of arguments|bad JSON path", "type"),
    (r"one statement at a time|not authorized|prohibited|may not be (?:modified|dropped)|readonly", "denied"),
    (r"too many|too large|too long|too complex|exceeds|Expression tree|parser stack|out of memory|too big", "resource"),
]


def bound(db: sqlite3.Connection, limits: Limits, *pragmas: str) -> None:
    """Keep a connection to its memory and to its own file, which may be damaged or hold text in any encoding."""
    heap = f"hard_heap_limit={limits.memory_mb * 2**20 * 3 // 4}"
    for pragma in (heap, "temp_store=MEMORY", "trusted_schema=OFF", "mmap_size=0", *pragmas):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.cell_bytes)
    db.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")


class SQLiteSession:
    """A file opened with ``mode=ro``, an authorizer that lets only reading through, and SQLite's own limits."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self._refused = self._word = ""
        self._deadline = 0.0
        self._limits = limits
        if not os.path.isfile(target.location):
            raise FileNotFoundError(f"no database file {target.location}")
        db = sqlite3.connect(f"file:{quote(target.location)}?mode=ro", uri=True, isolation_level=None)
        self._db = db
        bound(db, limits, "query_only=ON", "cell_size_check=ON")
        db.execute("SELECT count(*) FROM sqlite_master").fetchall()  # a file that is no database fails here
        for category, value in (
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL),
            (sqlite3.SQLITE_LIMIT_COLUMN, 1000),
            (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 500),
            (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 200),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
            (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 10),
        ):
            db.setlimit(category, value)
        db.set_progress_handler(self._overdue, PROGRESS_OPS)
        db.set_authorizer(self._authorize)

    def _overdue(self) -> int:
        return int(time.monotonic() > self._deadline)

    def _authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _SQLITE_READS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in INTROSPECTION:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            return sqlite3.SQLITE_OK  # asked when a virtual table (json_each, FTS) is opened; writing fails on mode=ro
        named = {sqlite3.SQLITE_FUNCTION: f"function {second}", sqlite3.SQLITE_PRAGMA: f"PRAGMA {first}"}
        self._refused = named.get(action, "writing")
        return sqlite3.SQLITE_DENY

    def run(self, sql: str, limits: Limits) -> Result:
        self._refused, self._word = "", first_word(sql)
        started = time.perf_counter()
        self._deadline = time.monotonic() + limits.timeout_s
        cursor = self._db.cursor()
        try:
            cursor.execute(sql)
            if cursor.description is None:
                if is_blank(sql):
                    return Result.failed("syntax", "no SQL statement")
                raise Denied("only statements that return rows are allowed")
            return collect([c[0] for c in cursor.description], cursor, limits, started)
        finally:
            cursor.close()

    def classify(self, error: BaseException) -> Failure:
        text = one_line(error)
        if self._refused:
            what = self._refused if self._word in ("", "SELECT", "WITH", "EXPLAIN", "VALUES") else self._word
            return Failure("denied", f"not allowed on a read-only connection: {what}")
        code = getattr(error, "sqlite_errorcode", None)
        kind: Any = _SQLITE_CODES.get(code & 0xFF) if code is not None else None
        if kind == "timeout":
            text = f"stopped after {self._limits.timeout_s:g} s"
        if kind is None:
            kind = next((k for pattern, k in _SQLITE_MESSAGES if re.search(pattern, text, re.I)), "other")
        return Failure(kind, text)

    def close(self) -> None:
        self._db.close()


_DUCKDB_ERRORS: dict[str, Any] = {
    "ParserException": "syntax",
    "SyntaxException": "syntax",
    "CatalogException": "unknown_name",
    "ConversionException": "type",
    "TypeMismatchException": "type",
    "OutOfRangeException": "type",
    "InterruptException": "timeout",
    "OutOfMemoryException": "resource",
    "PermissionException": "denied",
    "IOException": "connection",
    "ConnectionException": "connection",
    "FatalException": "connection",
}


class DuckDBSession:
    """A file opened read-only with external access off and the configuration locked."""

    def __init__(self, target: Target, limits: Limits) -> None:
        import duckdb

        self._duckdb, self._limits = duckdb, limits
        if not os.path.isfile(target.location):
            raise FileNotFoundError(f"no database file {target.location}")
        config: dict[str, Any] = {
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "memory_limit": f"{limits.memory_mb // 2}MiB",
            "temp_directory": "",
            "threads": "1",
            "lock_configuration": "true",
        }
        self._db = duckdb.connect(target.location, read_only=True, config=config)

    def run(self, sql: str, limits: Limits) -> Result:
        statements = self._db.extract_statements(sql)
        if not statements:
            return Result.failed("syntax", "no SQL statement")
        if len(statements) > 1:
            raise Denied("only one statement at a time")
        kind = statements[0].type.name
        if kind not in ("SELECT", "EXPLAIN"):
            raise Denied(f"not allowed on a read-only connection: {kind}")
        started = time.perf_counter()
        alarm = threading.Timer(limits.timeout_s, self._db.interrupt)
        alarm.daemon = True
        alarm.start()
        try:
            cursor = self._db.execute(statements[0])
            columns = [c[0] for c in cursor.description or ()]
            rows = (row for page in iter(lambda: cursor.fetchmany(256), []) for row in page)
            return collect(columns, rows, limits, started)
        finally:
            alarm.cancel()

    def classify(self, error: BaseException) -> Failure:
        text = one_line(str(error).partition("\nLINE ")[0].partition("\n\nPossible solutions")[0])
        kind: Any = _DUCKDB_ERRORS.get(type(error).__name__)
        if re.search(r"^Parser Error: (?:memory exhausted|Max expression depth)|Lists larger than", text):
            kind = "resource"
        if kind == "timeout":
            text = f"stopped after {self._limits.timeout_s:g} s"
        if kind is None and re.search(r"read-only|disabled|not allowed", text, re.I):
            kind = "denied"
        if kind is None and re.search(r"not found|does not exist|Ambiguous reference|does not have a column", text):
            kind = "unknown_name"
        if kind is None and re.search(
            r"No function matches|Cannot (?:compare|mix)|explicit type cast|Malformed JSON", text
        ):
            kind = "type"
        return Failure(kind or "other", text)

    def close(self) -> None:
        self._db.close()
