"""Questions in, prediction files out: one JSON line per question, and a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from askguru_lib.config import RunConfig
from askguru_lib.data.files import Journal, read_records, write_jsonl
from askguru_lib.data.prompts import build_prompt
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import AskGuruError, InferenceError

log = logging.getLogger(__name__)

GRAPH_DIALECTS = ("cypher", "ngql")


def question_prompt(record: Mapping[str, Any], config: RunConfig) -> str:
    """The prompt that asks a processed record's question."""
    return build_prompt(
        f"nl2{dialect_of(record, config)}",
        db_schema=record["db_schema"],
        question=record["question"],
        evidence=record.get("evidence") or "",
        order=config.model.prompt_order,
        links=config.model.schema_links,
        values=record.get("values"),
    )


def dialect_of(record: Mapping[str, Any], config: RunConfig) -> str:
    """A record's dialect: its own ``sql_type``, else the configuration's engine."""
    return str(record.get("sql_type") or config.databases.engine)


def schemas_of(records: Sequence[Mapping[str, Any]]) -> list[MSchema]:
    """The records' schemas, each distinct text read once.

    Raises:
        InferenceError: a record's ``db_schema`` is not M-Schema.
    """
    known: dict[str, MSchema] = {}
    for record in records:
        text = record["db_schema"]
        if text not in known:
            try:
                known[text] = MSchema.from_text(text)
            except AskGuruError as e:
                raise InferenceError(f"its schema cannot be read: {e}", where=f"record {record.get('id')}") from e
    return [known[record["db_schema"]] for record in records]


def bounds_of(records: Sequence[Mapping[str, Any]], config: RunConfig, constrained: bool) -> list[MSchema] | None:
    """Schemas to constrain answers to; None where that is not asked for, or a dialect has no SQL identifiers.

    Raises:
        InferenceError: a record's ``db_schema`` is not M-Schema.
    """
    if not constrained or any(dialect_of(r, config) in GRAPH_DIALECTS for r in records):
        return None
    return schemas_of(records)


def by_dialect(records: Sequence[Mapping[str, Any]], config: RunConfig) -> dict[str, list[int]]:
    """Indices of the records of each dialect: what is generated together has one dialect."""
    found: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        found.setdefault(dialect_of(record, config), []).append(i)
    return found


class PredictionFile:
    """Lines by id, written as they come and put in the test set's order at the end.

    A line of an earlier call is kept only if the model, the settings and the prompt are those that made it (its
    ``key``); others are made anew. Lines of questions outside this test set stay in the file, behind its own.

    Args:
        path: the JSON Lines file; while it grows, it lies beside it with ``.part`` at the end.
        records: the test set, with ``id``.
        prompts: of each record.
        settings: JSON-ready: whatever else decides what a line says.

    Attributes:
        todo: indices of the records that have no line yet.

    Raises:
        InferenceError: two records have one id, or the file at ``path`` holds something else than predictions.
    """

    def __init__(
        self, path: str | Path, records: Sequence[Mapping[str, Any]], prompts: Sequence[str], settings: Sequence[Any]
    ) -> None:
        self.path, self.records = Path(path), records
        self.keys = [hashlib.sha256(json.dumps([*settings, p]).encode()).hexdigest()[:16] for p in prompts]
        self.part = self.path.with_name(self.path.name + ".part")
        wanted: dict[str, str] = {}
        for number, (record, key) in enumerate(zip(records, self.keys, strict=True)):
            if str(record["id"]) in wanted:
                raise InferenceError(f"its id stands twice: {record['id']!r}", where=f"test set, record {number}",
                                     hint="give every question an id of its own")  # fmt: skip
            wanted[str(record["id"])] = key
        earlier = read_records(self.path) if self.path.exists() else []
        for number, line in enumerate(earlier):
            if not isinstance(line.get("id"), str) or not isinstance(line.get("key"), str):
                raise InferenceError("no prediction of an earlier call, and nothing is overwritten",
                                     where=f"{path}, record {number}", hint="give another output path")  # fmt: skip
        with Journal(self.part) as journal:
            earlier += journal.records
        self.lines = {line["id"]: line for line in earlier if line.get("key") == wanted.get(line["id"])}
        if stale := sum(line["id"] in wanted and line["id"] not in self.lines for line in earlier):
            log.warning("%s: %d predictions of another model, prompt or setting are made anew", path, stale)
        self.others = [line for line in earlier if line["id"] not in wanted]
        self.todo = [i for i, record in enumerate(records) if str(record["id"]) not in self.lines]

    def add(self, journal: Journal, lines: Mapping[int, Mapping[str, Any]]) -> None:
        """Write lines, by index of the record; ``id``, ``db_name``, ``question`` and ``key`` are put in."""
        whole = []
        for i, line in lines.items():
            record = self.records[i]
            names = {"id": str(record["id"]), "db_name": record["db_name"], "question": record["question"]}
            whole.append({**names, **line, "key": self.keys[i]})
            self.lines[names["id"]] = whole[-1]
        journal.append(*whole)

    def finish(self) -> list[dict[str, Any]]:
        """All lines in the test set's order, in the file under its final name."""
        ordered = [self.lines[str(record["id"])] for record in self.records]
        write_jsonl(self.path, [*ordered, *self.others])
        self.part.unlink(missing_ok=True)
        return ordered
