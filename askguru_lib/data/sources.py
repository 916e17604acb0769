"""What goes into a training set: the entries of ``datasets.json``, their records, and the split into two sides."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from askguru_lib.config import Dialect
from askguru_lib.data.files import iter_values, read_json
from askguru_lib.data.leakage import question_key, sql_key
from askguru_lib.data.linking import well_formed
from askguru_lib.data.prompts import TASK_DIALECT, TEMPLATES, PromptOrder, build_prompt, conversation
from askguru_lib.errors import DataError

GROUPS = ("nl2sql", "self_refine", "sql_select")
"""The three kinds of task that the mix is stated in."""

_REQUIRED = {
    "nl2sql": ("db_name", "question", "db_schema", "sql"),
    "self_refine": ("db_name", "question", "db_schema", "sql", "pred_sql_res"),
    "sql_select": ("db_name", "question", "db_schema", "sql", "candidates", "answer"),
}


class _Malformed(Exception):
    """A record that cannot become a training sample."""


class DatasetEntry(BaseModel):
    """One entry of ``datasets.json``."""

    model_config = ConfigDict(extra="forbid")

    data_path: str = Field(description="JSON or JSON Lines file, relative to datasets.json.")
    task_name: str = Field(description="A key of data.prompts.TEMPLATES.")
    sum_num: int | None = Field(
        None, ge=0, description="Samples to draw at most, augmented copies included; null: any."
    )
    sample_num: int | None = Field(None, ge=0, description="Distinct records to use, drawn by the seed; null: all.")
    data_aug: bool | float = Field(
        False, ge=0, le=1, description="Share of samples to augment (true: all). Only then can a record be drawn again."
    )
    sql_type: Dialect | None = Field(None, description="Dialect, where neither task nor record tells.")

    @property
    def group(self) -> str:
        return "nl2sql" if self.task_name in TASK_DIALECT else self.task_name

    @property
    def augmented_share(self) -> float:
        """Only generation is augmented: a wrong query or its result may name what a filter would drop."""
        return float(self.data_aug) if self.group == "nl2sql" else 0.0


@dataclass(frozen=True, slots=True)
class Original:
    """A record of a source, before it is turned into a training sample."""

    source: str
    number: int
    entry: DatasetEntry
    dialect: str
    record: dict[str, Any]
    sql_key: tuple[str, str]
    question_key: tuple[str, str]

    @property
    def group(self) -> str:
        return self.entry.group

    @property
    def database(self) -> str:
        return str(self.record["db_name"])

    def turns(self, db_schema: str, sql: str, order: PromptOrder, links: bool = False) -> list[dict[str, str]]:
        """The conversation that teaches this record, with this schema and this query; ``links`` as in
        :func:`~askguru_lib.data.prompts.build_prompt`."""
        record, extra = self.record, {}
        answer = sql
        if self.group == "self_refine":
            extra = {"error_sql": record["pred_sql_res"][0], "error_info": record["pred_sql_res"][1]}
        elif self.group == "sql_select":
            extra = {"candidates": [(c["sql"], c["result"]) for c in record["candidates"]]}
            answer = ascii_uppercase[record["answer"]]
        prompt = build_prompt(
            self.entry.task_name,
            db_schema=db_schema,
            question=record["question"],
            evidence=record.get("evidence") or "",
            order=order,
            dialect=self.dialect,
            links=links,
            values=record.get("values"),
            **extra,
        )
        return conversation(prompt, answer)


@dataclass
class Sources:
    """Everything that ``datasets.json`` names.

    Attributes:
        originals: usable records, without duplicates.
        rejected: ``{"source", "idx", "reason", "message"}`` of the others.
    """

    entries: dict[str, DatasetEntry]
    paths: dict[str, Path]
    originals: list[Original] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(r["reason"] for r in self.rejected)


def read_entries(path: str | Path) -> dict[str, DatasetEntry]:
    """The entries of ``datasets.json``.

    Raises:
        DataError: an entry is wrong; the message names entry, field and value.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not data:
        raise DataError("expected {name: {data_path, task_name, …}}", where=str(path), hint="see chapter 05")
    entries = {}
    for name, value in data.items():
        try:
            entries[name] = entry = DatasetEntry.model_validate(value)
        except ValidationError as e:
            first = e.errors()[0]
            place = ".".join(map(str, first["loc"])) or "entry"
            problem = f"'{place}': {first['msg'][:1].lower()}{first['msg'][1:]}, got {first.get('input')!r}"
            raise DataError(problem, where=f"{path}, entry '{name}'", hint="mend that field") from None
        if entry.task_name not in TEMPLATES:
            raise DataError(
                f"unknown task_name '{entry.task_name}'",
                where=f"{path}, entry '{name}'",
                hint=f"one of {', '.join(TEMPLATES)}",
            )
    return entries


