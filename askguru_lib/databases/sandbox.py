"""The second half of the one door: SQL that may write runs on a copy of its database that is thrown away.

The copy is used by one process of its own: no environment, so no passwords; an empty working folder; limits of memory,
file size, processor time and, but for root, of processes; a time limit for each phase of the work, after which the
process and whatever it started are killed. An SQLite copy is a file whose authorizer refuses other files, extensions
and dangerous PRAGMAs. A PostgreSQL copy belongs to an account that is made for it and dropped with it, without any
power over programs, files and other databases.

That holds for SQL. Where the work is *Python* from somewhere, as the test cases of BIRD-CRITIC are, it is run with the
rights of whoever started it: it can be stopped, and it cannot take this process along, but it can read and write that
person's files. Give it only code that you trust. A PostgreSQL server's memory and disk are bounded by the time alone.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

import askguru_lib
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.errors import DatabaseError

DIALECTS = ("sqlite", "postgresql")
START_S = 30.0
"""Seconds for the process to begin its work."""
GRACE_S = 1.0
_PREFIX = "askguru_copy_"
_BUSY_S = 10.0
_OWN = """
SELECT format('ALTER %s %I.%I OWNER TO', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
  WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, n.nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
    AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i'))) AND {ours}
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO', p.oid::regprocedure) FROM pg_proc p
JOIN pg_namespace n ON n.oid = pronamespace WHERE prokind <> 'a' AND {ours}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO', t.oid::regtype) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
WHERE typtype IN ('e', 'd', 'r') AND {ours}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER SCHEMA %I OWNER TO', n.nspname) FROM pg_namespace n WHERE {ours} AND n.nspname <> 'public'
""".replace("{ours}", "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'")


@dataclass(frozen=True)
class Copy:
    """A database that may be broken: its name or file, how to connect to it, and an empty folder to work in."""

    dialect: str
    name: str
    location: str = field(repr=False)
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a sandbox's process said, and how it ended.

    Attributes:
        messages: in order.
        ended: ``done``, ``timeout`` (it was killed) or ``crashed`` (it ended before its work did).
        exit_code: negative for the signal that ended it.
    """

    messages: list[dict[str, Any]]
    ended: str
    exit_code: int | None


class Sandboxes:
    """Copies of the databases of ``connections``, which must be SQLite files or on a PostgreSQL server.

    On a server the account of the connections creates databases and roles, so it must be allowed to; what a killed run
    left there is removed first. Nobody may be connected to the original while it is being copied.

    Raises:
        DatabaseError: another dialect, or the server cannot be reached.
    """

    def __init__(self, connections: DatabaseConnections) -> None:
        if connections.dialect not in DIALECTS:
            raise DatabaseError(
                f"no throw-away copies can be made on {connections.dialect}",
                hint=f"give connections of {' or '.join(DIALECTS)}",
            )
        self.connections = connections
        self._token, self._numbers = secrets.token_hex(4), count(1)
        self._lock = threading.Lock()
        self._admin: sa.Engine | None = None
        self._presence: sa.Connection | None = None

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server."""
        if self._presence is not None:
            self._presence.close()
        if self._admin is not None:
            self._admin.dispose()
        self._admin = self._presence = None

    @contextmanager
    def copy(self, db_id: str) -> Iterator[Copy]:
        """A fresh copy; it is gone when the block ends, however it ends.

        Raises:
            DatabaseError: the database is unknown or cannot be copied.
        """
        with tempfile.TemporaryDirectory(prefix="askguru", ignore_cleanup_errors=True) as folder:
            make = self._file if self.connections.dialect == "sqlite" else self._server_copy
            with make(db_id, Path(folder)) as made:
                yield made

    @contextmanager
    def _file(self, db_id: str, folder: Path) -> Iterator[Copy]:
        original, path = self.connections.path(db_id), folder / f"{db_id}.sqlite"
        try:
            uri = f"{original.as_uri() if original else ''}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
        except sqlite3.Error as e:
            raise DatabaseError(
                f"cannot copy the database ({e})", where=str(original), hint="give an SQLite file, and free some space"
            ) from e
        yield Copy("sqlite", str(path), str(path), folder)

    @contextmanager
    def _server_copy(self, db_id: str, folder: Path) -> Iterator[Copy]:
        url = self.connections.url(db_id)
        name, password = f"{_PREFIX}{self._token}_{next(self._numbers)}", secrets.token_hex(16)
        try:
            admin = self._server(url)
            with admin.connect() as server:
                server.exec_driver_sql(
                    f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 4 "
                    f"PASSWORD '{password}'"
                )
                with suppress(sa.exc.DBAPIError):  # only a superuser may bound the files of a sort
                    server.exec_driver_sql(f"ALTER ROLE {name} SET temp_file_limit = '1GB'")
                _create(server, name, admin.dialect.identifier_preparer.quote(url.database or ""))
                server.exec_driver_sql(f"ALTER DATABASE {name} OWNER TO {name}")
            own = sa.create_engine(url.set(database=name), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            with own.connect() as inside:
                for (change,) in inside.exec_driver_sql(_OWN.replace("%", "%%")).all():
                    inside.exec_driver_sql(f"{change} {name}".replace("%", "%%"))
            location = url.set(drivername="postgresql", database=name, username=name, password=password)
            yield Copy("postgresql", name, location.render_as_string(hide_password=False), folder)
        except sa.exc.DBAPIError as e:
            reason = str(e.orig).strip().partition("\n")[0]
            raise DatabaseError(
                f"cannot copy the database ({reason})",
                where=f"database '{db_id}'",
                hint="connect as a superuser, and let nobody else use the database meanwhile",
            ) from e
        finally:
            if self._admin is not None:
                with suppress(sa.exc.DBAPIError):  # a server that is gone shows in the next copy
                    self._drop(name)

    def _server(self, url: sa.URL) -> sa.Engine:
        """The administrator's engine; a connection that bears this run's name stays open as a sign of life."""
        with self._lock:
            if self._admin is None:
                called = {"application_name": _PREFIX + self._token, "connect_timeout": 10}
                self._admin = sa.create_engine(
                    url.set(database="postgres"), isolation_level="AUTOCOMMIT", connect_args=called, pool_size=16
                )
                self._presence = self._admin.connect()
                query = "SELECT application_name FROM pg_stat_activity"
                alive = {row[0] for row in self._presence.exec_driver_sql(query)}
                query = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
                for (name,) in self._presence.exec_driver_sql(query).all():
                    if name.startswith(_PREFIX) and name.rpartition("_")[0] not in alive:
                        with suppress(sa.exc.DBAPIError):  # somebody else's
                            self._drop(name)
        return self._admin

    def _drop(self, name: str) -> None:
        assert self._admin is not None
        with self._admin.connect() as server:
            server.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")


def _create(server: sa.Connection, name: str, template: str) -> None:
    """CREATE DATABASE waits for others to leave the template; PostgreSQL itself waits five seconds."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            server.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
            return
        except sa.exc.OperationalError as e:
            if getattr(e.orig, "sqlstate", None) != "55006" or time.monotonic() > until:
                raise
            time.sleep(0.2)


def run_isolated(module: str, task: Mapping[str, Any], folder: Path, phase_s: float) -> Outcome:
    """Run ``python -m module`` in a process of its own; ``serve`` of ``sandbox_worker`` is its other end.

    Args:
        task: what it reads, JSON-ready.
        folder: its working folder.
        phase_s: seconds for each phase; a message with ``timeout_s`` begins one of that length instead.
    """
    library = Path(askguru_lib.__file__).parent.parent
    environment = {"PYTHONPATH": str(library), "PYTHONUTF8": "1", "HOME": str(folder), "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-B", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    received, ended, deadline = b"", "crashed", time.monotonic() + START_S
    try:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(task).encode())
        while True:
            if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                ended = "timeout"
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            received += chunk
            if received.endswith(b"\n"):
                last = json.loads(received.splitlines()[-1])
                if last.get("done"):
                    ended = "done"
                    break
                deadline = time.monotonic() + last.get("timeout_s", phase_s) + GRACE_S
        with suppress(subprocess.TimeoutExpired):  # its exit code, if it is dead already
            process.wait(0 if ended == "timeout" else GRACE_S)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
    whole = received[: received.rfind(b"\n") + 1].splitlines()
    return Outcome([json.loads(line) for line in whole], ended, process.returncode)
