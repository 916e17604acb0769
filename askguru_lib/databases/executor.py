"""The one door through which SQL that nobody has read meets a database.

A statement runs in a worker process that can only read, is stopped on time, keeps a bounded number of rows and bytes,
and can be killed: what it breaks is a process that is replaced.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from askguru_lib.config import ExecutionConfig
from askguru_lib.databases import worker
from askguru_lib.databases.connection import EMBEDDED, DatabaseConnections
from askguru_lib.databases.result_store import ResultStore
from askguru_lib.databases.worker import Failure, FailureKind, Limits, Result, Target
from askguru_lib.errors import DatabaseError

__all__ = ["Executor", "Failure", "FailureKind", "Result"]

GRACE_S = 0.5
_SESSIONS = {True: "askguru_lib.databases.sessions_embedded", False: "askguru_lib.databases.sessions_server"}
_LASTING: tuple[FailureKind, ...] = ("syntax", "unknown_name", "type", "denied", "other")
_CACHED_CELLS = 2_000_000


class _Process(SpawnProcess):
    """A spawned process that does not import the parent's main script.

    A worker needs nothing from it: importing it would load torch for a SELECT, and would start the whole program again
    where the script has no ``if __name__ == "__main__"``.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        _local.hide_main = True
        try:
            return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]
        finally:
            _local.hide_main = False


class _Context(SpawnContext):
    Process = _Process  # type: ignore[assignment]


_local = threading.local()
_preparation_data = spawn.get_preparation_data


def _without_main(name: str) -> dict[str, Any]:
    data = _preparation_data(name)
    if getattr(_local, "hide_main", False):
        data = {k: v for k, v in data.items() if not k.startswith("init_main")}
    return data


spawn.get_preparation_data = _without_main  # acts on this module's processes only, told apart by thread


