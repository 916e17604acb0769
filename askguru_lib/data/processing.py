"""From question banks to trusted data: every gold query runs on its database before anything learns from it."""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from askguru_lib.config import RunConfig
from askguru_lib.data.files import (
    Journal,
    file_hash,
    iter_values,
    read_json,
    write_json,
    write_jsonl,
    write_manifest,
)
from askguru_lib.data.layouts import import_benchmark
from askguru_lib.data.stability import unstable
from askguru_lib.databases.connection import DatabaseConnections, load_connections
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex
from askguru_lib.errors import DatabaseError, DataError

REASONS = ("malformed", "unknown_database", "error", "timeout", "empty", "non_deterministic")
"""Why a record is set aside."""

CHUNK = 64
_CARRIED = ("id", "source", "difficulty")


@dataclass(frozen=True)
class ProcessingReport:
    """What became of a raw file.

    Attributes:
        processed: records whose gold ran, as JSON Lines.
        rejected: records that were set aside, each with its reason and message, as JSON Lines.
        counts: ``read``, ``processed``, ``rejected``.
        reasons: how many were set aside, by reason.
        warnings: what could not be read of the schemas, and comments on what is not there.
    """

    processed: Path
    rejected: Path
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Raw:
    idx: int
    value: Any

    def get(self, name: str) -> str:
        return str(self.value.get(name) or "").strip()

    @property
    def sql(self) -> str:
        return self.get("SQL").rstrip("; \n\t")


def process_data(
    raw_data_path: str | Path,
    db_conn_config: str | Path | None,
    processed_data_dir: str | Path,
    *,
    config: RunConfig | None = None,
    resume: bool = True,
    split: str = "dev",
) -> ProcessingReport:
    """Run every gold query of a raw file and write what can be trusted, and what cannot, each with its reason.

    Args:
        raw_data_path: JSON list or JSON Lines of ``{"db_id", "question", "evidence"?, "SQL", "difficulty"?}``, or a
            folder in Spider's or BIRD's layout (:mod:`askguru_lib.data.layouts`).
        db_conn_config: ``db_conn.json``; None for such a folder, which has its databases with it.
        processed_data_dir: receives ``processed_<dialect>.jsonl``, ``rejected.jsonl``, ``summary.json`` and
            ``manifest.json``.
        config: limits of execution and how schemas are shown; defaults otherwise.
        resume: go on where a killed call stopped, and do nothing where a finished one has the same inputs.
        split: of such a folder: ``dev``, ``train`` or ``test``.

    Raises:
        DataError: the raw file is unreadable, malformed (file and line) or empty.
        DatabaseError: a database that is configured cannot be reached.
    """
    started = time.time()
    config = config or RunConfig()
    raw_path, folder = Path(raw_data_path), Path(processed_data_dir)
    warnings: list[str] = []
    if raw_path.is_dir():
        imported = import_benchmark(raw_path, folder / "raw", split)
        raw_path, db_conn_config = imported.raw, db_conn_config or imported.db_conn
        warnings += imported.warnings
    if db_conn_config is None:
        raise DataError("no connections are given", where=str(raw_path), hint="give a db_conn.json")
    connections = load_connections(db_conn_config)
    total, used = _survey(raw_path)
    engines = _engines(connections, [db_id for db_id in connections.db_ids if db_id in used], warnings)
    shown = config.schema_
    schemas = {
        db_id: engine.mschema.to_mschema(example_num=shown.example_num, show_type_detail=shown.show_type_detail)
        for db_id, engine in engines.items()
    }
    fingerprint = _fingerprint(raw_path, connections, schemas, config)
    report = ProcessingReport(folder / f"processed_{connections.dialect}.jsonl", folder / "rejected.jsonl")
    if resume and (done := _finished(report, fingerprint)):
        return done

    values = _values(engines, config.schema_.max_values, warnings)
    outcomes = folder / "progress.jsonl"
    with Executor.from_config(connections, config.execution) as executor:
        _run_all(raw_path, total, outcomes, fingerprint, resume, executor, schemas, values)
    reasons: Counter[str] = Counter()
    write_jsonl(report.processed, _outcomes(outcomes, "processed"))
    write_jsonl(report.rejected, _counted(_outcomes(outcomes, "rejected"), reasons))
    rejected = sum(reasons.values())
    counts = {"read": total, "processed": total - rejected, "rejected": rejected}
    by_reason = {reason: reasons[reason] for reason in REASONS if reasons[reason]}
    summary = {"fingerprint": fingerprint, "counts": counts, "reasons": by_reason, "warnings": warnings}
    write_manifest(
        folder,
        inputs=[raw_path, Path(db_conn_config)],
        parameters={"execution": config.execution.model_dump(), "schema": config.schema_.model_dump()},
        seed=config.seed,
        started=started,
    )
    write_json(folder / "summary.json", summary)
    outcomes.unlink()
    return ProcessingReport(report.processed, report.rejected, counts, by_reason, warnings)


