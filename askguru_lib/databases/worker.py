"""What runs inside an executor's worker process: one untrusted statement, read-only, bounded in time, rows and memory.

The process imports the standard library and the one driver it needs, nothing else, so that it starts in a blink and can
be killed without regret.
"""

from __future__ import annotations

import ctypes
import datetime
import decimal
import os
import re
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol
from uuid import UUID

FailureKind = Literal["syntax", "unknown_name", "type", "timeout", "denied", "resource", "connection", "other"]

MAX_SQL = 200_000
MAX_SESSIONS = 16
WORN = 75
"""Exit code of a worker that has no memory left for another statement."""
M_ARENA_MAX = -8
"""The number of that option of glibc's mallopt."""
_CELL_BYTES = 56
_PLAIN = (str, bytes, int, float, bool, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta, UUID)


@dataclass(frozen=True)
class Failure:
    """Why a statement gave no result."""

    kind: FailureKind
    message: str


@dataclass(frozen=True)
class Result:
    """What a statement gave.

    Attributes:
        columns: names, in order.
        rows: at most the executor's ``max_rows``.
        elapsed_ms: execution and fetching, measured in the worker.
        truncated: there was more than ``rows`` shows.
        failure: None when the statement ran.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    elapsed_ms: float = field(default=0.0, compare=False)
    truncated: bool = False
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        return self.failure is None

    @classmethod
    def failed(cls, kind: FailureKind, message: str, elapsed_ms: float = 0.0) -> Result:
        return cls(elapsed_ms=elapsed_ms, failure=Failure(kind, message))

    def preview(self, n: int = 10) -> str:
        """Columns and the first ``n`` rows as compact text, or the error: what prompts show of a result."""
        if self.failure:
            return f"Error: {self.failure.message}"
        lines = [" | ".join(self.columns), *(" | ".join(map(_shown, row)) for row in self.rows[:n])]
        if not self.rows:
            lines.append("(no rows)")
        elif self.truncated or len(self.rows) > n:
            lines.append("…")
        return "\n".join(lines)


def _shown(value: Any, width: int = 60) -> str:
    if value is None:
        return "NULL"
    text = f"{value:.6g}" if isinstance(value, float) and not value.is_integer() else str(value)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


@dataclass(frozen=True)
class Target:
    """One database: its engine and its file, or its URL (hidden, it may hold a password)."""

    dialect: str
    location: str = field(repr=False)


@dataclass(frozen=True)
class Limits:
    timeout_s: float
    max_rows: int
    memory_mb: int

    @property
    def result_bytes(self) -> int:
        """Bytes of values kept of one result, as Python holds them."""
        return self.memory_mb * 2**20 // 8

    @property
    def cell_bytes(self) -> int:
        """Bytes of one string or blob."""
        return self.memory_mb * 2**20 // 16


class Denied(Exception):
    """The statement asks for something a reader may not do."""


def unfit(sql: object) -> Failure | None:
    """Why a text is sent to no engine: some would read it to its first NUL only, others fail in ways of their own."""
    if not isinstance(sql, str):
        return Failure("syntax", "no SQL statement")
    if len(sql) > MAX_SQL:
        return Failure("resource", f"the statement is longer than {MAX_SQL} characters")
    if "\0" in sql:
        return Failure("syntax", "the statement holds a NUL character")
    try:
        sql.encode()
    except UnicodeEncodeError:
        return Failure("syntax", "the statement holds half a surrogate pair")
    return None


class Session(Protocol):
    """An open connection to one database."""

    def run(self, sql: str, limits: Limits) -> Result: ...

    def classify(self, error: BaseException) -> Failure: ...

    def close(self) -> None: ...


def start(drivers: Sequence[str], memory_mb: int, file_mb: int = 1) -> None:
    """Initialise a worker process: drivers first, then the limits that it cannot lift.

    The address space may grow by ``memory_mb`` beyond what the interpreter and the drivers take already. No file may
    grow beyond ``file_mb``: the index of a write-ahead log needs one MiB, a reader needs no more.
    """
    global _worn_at
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for the statement to end
    for driver in drivers:
        import_module(driver)
    _few_arenas()
    with suppress(ImportError):
        import resource

        used = _address_space()
        _worn_at = used + memory_mb * 2**20 * 3 // 4 if used else 0
        for what, limit in (
            (resource.RLIMIT_AS, used + memory_mb * 2**20 if used else resource.RLIM_INFINITY),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, file_mb * 2**20),
        ):
            hard = resource.getrlimit(what)[1]
            if hard != resource.RLIM_INFINITY:
                limit = min(limit, hard) if limit != resource.RLIM_INFINITY else hard
            with suppress(OSError, ValueError):
                resource.setrlimit(what, (limit, limit))


def _few_arenas() -> None:
    """Keep a thread cheap in address space: glibc reserves an arena of 64 MiB and a stack of 8 MiB for each one."""
    threading.stack_size(2**20)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _address_space() -> int:
    """Bytes of address space in use, 0 where the system does not tell (macOS does not enforce the limit either)."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


