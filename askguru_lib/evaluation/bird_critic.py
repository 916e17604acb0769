"""BIRD-CRITIC: an issue that a user has, a prediction that should solve it, and tests that tell whether it does.

The benchmark of J. Li et al., "SWE-SQL: Illuminating LLM pathways to solve user SQL issues in real-world applications",
2025, in its SQLite and PostgreSQL editions. Each item is judged on a fresh copy of its database, in a process that can
be killed: see :mod:`askguru_lib.evaluation.judge` for the flow and :mod:`askguru_lib.databases.sandbox` for what that
protects from, and what not: **the tests are Python from the items' file, and they are run.**
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tqdm import tqdm

from askguru_lib.data.files import Journal, file_hash, iter_values, write_json
from askguru_lib.databases import sandbox_worker
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.sandbox import Sandboxes, run_isolated
from askguru_lib.errors import DataError, EvaluationError
from askguru_lib.evaluation import judge
from askguru_lib.evaluation.metrics import Proportion

TIMEOUT_S, MAX_ROWS, MEMORY_MB, FILE_MB = 60.0, 10_000, 1024, 1024
BASELINES = {"solution": "sol_sql", "issue": "issue_sql"}
_VERDICTS = ("status", "message", "seconds")
_LASTING = {"pass", "fail", "error"}
_ITEMS_OWN = {"preprocess": "preprocess_sql fails", "solution": "the solution does not pass"}


def _listed(value: Any) -> Any:
    """One text is a list of one; nothing, or the word ``default``, is an empty one."""
    if value is None or isinstance(value, str):
        return [value] if value and value.strip() not in ("", "default") else []
    return [v for v in value if not isinstance(v, str) or v.strip()] if isinstance(value, list) else value


def _named(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Texts = Annotated[list[str], BeforeValidator(_listed)]
Name = Annotated[str, BeforeValidator(_named), Field(min_length=1)]


class Item(BaseModel):
    """One record of the official JSON Lines; fields that are not listed here are ignored."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    instance_id: Name
    db_id: str = Field(validation_alias=AliasChoices("db_id", "selected_database"), min_length=1)
    query: str = Field(validation_alias=AliasChoices("query", "issue_query"))
    issue_sql: Texts = Field(validation_alias=AliasChoices("issue_sql", "error_sql"), min_length=1)
    sol_sql: Texts = Field(min_length=1)
    preprocess_sql: Texts = []
    clean_up_sql: Texts = []
    test_cases: Texts = []
    category: str = "Query"
    efficiency: bool = False
    external_data: Any = None
    conditions: dict[str, Any] = {}
    dialect: str | None = None


class Prediction(BaseModel):
    """One record of a file of predictions."""

    instance_id: Name
    pred_sqls: Texts


def read_items(path: str | Path) -> list[Item]:
    """Read items in the official format.

    Raises:
        DataError: the file, or a record of it (file, line, field and value are named), or an id that stands twice.
    """
    return _read(path, Item, "the solutions of the published sets are sent by e-mail: see the benchmark's page")


def read_predictions(path: str | Path, items: Sequence[Item]) -> dict[str, list[str]]:
    """Statements by ``instance_id`` from ``{"instance_id", "pred_sqls"}``.

    Raises:
        DataError: as :func:`read_items`.
        EvaluationError: a prediction is for none of ``items``.
    """
    found = {p.instance_id: p.pred_sqls for p in _read(path, Prediction, 'e.g. {"instance_id": 1, "pred_sqls": ["…"]}')}
    _known(found, items, str(path))
    return found


def baseline(items: Sequence[Item], what: str) -> dict[str, list[str]]:
    """The solutions as predictions, which must all pass, or the issues' own SQL, of which none may."""
    return {item.instance_id: list(getattr(item, BASELINES[what])) for item in items}


def _read(path: str | Path, model: Any, hint: str) -> list[Any]:
    found: dict[str, Any] = {}
    for index, (line, value) in enumerate(iter_values(path)):
        where = f"{path}:{line}" if line else f"{path}, record {index}"
        try:
            record = model.model_validate(value)
        except ValidationError as e:
            raise DataError("; ".join(map(_explain, e.errors())), where=where, hint=hint) from None
        if record.instance_id in found:
            raise DataError(f"'instance_id' {record.instance_id!r} stands twice", where=where, hint="keep one of them")
        found[record.instance_id] = record
    return list(found.values())