def _survey(path: Path) -> tuple[int, set[str]]:
    """Number of records and the databases they name; the whole file is checked before the first query runs."""
    total, used = 0, set()
    for _, value in iter_values(path):
        total += 1
        if isinstance(value, dict) and isinstance(value.get("db_id"), str):
            used.add(value["db_id"])
    if not total:
        raise DataError("the question bank is empty", where=str(path), hint="give at least one question and its SQL")
    return total, used


def _engines(connections: DatabaseConnections, db_ids: Sequence[str], warnings: list[str]) -> dict[str, SchemaEngine]:
    engines: dict[str, SchemaEngine] = {}
    for db_id in tqdm(db_ids, desc="schemas", unit="db", delay=2, file=sys.stderr):
        engines[db_id] = SchemaEngine(connections.engine(db_id), db_id)
        warnings += (f"{db_id}: {warning}" for warning in engines[db_id].warnings)
    return engines


def _values(engines: dict[str, SchemaEngine], max_values: int, warnings: list[str]) -> dict[str, ValueIndex]:
    values: dict[str, ValueIndex] = {}
    for db_id, engine in tqdm(engines.items(), desc="values", unit="db", delay=2, file=sys.stderr):
        values[db_id] = ValueIndex.read(engine, max_values)
        warnings += (f"{db_id}: {warning}" for warning in values[db_id].warnings)
    return values


def _fingerprint(raw: Path, connections: DatabaseConnections, schemas: dict[str, str], config: RunConfig) -> str:
    files = {db_id: file_hash(path) for db_id in schemas if (path := connections.path(db_id))}
    limits = [config.execution.model_dump(), config.schema_.max_values]
    decisive = [file_hash(raw), files, schemas, limits, connections.dialect]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _finished(report: ProcessingReport, fingerprint: str) -> ProcessingReport | None:
    summary = report.processed.parent / "summary.json"
    if not (summary.is_file() and report.processed.is_file() and report.rejected.is_file()):
        return None
    found = read_json(summary)
    if found.get("fingerprint") != fingerprint:
        return None
    return ProcessingReport(
        report.processed, report.rejected, found["counts"], found["reasons"], found.get("warnings", [])
    )


def _run_all(
    raw_path: Path,
    total: int,
    outcomes: Path,
    fingerprint: str,
    resume: bool,
    executor: Executor,
    schemas: dict[str, str],
    values: dict[str, ValueIndex],
) -> None:
    """Append one outcome per record, in the file's order, to a journal that survives a kill."""
    first = next((value for _, value in _lines_or_nothing(outcomes)), None) if resume else None
    with Journal(outcomes, resume=first == {"fingerprint": fingerprint}) as journal:
        if not journal.records:
            journal.append({"fingerprint": fingerprint})
        done = max(len(journal.records) - 1, 0)
        raws = (_Raw(idx, value) for idx, (_, value) in enumerate(iter_values(raw_path)))
        with tqdm(total=total, initial=done, desc="gold queries", unit="query", delay=2, file=sys.stderr) as bar:
            remaining = islice(raws, done, None)
            while chunk := list(islice(remaining, CHUNK)):
                journal.append(*_judge(chunk, executor, schemas, values))
                bar.update(len(chunk))


def _lines_or_nothing(path: Path) -> Iterator[tuple[int | None, Any]]:
    try:
        yield from iter_values(path)
    except DataError:  # absent, or torn by a kill in its very first line
        return


