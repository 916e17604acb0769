"""The second half of the one door: SQL that may write runs on a copy of its database that is thrown away.

The copy is used by one process of its own: no environment, so no passwords; an empty working folder; limits of memory,
file size, processor time and, but for root, of processes; a time limit for each phase of the work, after which the
process and whatever it started are killed. An SQLite copy is a file whose authorizer refuses other files, extensions
and dangerous PRAGMAs. A PostgreSQL copy belongs to an account that is made for it and dropped with it, without any
power over programs, files and other databases; foreign servers, through which it would reach some, are left out.

That holds for SQL. Where the work is *Python* from somewhere, as the test cases of BIRD-CRITIC are, it is run with the
rights of whoever started it: it can be stopped, and it cannot take this process along, but it can read and write that
person's files. Give it only code that you trust. A PostgreSQL server's memory and disk are bounded by the time alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import select
import shutil
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
from askguru_lib.databases import worker
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.errors import DatabaseError

DIALECTS = ("sqlite", "postgresql")
START_S = 30.0
"""Seconds for the process to begin its work."""
GRACE_S = 1.0
_PREFIX = "askguru_copy_"
_BUSY_S = 10.0
_NEW_S = 60.0
_MOST_BYTES = 2**20
_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_CONTENT = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm', 'S') AND ({_OURS} OR c.oid = ANY ('{{pg_attrdef, pg_attribute, pg_constraint, pg_enum,
  pg_index, pg_largeobject, pg_proc, pg_rewrite, pg_trigger, pg_type}}'::regclass[])) ORDER BY 1
"""
_OWN = f"""
SELECT format('ALTER %s %I.%I OWNER TO', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
  WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, n.nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'c')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
    AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i'))) AND {_OURS}
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO', p.oid::regprocedure) FROM pg_proc p
JOIN pg_namespace n ON n.oid = pronamespace WHERE prokind <> 'a' AND {_OURS}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO', t.oid::regtype) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
WHERE typtype IN ('e', 'd', 'r') AND {_OURS}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER SCHEMA %I OWNER TO', n.nspname) FROM pg_namespace n WHERE {_OURS} AND n.nspname <> 'public'
"""


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

    On a server the account of the connections creates databases and roles, so it must be allowed to. What a killed run
    left behind, there and among the temporary files, is removed first. Nobody may be connected to the original while it
    is being copied.

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
        self._signatures: dict[str, str] = {}

    def __enter__(self) -> Sandboxes:
        _clear_temporary()
        self._home = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        self._in_use = os.open(self._home.name, os.O_RDONLY)  # the lock is gone when this process is
        with suppress(OSError):
            fcntl.flock(self._in_use, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._presence is not None:
            self._presence.close()
        if self._admin is not None:
            self._admin.dispose()
        self._admin = self._presence = None
        self._home.cleanup()
        os.close(self._in_use)

    def signature(self, db_id: str) -> Any:
        """Something JSON-ready that changes with what the original holds; a server's is taken once.

        Raises:
            DatabaseError: the database is unknown or cannot be read.
        """
        if path := self.connections.path(db_id):
            files = (worker.Target("sqlite", name) for name in (str(path), f"{path}-wal"))
            return [found if found and found[2] else None for found in map(worker.file_signature, files)]
        with self._lock:
            if db_id not in self._signatures:
                self._signatures[db_id] = self._content(db_id)
            return self._signatures[db_id]

    def _content(self, db_id: str) -> str:
        """Hash of all rows, in any order, and of the catalogs that hold definitions."""
        digest, engine = hashlib.sha256(), sa.create_engine(self.connections.url(db_id), poolclass=sa.NullPool)
        with _helpful(db_id), engine.connect() as inside:
            for (table,) in inside.exec_driver_sql(_CONTENT).all():
                query = f"SELECT count(*), sum(hashtextextended(ROW(x.*)::text, 0)) FROM {table} AS x"
                digest.update(repr([table, *inside.exec_driver_sql(query.replace("%", "%%")).one()]).encode())
        return digest.hexdigest()

    @contextmanager
    def copy(self, db_id: str) -> Iterator[Copy]:
        """A fresh copy; it is gone when the block ends, however it ends.

        Raises:
            DatabaseError: the database is unknown or cannot be copied.
        """
        with tempfile.TemporaryDirectory(dir=self._home.name, ignore_cleanup_errors=True) as folder:
            make = self._file if self.connections.dialect == "sqlite" else self._server_copy
            with make(db_id, Path(folder)) as made:
                yield made

    @contextmanager
    def _file(self, db_id: str, folder: Path) -> Iterator[Copy]:
        original, path = self.connections.path(db_id), folder / f"{Path(db_id).name}.sqlite"
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
            with _helpful(db_id):
                location = self._make(url, name, password)
            yield Copy("postgresql", name, location, folder)
        finally:
            if self._admin is not None:
                with suppress(sa.exc.DBAPIError):  # a server that is gone shows in the next copy
                    self._drop(name)

    def _make(self, url: sa.URL, name: str, password: str) -> str:
        admin = self._server(url)
        with admin.connect() as server:
            server.exec_driver_sql(
                f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 4 PASSWORD '{password}'"
            )
            with suppress(sa.exc.DBAPIError):  # only a superuser may bound the files of a sort
                server.exec_driver_sql(f"ALTER ROLE {name} SET temp_file_limit = '1GB'")
            _create(server, name, admin.dialect.identifier_preparer.quote(url.database or ""))
            server.exec_driver_sql(f"ALTER DATABASE {name} OWNER TO {name}")
        own = sa.create_engine(url.set(database=name), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with own.connect() as inside:
            for (server_name,) in inside.exec_driver_sql("SELECT quote_ident(srvname) FROM pg_foreign_server").all():
                inside.exec_driver_sql(f"DROP SERVER {server_name} CASCADE".replace("%", "%%"))
            for (change,) in inside.exec_driver_sql(_OWN.replace("%", "%%")).all():
                inside.exec_driver_sql(f"{change} {name}".replace("%", "%%"))
        location = url.set(drivername="postgresql", database=name, username=name, password=password)
        return location.render_as_string(hide_password=False)

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
            with suppress(sa.exc.DBAPIError):  # its owner may have made it a template, which cannot be dropped
                server.exec_driver_sql(f"ALTER DATABASE {name} IS_TEMPLATE false")
            server.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")


def _clear_temporary() -> None:
    """Remove the folders of dead processes: those that nobody has locked, and that are not about to be."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _NEW_S:
                opened = os.open(folder, os.O_RDONLY)
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(opened)


@contextmanager
def _helpful(db_id: str) -> Iterator[None]:
    """A server's complaint as an error that says what to do."""
    try:
        yield
    except sa.exc.DBAPIError as e:
        reason = str(e.orig).strip().partition("\n")[0]
        raise DatabaseError(
            f"cannot copy the database ({reason})",
            where=f"database '{db_id}'",
            hint="connect as a superuser, and let nobody else use the database meanwhile",
        ) from e


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
    messages: list[dict[str, Any]] = []
    rest, room, ended, deadline = b"", _MOST_BYTES, "crashed", time.monotonic() + START_S
    try:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(task).encode())
        while not (messages and messages[-1].get("done")):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                ended = "timeout"
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            room -= len(chunk)
            if not chunk or room < 0:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                messages.append(_message(line))
                deadline = time.monotonic() + messages[-1].get("timeout_s", phase_s) + GRACE_S
        else:
            ended = "done"
        with suppress(subprocess.TimeoutExpired):  # its exit code, if it is dead already
            process.wait(0 if ended == "timeout" else GRACE_S)
    except ValueError:  # something else has written where only messages belong
        messages = [m for m in messages if "phase" in m]
    finally:
        _kill(process.pid, folder)
        process.stdout.close()
        process.wait()
    return Outcome(messages, ended, process.returncode)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
        if isinstance(message, dict) and isinstance(message.get("timeout_s", 0.0), int | float):
            return message
    except RecursionError:
        pass
    raise ValueError("not a message of the sandbox's process")


def _kill(group: int, folder: Path) -> None:
    """End a process group and, on Linux, what has left it: the folder stands in the environment of every offspring."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"HOME={folder}\0".encode() in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)