_sessions: OrderedDict[Target, tuple[Any, Session]] = OrderedDict()
_worn_at = 0


def _leave_when_worn() -> None:
    """End this process when earlier statements have left it little memory: an allocator keeps what it once had.

    A process that has run nothing yet stays: another would be no better.
    """
    if _sessions and _worn_at and _address_space() > _worn_at:
        os._exit(WORN)


def execute(target: Target, sql: str, limits: Limits) -> Result:
    """Run one statement in this process; every failure comes back typed, nothing is raised.

    The process ends with ``WORN`` instead, and the statement is for another one, when memory is short from the start.
    """
    _leave_when_worn()
    return _execute(target, sql, limits)


def _execute(target: Target, sql: str, limits: Limits) -> Result:
    started = time.perf_counter()
    session: Session | None = None
    try:
        session = _session(target, limits)
        return session.run(sql, limits)
    except MemoryError:
        _sessions.pop(target, None)
        failure = Failure("resource", f"out of memory ({limits.memory_mb} MiB allowed)")
    except Denied as e:
        failure = Failure("denied", str(e))
    except Exception as e:
        failure = session.classify(e) if session else Failure("connection", one_line(e))
    if failure.kind == "connection":
        _sessions.pop(target, None)
    return Result(elapsed_ms=(time.perf_counter() - started) * 1000, failure=failure)


def measure(target: Target, sqls: Sequence[str], limits: Limits, runs: int) -> list[list[float]] | Failure:
    """Milliseconds of every statement in every run; they take turns, so that a busy moment hits all of them.

    One more round comes first and does not count: whoever ran first there would have warmed the cache for the others.
    """
    _leave_when_worn()
    times: list[list[float]] = [[] for _ in sqls]
    for _ in range(runs + 1):
        for sql, spent in zip(sqls, times, strict=True):
            result = _execute(target, sql, limits)
            if result.failure:
                return result.failure
            spent.append(result.elapsed_ms)
    return [spent[1:] for spent in times]


def _session(target: Target, limits: Limits) -> Session:
    """The open connection to ``target``; opened anew when the file was replaced."""
    signature = file_signature(target)
    known = _sessions.get(target)
    if known and known[0] == signature:
        _sessions.move_to_end(target)
        return known[1]
    if known:
        _sessions.pop(target)[1].close()
    module, name = {
        "sqlite": ("sessions_embedded", "SQLiteSession"),
        "duckdb": ("sessions_embedded", "DuckDBSession"),
    }.get(target.dialect, ("sessions_server", "ServerSession"))
    session: Session = getattr(import_module(f"{__package__}.{module}"), name)(target, limits)
    _sessions[target] = (signature, session)
    if len(_sessions) > MAX_SESSIONS:
        _sessions.popitem(last=False)[1][1].close()
    return session


def file_signature(target: Target) -> tuple[int, int, int] | None:
    """Identity and age of an embedded database's file; None when it is a server's, or missing."""
    if target.dialect not in ("sqlite", "duckdb"):
        return None
    with suppress(OSError):
        stat = os.stat(target.location)
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
    return None


def collect(columns: Sequence[str], rows: Iterable[Sequence[Any]], limits: Limits, started: float) -> Result:
    """Fetch at most ``max_rows`` rows and ``result_bytes`` bytes into a Result."""
    kept: list[tuple[Any, ...]] = []
    room, truncated = limits.result_bytes, False
    for row in rows:
        values = tuple(v if v is None or isinstance(v, _PLAIN) else _plain(v) for v in row)
        room -= sum(_CELL_BYTES + len(v) if isinstance(v, (str, bytes)) else _CELL_BYTES for v in values)
        if len(kept) >= limits.max_rows or room < 0:
            truncated = True
            break
        kept.append(values)
    elapsed = (time.perf_counter() - started) * 1000
    return Result(tuple(columns), tuple(kept), elapsed, truncated)


def _plain(value: Any) -> Any:
    """Values of nested and exotic types as hashable, picklable ones."""
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if isinstance(value, dict):
        return tuple((_plain(k), _plain(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(str, value)))
    return str(value)


_LEADING = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.S)
_WORD = re.compile(r"[A-Za-z_]+")


def first_word(sql: str) -> str:
    """The first keyword after blanks, comments and brackets, upper case; empty when there is none."""
    word = _WORD.match(sql, _LEADING.match(sql).end())  # type: ignore[union-attr]
    return word[0].upper() if word else ""


def is_blank(sql: str) -> bool:
    """Nothing but blanks, comments and semicolons."""
    return not re.sub(r"--[^\n]*(?:\n|$)|/\*.*?\*/|[\s;]", "", sql, flags=re.S)


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """A driver's message on one line, cut to ``limit`` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