def _outcomes(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    return (value[kind] for _, value in iter_values(path) if kind in value)


def _counted(records: Iterator[dict[str, Any]], reasons: Counter[str]) -> Iterator[dict[str, Any]]:
    for record in records:
        reasons[record["reason"]] += 1
        yield record


def _judge(
    chunk: Sequence[_Raw], executor: Executor, schemas: dict[str, str], values: dict[str, ValueIndex]
) -> list[dict[str, Any]]:
    faults: dict[int, tuple[str, str]] = {}
    for raw in chunk:
        if fault := _form_fault(raw.value) or _database_fault(raw, schemas):
            faults[raw.idx] = fault
    sound = [raw for raw in chunk if raw.idx not in faults]
    results = executor.run_many([(raw.get("db_id"), raw.sql) for raw in sound])
    for raw, result in zip(sound, results, strict=True):
        if fault := _result_fault(result, raw.get("db_id")):
            faults[raw.idx] = fault
    gold = {raw.idx: result for raw, result in zip(sound, results, strict=True) if raw.idx not in faults}
    kept = [raw for raw in sound if raw.idx in gold]
    shaky = unstable([(raw.get("db_id"), raw.sql) for raw in kept], executor)
    faults |= {kept[index].idx: ("non_deterministic", why) for index, why in shaky.items()}
    return [
        _rejected(raw, *faults[raw.idx])
        if raw.idx in faults
        else _processed(raw, gold[raw.idx], schemas, values, executor.connections.dialect)
        for raw in chunk
    ]


def _form_fault(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, dict):
        return "malformed", f"expected an object, found {type(value).__name__}"
    for name in ("db_id", "question", "SQL"):
        if name not in value:
            near = difflib.get_close_matches(name.lower(), [str(k).lower() for k in value], n=1, cutoff=0.5)
            return "malformed", f"field '{name}' is missing" + (f"; is it '{near[0]}'?" if near else "")
        if not isinstance(value[name], str) or not value[name].strip():
            return "malformed", f"field '{name}' must be text, got {value[name]!r}"
    for name in ("evidence", "difficulty"):
        if not isinstance(value.get(name) or "", str):
            return "malformed", f"field '{name}' must be text, got {value[name]!r}"
    return None


def _database_fault(raw: _Raw, schemas: dict[str, str]) -> tuple[str, str] | None:
    db_id = raw.get("db_id")
    if db_id in schemas:
        return None
    near = difflib.get_close_matches(db_id, list(schemas), n=1)
    return "unknown_database", f"no database '{db_id}'" + (f"; is it '{near[0]}'?" if near else "")


def _result_fault(result: Result, db_id: str) -> tuple[str, str] | None:
    if result.failure is not None:
        kind, message = result.failure.kind, result.failure.message
        if kind == "connection":
            raise DatabaseError(
                f"the connection was lost ({message})", where=db_id, hint="call again: what was done is kept"
            )
        return ("timeout", message) if kind == "timeout" else ("error", f"{kind}: {message}")
    if not result.rows:
        return "empty", "the query returns no rows"
    if all(value is None for row in result.rows for value in row):
        return "empty", "the query returns nothing but NULL"
    return None


def _rejected(raw: _Raw, reason: str, message: str) -> dict[str, Any]:
    return {"rejected": {"idx": raw.idx, "reason": reason, "message": message, "record": raw.value}}


def _processed(
    raw: _Raw, result: Result, schemas: dict[str, str], values: dict[str, ValueIndex], dialect: str
) -> dict[str, Any]:
    said = values[raw.get("db_id")].mentioned(f"{raw.get('question')}\n{raw.get('evidence')}")
    carried = {name: raw.value[name] for name in _CARRIED if name in raw.value}
    return {
        "processed": {
            "idx": raw.idx,
            "db_name": raw.get("db_id"),
            "question": raw.get("question"),
            "evidence": raw.get("evidence"),
            "db_schema": schemas[raw.get("db_id")],
            "sql": raw.sql,
            "sql_type": dialect,
            "gold": {"rows": len(result.rows), "elapsed_ms": round(result.elapsed_ms, 1)},
            "values": said,
            **carried,
        }
    }