def _explain(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "record"
    shown = "" if error["type"] == "missing" else f", got {str(error.get('input'))[:80]!r}"
    return f"'{place}': {error['msg'][:1].lower()}{error['msg'][1:]}{shown}"


def _known(predictions: Mapping[str, Any], items: Sequence[Item], where: str) -> None:
    strangers = sorted(set(predictions) - {item.instance_id for item in items})
    if strangers:
        raise EvaluationError(
            f"{len(strangers)} predictions are for no item: {', '.join(strangers[:5])}",
            where=where,
            hint="score them with the items that they were made for",
        )


@dataclass(frozen=True)
class BirdCriticReport:
    """What became of the predictions.

    Attributes:
        items: one dict per sound item, in order: ``instance_id, db_id, category, status, message, seconds``. ``status``
            is ``pass``, ``fail`` (a test's assertion), ``error`` (the engine's or Python's), ``timeout``, ``crashed``
            (the process died or had no memory left) or ``missing`` (no prediction: it counts as wrong).
        defective: items that judge nobody: ``instance_id, db_id, category, reason``.
    """

    items: list[dict[str, Any]]
    defective: list[dict[str, Any]] = field(default_factory=list)
    confidence: float = 0.95

    @property
    def success_rate(self) -> Proportion:
        return Proportion(sum(i["status"] == "pass" for i in self.items), len(self.items), self.confidence)

    def __repr__(self) -> str:
        left_out = f", {len(self.defective)} defective" if self.defective else ""
        return f"BirdCriticReport(success rate {self.success_rate!r}{left_out})"

    def by_category(self) -> pd.DataFrame:
        """One row per category: ``n, passed, rate, low, high``."""
        rows = []
        for category in dict.fromkeys(i["category"] for i in self.items):
            part = BirdCriticReport([i for i in self.items if i["category"] == category], [], self.confidence)
            rate = part.success_rate
            rows.append([category, rate.n, rate.successes, rate.value, rate.low, rate.high])
        return pd.DataFrame(rows, columns=["category", "n", "passed", "rate", "low", "high"]).set_index("category")

    def save(self, path: str | Path) -> Path:
        """Write numbers, items and defects as one JSON file, atomically."""
        return write_json(
            path,
            {
                "success_rate": self.success_rate.to_dict(),
                "confidence": self.confidence,
                "statuses": dict(Counter(i["status"] for i in self.items)),
                "categories": self.by_category().reset_index().to_dict("records"),
                "defective": self.defective,
                "items": self.items,
            },
        )


def score(
    items: Sequence[Item],
    predictions: Mapping[str, Sequence[str]],
    connections: DatabaseConnections,
    *,
    timeout_s: float = TIMEOUT_S,
    max_rows: int = MAX_ROWS,
    memory_mb: int = MEMORY_MB,
    workers: int = 1,
    journal: str | Path | None = None,
    resume: bool = True,
    confidence: float = 0.95,
    desc: str | None = None,
) -> BirdCriticReport:
    """Judge predictions, after the items themselves: the solution must pass and the issue's SQL must not.

    Args:
        predictions: statements by ``instance_id``; see :func:`read_predictions` and :func:`baseline`.
        connections: to the templates that are copied: SQLite files, or databases of a PostgreSQL administrator.
        timeout_s: seconds per statement, and per test; a list of statements has at most ten times as long.
        max_rows: rows kept of a result.
        memory_mb: MiB that the judging process may take.
        workers: items judged at a time.
        journal: JSON Lines that every verdict is added to and, with ``resume``, taken over from: also those on the
            solutions, for the next predictions. A verdict holds for its item, statements, limits, database and judge.
            One by the clock or by a crash does not: the machine may have been busy.
        desc: label of a progress bar.

    Raises:
        EvaluationError: a prediction is for no item.
        DatabaseError: a database cannot be copied.
    """
    _known(predictions, items, "predictions")
    limits = {"timeout_s": timeout_s, "max_rows": max_rows, "memory_mb": memory_mb, "file_mb": FILE_MB}
    with Sandboxes(connections) as copies, Journal(journal, resume) if journal else nullcontext() as memory:
        court = _Court(copies, limits, memory)
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(court.item, item, predictions.get(item.instance_id) or []) for item in items]
            bar = tqdm(waiting, desc=desc, disable=desc is None, file=sys.stderr, unit="item")
            try:
                found = [future.result() for future in bar]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    return BirdCriticReport(
        [f for f in found if f["status"] != "defective"],
        [{**_head(f), "reason": f["message"]} for f in found if f["status"] == "defective"],
        confidence,
    )