class Executor:
    """Runs untrusted SQL, one statement per call, on the databases of ``connections``.

    Args:
        connections: what ``db_id`` refers to.
        timeout_s: seconds after which a statement is stopped; its result says ``timeout`` within one second more.
        max_rows: rows kept of a result; ``Result.truncated`` tells when there were more.
        memory_mb: MiB that a worker process may take beyond its start.
        workers: processes.
        store: results that outlive the process; the caller closes it.

    Workers start with the first statement and end with ``close`` or the ``with`` block. Results of identical
    ``(db_id, sql)`` are remembered while the database's file stays as it is.
    """

    def __init__(
        self,
        connections: DatabaseConnections,
        *,
        timeout_s: float = 10.0,
        max_rows: int = 10_000,
        memory_mb: int = 1024,
        workers: int = 2,
        store: ResultStore | None = None,
    ) -> None:
        self.connections = connections
        self.store = store
        self.limits = Limits(timeout_s, max_rows, memory_mb)
        self.workers = workers
        self._pool: ProcessPool | None = None
        self._stop: weakref.finalize | None = None
        self._cache: OrderedDict[tuple[Any, ...], Result] = OrderedDict()
        self._cached_cells = 0

    @classmethod
    def from_config(
        cls, connections: DatabaseConnections, config: ExecutionConfig, store: ResultStore | None = None
    ) -> Executor:
        return cls(
            connections,
            timeout_s=config.timeout_s,
            max_rows=config.max_rows,
            memory_mb=config.memory_mb,
            workers=config.workers,
            store=store,
        )

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker processes; a later call starts new ones."""
        if self._stop:
            self._stop()
        self._pool = self._stop = None

    def run(self, db_id: str, sql: str) -> Result:
        """Run one statement.

        Raises:
            DatabaseError: ``db_id`` is unknown. Everything that the statement itself does wrong is ``Result.failure``.
        """
        return self.run_many([(db_id, sql)])[0]

    def run_many(self, items: Iterable[tuple[str, str]], desc: str | None = None) -> list[Result]:
        """Run ``(db_id, sql)`` pairs in parallel.

        Args:
            items: identical pairs run once.
            desc: label of a progress bar on stderr; no bar without it.

        Returns:
            One result per item, in the items' order.

        Raises:
            DatabaseError: a ``db_id`` is unknown; nothing has run then.
        """
        pairs = [(db_id, sql) for db_id, sql in items]
        targets = {db_id: self._target(db_id) for db_id in dict.fromkeys(d for d, _ in pairs)}
        signatures = {db_id: worker.file_signature(t) for db_id, t in targets.items()}
        found: dict[tuple[str, str], Result] = {}
        pending: list[tuple[str, str]] = []
        for pair in dict.fromkeys(pairs):
            key = (*pair, signatures[pair[0]])
            known = self._cache.get(key)
            if known is None and self.store and isinstance(pair[1], str):
                known = self.store.get(targets[pair[0]], pair[1], self.limits)
                if known:
                    self._remember(key, known)
            if known is not None:
                found[pair] = known
            else:
                pending.append(pair)
        with tqdm(total=len(pairs), desc=desc, disable=desc is None, file=sys.stderr, unit="query") as bar:
            bar.update(len(pairs) - len(pending))
            for pair, result in self._stream(pending, targets):
                found[pair] = result
                if result.ok or (result.failure and result.failure.kind in _LASTING):
                    self._remember((*pair, signatures[pair[0]]), result)
                    if self.store:
                        self.store.put(targets[pair[0]], pair[1], self.limits, result)
                bar.update()
        return [found[pair] for pair in pairs]

    def time(self, db_id: str, sqls: Sequence[str], runs: int) -> list[list[float]] | Failure:
        """Milliseconds that statements take, each run ``runs`` times by turns, in one worker and without any memory.

        Returns:
            One list of ``runs`` times per statement, or the failure of the first run that failed.

        Raises:
            DatabaseError: ``db_id`` is unknown.
        """
        target = self._target(db_id)
        for failure in filter(None, map(worker.unfit, sqls)):
            return failure
        limit = len(sqls) * (runs + 1) * (self.limits.timeout_s + GRACE_S)
        future = self._workers().schedule(worker.measure, (target, list(sqls), self.limits, runs), timeout=limit)
        try:
            times: list[list[float]] | Failure = future.result()
            return times
        except (FutureTimeout, ProcessExpired, MemoryError) as e:
            if isinstance(e, ProcessExpired) and e.exitcode == worker.WORN:
                return self.time(db_id, sqls, runs)
            return Failure("timeout" if isinstance(e, FutureTimeout) else "resource", f"stopped: {e}")

    def _target(self, db_id: str) -> Target:
        path = self.connections.path(db_id)
        location = str(path) if path else self.connections.url(db_id).render_as_string(hide_password=False)
        return Target(self.connections.dialect, location)

    def _stream(
        self, pending: Sequence[tuple[str, str]], targets: dict[str, Target]
    ) -> Iterable[tuple[tuple[str, str], Result]]:
        """Keep a few statements per worker in flight; yields in the order of ``pending``."""
        flying: OrderedDict[tuple[str, str], Any] = OrderedDict()
        waiting = iter(pending)
        while True:
            for pair in waiting:
                flying[pair] = self._submit(targets[pair[0]], pair[1])
                if len(flying) >= 4 * self.workers:
                    break
            if not flying:
                return
            pair, future = flying.popitem(last=False)
            yield pair, self._await(future, targets[pair[0]], pair[1])

    def _submit(self, target: Target, sql: str) -> Any:
        if failure := worker.unfit(sql):
            return Result(failure=failure)
        timeout = self.limits.timeout_s + GRACE_S
        for attempt in (1, 2):
            try:
                return self._workers().schedule(worker.execute, (target, sql, self.limits), timeout=timeout)
            except RuntimeError:  # the pool broke while idle
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _await(self, future: Any, target: Target, sql: str, retry: bool = True) -> Result:
        if isinstance(future, Result):
            return future
        try:
            result: Result = future.result()
            return result
        except FutureTimeout:
            return Result.failed("timeout", f"stopped after {self.limits.timeout_s:g} s", self.limits.timeout_s * 1000)
        except ProcessExpired as e:
            if e.exitcode == worker.WORN:
                return self._await(self._submit(target, sql), target, sql)
            return Result.failed("resource", f"the worker process ended (exit code {e.exitcode}); it was replaced")
        except BrokenProcessPool as e:
            if not retry:
                raise DatabaseError(
                    "the executor's worker processes cannot run",
                    where=target.dialect,
                    hint="run with fewer workers or more memory_mb; the log above says why a worker ended",
                ) from e
            self.close()
            return self._await(self._submit(target, sql), target, sql, retry=False)
        except MemoryError:
            return Result.failed("resource", f"out of memory ({self.limits.memory_mb} MiB allowed)")

    def _workers(self) -> ProcessPool:
        if self._pool is None:
            dialect = self.connections.dialect
            embedded = dialect in EMBEDDED
            drivers = [_SESSIONS[embedded], *(["duckdb"] if dialect == "duckdb" else [])]
            self._pool = ProcessPool(
                max_workers=self.workers,
                initializer=worker.start,
                initargs=(drivers, self.limits.memory_mb),
                context=_Context(),
            )
            self._stop = weakref.finalize(self, _stop_pool, self._pool)
        return self._pool

    def _remember(self, key: tuple[Any, ...], result: Result) -> None:
        self._cache[key] = result
        self._cached_cells += len(result.rows) * len(result.columns)
        while self._cached_cells > _CACHED_CELLS and self._cache:
            old = self._cache.popitem(last=False)[1]
            self._cached_cells -= len(old.rows) * len(old.columns)


def _stop_pool(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()
