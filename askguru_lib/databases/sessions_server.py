"""Read-only sessions on database servers, over the driver that SQLAlchemy's dialect names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import sqlalchemy as sa

from askguru_lib.databases.connection import open_engine
from askguru_lib.databases.worker import (
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

_READS = {"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESC", "DESCRIBE"}
_WRITES = {
    *("ABORT", "ALTER", "ANALYZE", "ATTACH", "BACKUP", "BEGIN", "BINLOG", "CACHE", "CALL", "CHANGE", "CHECK"),
    *("CHECKPOINT", "CHECKSUM", "CLOSE", "CLUSTER", "COMMENT", "COMMIT", "COPY", "CREATE", "DEALLOCATE", "DECLARE"),
    *("DELETE", "DISCARD", "DO", "DROP", "END", "EXEC", "EXECUTE", "FETCH", "FLUSH", "GRANT", "HANDLER", "IMPORT"),
    *("INSERT", "INSTALL", "KILL", "LISTEN", "LOAD", "LOCK", "MERGE", "MOVE", "NOTIFY", "OPTIMIZE", "PREPARE"),
    *("PRAGMA", "PURGE", "REASSIGN", "REFRESH", "REINDEX", "RELEASE", "RENAME", "REPAIR", "REPLACE", "RESET"),
    *("REVOKE", "ROLLBACK", "SAVEPOINT", "SECURITY", "SET", "SHUTDOWN", "SIGNAL", "START", "STOP", "TRUNCATE"),
    *("UNINSTALL", "UNLISTEN", "UNLOCK", "UPDATE", "USE", "VACUUM", "XA"),
}
_BLANK = r"(?>\s|/\*.*?\*/|(?:--|#)[^\n]*\n)*+"
"""Blanks and comments; once matched they are not tried in another way."""
# What a read-only transaction allows all the same. Looked for anywhere: in a literal it is rare enough to be refused as
# well.
_DENIED_WORDS = {
    # files and named locks, also in a comment, which may hold code; hints that lift the time limit; password hashes
    "mysql": re.compile(
        r"\b(?:outfile|dumpfile|load_file|get_lock|release_\w*locks?|max_execution_time|set_var)\b|/\*M?!"
        rf"|\bmysql`?{_BLANK}\.|\bshow{_BLANK}(?:grants|create{_BLANK}user)\b",
        re.IGNORECASE | re.DOTALL,
    ),
    # set_config could take back the role that this session stepped down to, spelt in full, in an escaped identifier, or
    # inside a query that another function runs from a text; a lock outlives its statement, a message its transaction,
    # and other sessions of the same account can be ended; password hashes
    "postgresql": re.compile(
        r"\b(?:set_config|pg_\w*advisory\w*|dblink\w*|(?:query|cursor|table|schema|database)_to_xml\w*|ts_stat"
        r"|ts_rewrite|pg_(?:terminate|cancel)_backend|pg_notify|pg_logical_\w+|pg_authid|pg_shadow)\b|\bU&\"",
        re.IGNORECASE,
    ),
}
_WRITE_IN_QUERY = re.compile(
    r"""near ["'](?:INSERT|UPDATE|DELETE|MERGE|REPLACE)\b|INTO is not allowed""", re.IGNORECASE
)
"""How a syntax error reads where a query turns out to be a write."""
_UNDECLARABLE = {"SHOW", "EXPLAIN"}
_POSTGRES_STATES: list[tuple[str, Any]] = [
    (r"42601|42000|42803|42P10|42P20", "syntax"),
    (r"42P01|42703|42883|42704|3F000|42702|42712|42P02|42P09", "unknown_name"),
    (r"42804|42846|42725|22(?!012)\w\w\w", "type"),
    (r"57014", "timeout"),
    (r"42501|25006|25001|0A000|2F\w\w\w", "denied"),
    (r"53\w\w\w|54\w\w\w", "resource"),
    (r"08\w\w\w|57P\w\w|28\w\w\w|3D000", "connection"),
]
_MYSQL_CODES: dict[int, Any] = {
    **dict.fromkeys((1064, 1149), "syntax"),
    **dict.fromkeys((1054, 1146, 1305, 1109, 1052, 1066, 1103), "unknown_name"),
    **dict.fromkeys((1292, 1366, 1411), "type"),
    **dict.fromkeys((3024, 1969, 1317), "timeout"),
    **dict.fromkeys((1142, 1143, 1227, 1792, 1290, 1044), "denied"),
    **dict.fromkeys((1037, 1038, 1041, 1104, 1436, 1473, 3636), "resource"),
    **dict.fromkeys((1045, 1049, 2003, 2006, 2013), "connection"),
}
_ORACLE_CODES: list[tuple[str, Any]] = [
    (r"ORA-009(?!04|42)\d\d|ORA-01756", "syntax"),
    (r"ORA-00904|ORA-00942|ORA-00918", "unknown_name"),
    (r"ORA-01722|ORA-018\d\d|ORA-00932", "type"),
    (r"DPY-4024|ORA-01013|ORA-3156", "timeout"),
    (r"ORA-01456|ORA-01031|ORA-01720", "denied"),
    (r"ORA-04030|ORA-01652|ORA-04031", "resource"),
    (r"ORA-12\d\d\d|ORA-01017|DPY-6\d\d\d", "connection"),
]


