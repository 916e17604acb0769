"""``db_conn.json`` → SQLAlchemy engines, for embedded files and for servers alike."""

from __future__ import annotations

import difflib
import json
import os
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from askguru_lib.config import Dialect
from askguru_lib.errors import DatabaseError

EMBEDDED = ("sqlite", "duckdb")
GRAPH = ("cypher", "ngql")
DRIVERS = {
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "oracle": "oracle+oracledb",
}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ConnectionFile(BaseModel):
    """The content of ``db_conn.json``."""

    model_config = ConfigDict(extra="forbid")

    dialect: Dialect
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = Field(default=None, description="Literal, or ${ENV_VAR}.")
    databases: dict[str, str] = Field(
        min_length=1, description="db_id → database name, or file for an embedded engine."
    )
    comments: dict[str, str] = Field(
        default_factory=dict, description="db_id → file of comments, for databases that have few of their own."
    )


class DatabaseConnections:
    """The databases that one ``db_conn.json`` names.

    Args:
        settings: the validated content of the file.
        folder: what the paths of embedded databases are relative to.
        where: how errors name the source.
    """

    def __init__(self, settings: ConnectionFile, folder: str | Path = ".", where: str = "connections") -> None:
        self._settings, self._folder, self._where = settings, Path(folder), where
        self._engines: dict[tuple[str, bool], sa.Engine] = {}

    @classmethod
    def embedded(cls, databases: Mapping[str, str | Path], dialect: Dialect = "sqlite") -> DatabaseConnections:
        """Connections to database files, without a configuration file (paths are relative to the working folder)."""
        settings = ConnectionFile(dialect=dialect, databases={k: str(v) for k, v in databases.items()})
        return cls(settings, Path.cwd())

    def __repr__(self) -> str:
        return f"DatabaseConnections({self.dialect}: {', '.join(self.db_ids)})"

    @property
    def dialect(self) -> Dialect:
        return self._settings.dialect

    @property
    def db_ids(self) -> list[str]:
        return list(self._settings.databases)

    def name(self, db_id: str) -> str:
        """The database's name on its server, or its file as written in the configuration.

        Raises:
            DatabaseError: unknown ``db_id``; the nearest ones are named.
        """
        try:
            return self._settings.databases[db_id]
        except KeyError:
            near = difflib.get_close_matches(str(db_id), self.db_ids, n=3, cutoff=0.4)
            known = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self.db_ids)}"
            raise DatabaseError(f"unknown database '{db_id}'", where=self._where, hint=known) from None

    def path(self, db_id: str) -> Path | None:
        """The file of an embedded database (it need not exist); None for a server's."""
        name = self.name(db_id)
        return (self._folder / name).resolve() if self.dialect in EMBEDDED else None

    def url(self, db_id: str) -> sa.URL:
        """The SQLAlchemy URL; its text form hides the password.

        Raises:
            DatabaseError: unknown ``db_id``, or a graph database, which has no such URL.
        """
        name = self.name(db_id)
        if self.dialect in GRAPH:
            raise DatabaseError(
                f"{self.dialect} databases have no SQL connection",
                where=self._where,
                hint="open it with askguru_lib.dialects.graph",
            )
        if self.dialect in EMBEDDED:
            return sa.URL.create(DRIVERS[self.dialect], database=str(self.path(db_id)))
        s = self._settings
        query = {"service_name": name} if self.dialect == "oracle" else {}
        socket = bool(s.host and s.host.startswith("/"))
        if socket:
            query["host" if self.dialect == "postgresql" else "unix_socket"] = str(s.host)
        return sa.URL.create(
            DRIVERS[self.dialect],
            username=s.user,
            password=s.password.get_secret_value() if s.password else None,
            host=None if socket else s.host or "localhost",
            port=s.port,
            database=None if self.dialect == "oracle" else name,
            query=query,
        )

    def engine(self, db_id: str, read_only: bool = True) -> sa.Engine:
        """An engine for trusted statements (introspection); untrusted SQL belongs in ``Executor``.

        The same engine is returned for the same arguments. ``read_only`` is enforced by the database itself.

        Raises:
            DatabaseError: unknown ``db_id``, missing file, or the engine's Python driver is not installed.
        """
        key = (db_id, read_only)
        if key not in self._engines:
            self._engines[key] = self._create(db_id, read_only)
        return self._engines[key]

    def dispose(self) -> None:
        """Close every pooled connection."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def _create(self, db_id: str, read_only: bool) -> sa.Engine:
        url, file = self.url(db_id), self.path(db_id)
        if file and read_only and not file.is_file():
            raise DatabaseError(
                f"no database file {file}",
                where=f"{self._where}: databases.{db_id}",
                hint="build it first (python -m askguru_lib.databases.samples for the course's own) or mend the path",
            )
        notes = self._settings.comments.get(db_id)
        try:
            engine = open_engine(url, read_only)
            return engine.execution_options(comments=self._folder / notes) if notes else engine
        except ModuleNotFoundError as e:
            raise DatabaseError(
                f"the Python driver '{e.name}' is not installed",
                where=f"{self._where}: dialect {self.dialect}",
                hint=f"pip install {'psycopg[binary]' if e.name == 'psycopg' else e.name}",
            ) from None


def open_engine(url: sa.URL, read_only: bool = True, connect_timeout_s: int = 10) -> sa.Engine:
    """An SQLAlchemy engine whose connections the database itself keeps read-only."""
    backend, options = url.get_backend_name(), {}  # type: str, dict[str, Any]
    if backend == "sqlite":
        mode = "ro" if read_only else "rwc"
        uri = f"file:{quote(url.database or '')}?mode={mode}"
        options["creator"] = lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)
    elif backend == "duckdb":
        options["connect_args"] = {"read_only": read_only}
    elif backend == "postgresql":
        options["connect_args"] = {"connect_timeout": connect_timeout_s}
        if read_only:
            options["connect_args"]["options"] = "-c default_transaction_read_only=on"
    elif backend == "mysql":
        options["connect_args"] = {"connect_timeout": connect_timeout_s}
    engine = sa.create_engine(url, pool_pre_ping=backend not in EMBEDDED, **options)
    if read_only and backend == "mysql":
        sa.event.listen(engine, "connect", lambda dbapi, _: _run(dbapi, "SET SESSION TRANSACTION READ ONLY"))
    if read_only and backend == "oracle":
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"))
    return engine


def _run(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()


def load_connections(path: str | Path) -> DatabaseConnections:
    """Read a ``db_conn.json``.

    Raises:
        DatabaseError: unreadable or malformed file (with its line), a wrong field (with its value, unless it is the
            password), or an environment variable that is not set.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise DatabaseError(
            f"cannot read the connection file ({e.strerror})", where=str(path), hint="give the path of a db_conn.json"
        ) from e
    except json.JSONDecodeError as e:
        raise DatabaseError(f"malformed JSON: {e.msg}", where=f"{path}:{e.lineno}", hint="mend that line") from e
    except UnicodeDecodeError as e:
        raise DatabaseError("the file is not UTF-8", where=str(path), hint="save it as UTF-8") from e
    if not isinstance(data, dict):
        raise DatabaseError(
            f"expected an object, found {type(data).__name__}",
            where=str(path),
            hint='e.g. {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}}',
        )
    expanded = {k: _expand(v, k, path) if isinstance(v, str) else v for k, v in data.items()}
    try:
        settings = ConnectionFile.model_validate(expanded)
    except ValidationError as e:
        problems = "; ".join(_explain(err) for err in e.errors())
        hint = f"fields are: {', '.join(ConnectionFile.model_fields)}"
        raise DatabaseError(problems, where=str(path), hint=hint) from None
    return DatabaseConnections(settings, path.parent.resolve(), str(path))


def _expand(value: str, field: str, path: Path) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise DatabaseError(
                f"'{field}' needs the environment variable {match[1]}, which is not set",
                where=str(path),
                hint=f"export {match[1]}=…",
            )
        return os.environ[match[1]]

    return _VARIABLE.sub(one, value)


def _explain(error: Any) -> str:
    field = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, list(ConnectionFile.model_fields), n=1, cutoff=0.5)
        return f"unknown field '{field}'" + (f" (did you mean '{near[0]}'?)" if near else "")
    secret = error["type"] == "missing" or field.startswith("password")
    shown = "" if secret else f", got {error.get('input')!r}"
    return f"'{field}': {error['msg'][:1].lower()}{error['msg'][1:]}{shown}"