def read_sources(path: str | Path, seed: int, engine: str = "sqlite") -> Sources:
    """Read every source, set malformed records and duplicates aside, and draw ``sample_num`` of the rest.

    Args:
        path: ``datasets.json``.
        seed: of the draw.
        engine: dialect of refinement and selection records that do not name their own.
    """
    entries = read_entries(path)
    sources = Sources(entries, {n: Path(path).parent / e.data_path for n, e in entries.items()})
    seen: set[str] = set()
    schemas: dict[str, str] = {}
    difficulty: dict[tuple[str, str], str] = {}
    for name, entry in entries.items():
        found = []
        for number, (_, value) in enumerate(iter_values(sources.paths[name])):
            try:
                original = _original(name, number, entry, value, engine, schemas)
            except _Malformed as e:
                sources.rejected.append({"source": name, "idx": number, "reason": "malformed", "message": str(e)})
                continue
            if (key := _identity(original)) in seen:
                message = "the same question, query and task stand earlier"
                sources.rejected.append({"source": name, "idx": number, "reason": "duplicate", "message": message})
                continue
            seen.add(key)
            found.append(original)
            # Refinement and selection records are as difficult as the question they were made from.
            if value.get("difficulty"):
                difficulty.setdefault(original.sql_key, value["difficulty"])
        if entry.sample_num is not None and entry.sample_num < len(found):
            chosen = random.Random(f"{seed}/{name}/sample_num").sample(range(len(found)), entry.sample_num)
            found = [found[i] for i in sorted(chosen)]
        sources.originals += found
    for original in sources.originals:
        original.record.setdefault("difficulty", difficulty.get(original.sql_key, ""))
    return sources


def _original(
    source: str, number: int, entry: DatasetEntry, value: Any, engine: str, schemas: dict[str, str]
) -> Original:
    if not isinstance(value, dict):
        raise _Malformed(f"expected an object, found {type(value).__name__}")
    if missing := [f for f in _REQUIRED[entry.group] if value.get(f) in (None, "", [])]:
        raise _Malformed(f"no {', '.join(missing)}")
    if wrong := [f for f in ("db_name", "question", "db_schema", "sql") if not isinstance(value[f], str)]:
        raise _Malformed(f"'{wrong[0]}' must be a text, got {value[wrong[0]]!r}")
    if not well_formed(value.get("values") or {}):
        raise _Malformed(f"'values' must be {{text: [[table, column, value], …]}}, got {value['values']!r}"[:300])
    if entry.group == "self_refine":
        _check_texts(value["pred_sql_res"], 2, "pred_sql_res")
    if entry.group == "sql_select":
        _check_selection(value)
    # Thousands of records share a handful of schema texts: keep one copy of each.
    value["db_schema"] = schemas.setdefault(value["db_schema"], value["db_schema"])
    asked, own = TASK_DIALECT.get(entry.task_name), value.get("sql_type")
    if asked and own and asked != own:
        raise _Malformed(f"'sql_type' is {own}, but the task is {entry.task_name}")
    dialect = asked or own or entry.sql_type or engine
    keyed = {**value, "sql_type": dialect}
    return Original(source, number, entry, dialect, value, sql_key(keyed), question_key(keyed))


def _check_texts(value: Any, length: int, name: str) -> None:
    if not isinstance(value, list) or len(value) != length or not all(isinstance(v, str) for v in value):
        raise _Malformed(f"'{name}' must be a list of {length} texts")


def _check_selection(value: Mapping[str, Any]) -> None:
    candidates, answer = value["candidates"], value["answer"]
    shaped = isinstance(candidates, list) and all(
        isinstance(c, dict) and isinstance(c.get("sql"), str) and isinstance(c.get("result"), str) for c in candidates
    )
    if not shaped or not 2 <= len(candidates) <= len(ascii_uppercase):
        raise _Malformed("'candidates' must be 2 to 26 objects with 'sql' and 'result'")
    if not isinstance(answer, int) or not 0 <= answer < len(candidates):
        raise _Malformed(f"'answer' must be the number of a candidate, got {answer!r}")


def _identity(original: Original) -> str:
    """Task, question, query and what the prompt shows beside them; the schema's rendering does not count."""
    record = original.record
    shown = [record.get("evidence") or "", record.get("pred_sql_res"), record.get("candidates")]
    parts = [original.entry.task_name, original.sql_key, original.question_key, shown]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def split(
    originals: Sequence[Original], wanted: Mapping[tuple[str, bool], int], share: float, seed: int, replayed: set[str]
) -> tuple[list[Original], list[Original]]:
    """Train and validation originals that share no question and no query.

    Records are divided query by query, so that a refinement sample never stands opposite the question it came from.

    Args:
        wanted: validation samples per task group, from replayed databases and from others.
        share: at most twice this share of the distinct queries goes to validation.
        replayed: training-only databases.

    Returns:
        ``(train, validation)``; training records that repeat a validation question are in neither.
    """
    by_query: dict[tuple[str, str], list[Original]] = {}
    for original in originals:
        by_query.setdefault(original.sql_key, []).append(original)
    order = sorted(by_query, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode()).digest())
    need = dict(wanted)
    chosen: set[tuple[str, str]] = set()
    for key in order:
        if len(chosen) >= 2 * share * len(order) or not any(n > 0 for n in need.values()):
            break
        groups = Counter((o.group, o.database in replayed) for o in by_query[key])
        if any(need.get(g, 0) > 0 for g in groups):
            chosen.add(key)
            need = {g: n - groups[g] for g, n in need.items()}
    validation = [o for o in originals if o.sql_key in chosen]
    questions = {o.question_key for o in validation}
    return [o for o in originals if o.sql_key not in chosen and o.question_key not in questions], validation