def _rows(cursor: Any, until: float) -> Iterator[Any]:
    """Pages that double: a few huge rows are counted before the next ones are fetched.

    Raises:
        TimeoutError: it is later than ``until``. The server does not always say so: it counts the time of each page
            alone, and MySQL's SLEEP and BENCHMARK answer when they are interrupted.
    """
    size = 1
    while page := cursor.fetchmany(size):  # the last page is an empty list or, on MySQL, an empty tuple
        if time.perf_counter() > until:
            raise TimeoutError
        yield from page
        size = min(2 * size, 256)


class ServerSession:
    """One connection; each statement runs in a read-only transaction of its own, which is rolled back."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self._dialect, self._limits, self._statement = target.dialect, limits, ""
        self._engine = open_engine(sa.make_url(target.location), connect_timeout_s=max(2, int(limits.timeout_s)))
        self._connect()

    def _connect(self) -> None:
        self._begin: list[str] = []
        self._db: Any = self._engine.raw_connection()
        self._prepare(max(1, int(self._limits.timeout_s * 1000)))

    def _prepare(self, ms: int) -> None:
        if self._dialect == "postgresql":
            self._do(f"SET statement_timeout = {ms}")
            self._do(f"SET lock_timeout = {ms}")
            self._do(f"SET idle_in_transaction_session_timeout = {ms + 60_000}")
            self._db.commit()
            if self._value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
                self._do("SET ROLE pg_read_all_data")  # reads every table, and neither files nor the server's settings
                self._db.commit()
            with suppress(Exception):
                self._do("SET client_connection_check_interval = '1s'")  # a killed worker must not leave a query behind
            self._db.commit()
        elif self._dialect == "mysql":
            limit = f"SET SESSION max_execution_time = {ms}"
            try:
                self._do(limit)
            except Exception:  # MariaDB
                limit = f"SET SESSION max_statement_time = {ms / 1000}"
                self._do("SET SESSION join_cache_level = 0")  # it looks at the clock once per buffer: minutes apart
                # a recursion without end fails by its time; by default it answers with its first 1000 steps
                self._do("SET SESSION max_recursive_iterations = 4294967295")
            self._begin = [limit, "START TRANSACTION READ ONLY"]  # a stored function may have changed the session's
        elif self._dialect == "oracle":
            self._begin = ["SET TRANSACTION READ ONLY"]
            self._db.driver_connection.call_timeout = ms

    def _do(self, statement: str) -> None:
        with closing(self._db.cursor()) as cursor:
            cursor.execute(statement)

    def _value(self, query: str) -> Any:
        with closing(self._db.cursor()) as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]

    def run(self, sql: str, limits: Limits) -> Result:
        if is_blank(sql):
            return Result.failed("syntax", "no SQL statement")
        word = first_word(sql)
        if word not in _READS:
            if word in _WRITES:
                raise Denied(f"not allowed on a read-only connection: {word}")
            return Result.failed(
                "syntax", f"expected a query (SELECT, WITH, VALUES), found {word or sql.strip()[:20]!r}"
            )
        denied = _DENIED_WORDS.get(self._dialect)
        if denied and (found := denied.search(sql)):
            raise Denied(f"not allowed on a read-only connection: {found[0].upper()}")
        self._statement = statement = sql.strip().rstrip(";")
        if not self._db.is_valid:
            self._connect()
        started = time.perf_counter()
        try:
            for setting in self._begin:
                self._do(setting)
            with closing(self._cursor(word)) as cursor:
                try:
                    self._execute(cursor, word, statement)
                    if cursor.description is None:
                        raise Denied("only statements that return rows are allowed")
                    rows = _rows(cursor, started + limits.timeout_s)
                    return collect([c[0] for c in cursor.description], rows, limits, started)
                finally:
                    self._abandon(cursor)
        finally:
            with suppress(Exception):  # a connection that is lost shows in the error above, or in the next statement
                self._db.rollback()

    def _cursor(self, word: str) -> Any:
        """A cursor to which rows come page by page; on PostgreSQL it also takes one query and nothing else."""
        if self._dialect == "postgresql" and word not in _UNDECLARABLE:
            return self._db.driver_connection.cursor(name="askguru")
        if self._dialect == "mysql":
            from pymysql.cursors import SSCursor

            return self._db.driver_connection.cursor(SSCursor)
        return self._db.cursor()

    def _abandon(self, cursor: Any) -> None:
        """On MySQL, drop the connection when rows are left: closing the cursor would read all of them first."""
        pending = self._dialect == "mysql" and cursor._result
        if pending and pending.unbuffered_active:
            pending.unbuffered_active = False
            self._db.invalidate()

    def _execute(self, cursor: Any, word: str, statement: str) -> None:
        if self._dialect == "postgresql" and word in _UNDECLARABLE:
            cursor.execute(statement, prepare=True)  # a prepared statement is one statement
        else:
            cursor.execute(statement)

    def classify(self, error: BaseException) -> Failure:
        error = getattr(error, "orig", None) or error  # SQLAlchemy wraps what goes wrong while it connects
        text = one_line(str(error).partition("\nLINE ")[0])
        kind: Any = "other"
        state = getattr(error, "sqlstate", None)
        if isinstance(error, TimeoutError):
            kind = "timeout"
        elif self._dialect == "postgresql":
            kind = next((k for pattern, k in _POSTGRES_STATES if re.fullmatch(pattern, state or "")), "other")
            if "multiple commands" in text:
                kind, text = "denied", "only one statement at a time"
            elif "operator does not exist" in text:
                kind = "type"
            elif re.search("memory exhausted|too complex", text) or (state is None and "out of memory" in text):
                kind = "resource"
            elif state is None and type(error).__name__ == "OperationalError":
                kind = "connection"
        elif self._dialect == "mysql":
            code = error.args[0] if error.args else None
            kind = _MYSQL_CODES.get(code, "other") if isinstance(code, int) else "other"
            if kind == "syntax" and "memory exhausted" in text:
                kind = "resource"
            elif kind == "syntax" and re.search(rf";{_BLANK}\w", self._statement, re.DOTALL):
                kind, text = "denied", "only one statement at a time"
        elif self._dialect == "oracle":
            kind = next((k for pattern, k in _ORACLE_CODES if re.search(pattern, text)), "other")
        if kind == "syntax" and _WRITE_IN_QUERY.search(text):
            kind, text = "denied", f"not allowed on a read-only connection: {text}"
        if kind == "timeout":
            text = f"stopped after {self._limits.timeout_s:g} s"
        return Failure(kind, text)

    def close(self) -> None:
        with suppress(Exception):
            self._db.close()
        self._engine.dispose()