def _head(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("instance_id", "db_id", "category")}


class _Court:
    """Verdicts on items, each found once."""

    def __init__(self, copies: Sandboxes, limits: dict[str, Any], journal: Journal | None) -> None:
        self._copies, self._limits, self._journal = copies, limits, journal
        self._lock = threading.Lock()
        self._rules = [file_hash(str(module.__file__)) for module in (judge, sandbox_worker)]
        self._known = {r["key"]: r for r in journal.records if "key" in r} if journal else {}

    def item(self, item: Item, statements: Sequence[str]) -> dict[str, Any]:
        head = _head(item.model_dump())
        if reason := self._defect(item):
            return {**head, "status": "defective", "message": reason, "seconds": 0.0}
        if not any(sql.strip() for sql in statements):
            return {**head, "status": "missing", "message": "no prediction", "seconds": 0.0}
        return {**head, **self._verdict(item, statements)}

    def _defect(self, item: Item) -> str | None:
        """Why the item can judge nobody."""
        connections = self._copies.connections
        if item.dialect and item.dialect.lower() != connections.dialect:
            return f"it is written for {item.dialect}, the connections are {connections.dialect}"
        if item.db_id not in connections.db_ids:
            return f"no database '{item.db_id}' in the connections"
        solution = self._verdict(item, item.sol_sql)
        if solution["status"] == "defective":
            return str(solution["message"])
        if solution["status"] != "pass":
            return f"the solution does not pass ({solution['status']}): {solution['message']}"
        return "the issue's own SQL passes" if self._verdict(item, item.issue_sql)["status"] == "pass" else None

    def _verdict(self, item: Item, statements: Sequence[str]) -> dict[str, Any]:
        task = {**item.model_dump(exclude={"query", "external_data"}), "pred_sqls": list(statements), **self._limits}
        what = [task, self._copies.signature(item.db_id), self._rules]
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]
        if key not in self._known:
            verdict = self._judge(task)
            with self._lock:
                self._known[key] = verdict
                if self._journal and verdict["status"] in _LASTING:
                    self._journal.append({"key": key, "instance_id": item.instance_id, **verdict})
        return {name: self._known[key][name] for name in _VERDICTS}

    def _judge(self, task: dict[str, Any]) -> dict[str, Any]:
        limit, started = task["timeout_s"], time.perf_counter()
        phases = len(task["preprocess_sql"] + task["pred_sqls"] + task["clean_up_sql"]) + len(task["test_cases"]) + 1
        with self._copies.copy(task["db_id"]) as copy:
            place = {"dialect": copy.dialect, "location": copy.location, "db_name": copy.name}
            more = {**place, "total_s": int(2 * limit * phases) + 60}
            outcome = run_isolated("askguru_lib.evaluation.judge", {**task, **more}, copy.folder, limit)
        told = next((m for m in outcome.messages if "status" in m), None)
        if told is None:
            phase = next((m["phase"] for m in reversed(outcome.messages) if "phase" in m), "start")
            if phase == "start":
                raise EvaluationError(
                    f"the judging process does not start (exit code {outcome.exit_code})",
                    where=f"item {task['instance_id']}",
                    hint="is the database's driver installed, and its account allowed to log in?",
                )
            how = "killed at the time limit" if outcome.ended == "timeout" else f"exit code {outcome.exit_code}"
            told = {"status": outcome.ended, "message": f"{phase}: {how}"}
            if phase in _ITEMS_OWN:
                told = {"status": "defective", "message": f"{_ITEMS_OWN[phase]} ({outcome.ended}): {how}"}
        seconds = round(time.perf_counter() - started, 3)
        return {"status": told["status"], "message": told["message"], "seconds": seconds}
