"""Prediction files of several origins, as the list that ``evaluate`` takes.

=============  =====================================================================================================
ours           JSON Lines or a JSON list of objects with ``id`` and ``sql``
by position    a JSON list of objects without ``id``, one per test item: ``sql``, ``pred_sql`` or ``SQL``
BIRD           one JSON object ``{"0": "SELECT …\\t----- bird -----\\tdb_id", …}``, by position or by ``question_id``
Spider         a text file, one query per line, optionally with a tab and the database behind it
=============  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from askguru_lib.data.files import iter_values, read_json
from askguru_lib.errors import EvaluationError

BIRD_SEPARATOR = "\t----- bird -----\t"
_SQL_FIELDS = ("sql", "pred_sql", "SQL")


def read_predictions(path: str | Path, test_set: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Predictions of any of the formats above, each with the ``id`` of its test item.

    Nothing is dropped: a prediction that fits no item is an error, an empty one stays and counts as wrong.

    Raises:
        DataError: the file cannot be read (file and line are named).
        EvaluationError: an entry has no SQL, or entries and test items cannot be matched.
    """
    path = Path(path)
    ids = [str(record["id"]) for record in test_set]
    if path.suffix in (".sql", ".txt"):
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        found: list[Any] = [line.rstrip("\r").split("\t")[0] for line in (lines[:-1] if lines[-1] == "" else lines)]
        return _by_position(found, ids, path)
    if path.suffix == ".json" and isinstance(whole := read_json(path), dict):
        return _bird(whole, ids, path)
    entries = [value for _, value in iter_values(path)]
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not any(f in entry for f in _SQL_FIELDS):
            raise EvaluationError(
                f"no SQL in {str(entry)[:80]!r}",
                where=f"{path}, record {number}",
                hint=f"give it a field {' or '.join(_SQL_FIELDS)}",
            )
    queries = [next((e[f] for f in _SQL_FIELDS if f in e), None) for e in entries]
    if all("id" in entry for entry in entries):
        return [{**e, "id": str(e["id"]), "sql": sql} for e, sql in zip(entries, queries, strict=True)]
    return _by_position(queries, ids, path)


def _by_position(queries: Sequence[Any], ids: Sequence[str], path: Path) -> list[dict[str, Any]]:
    if len(queries) != len(ids):
        raise EvaluationError(
            f"{len(queries)} predictions for {len(ids)} test items",
            where=str(path),
            hint="without ids they are matched by position: give one per item, an empty one where there is none",
        )
    return [{"id": key, "sql": sql} for key, sql in zip(ids, queries, strict=True)]


def _bird(answers: Mapping[str, Any], ids: Sequence[str], path: Path) -> list[dict[str, Any]]:
    """By ``question_id`` where the test items' ids end in one, as those of imported sets do; else by position."""
    by_end = {key.rsplit("/", 1)[-1]: key for key in ids}
    named = (
        by_end
        if len(by_end) == len(ids) and set(answers) <= set(by_end)
        else {str(n): key for n, key in enumerate(ids)}
    )
    if strangers := [key for key in answers if key not in named]:
        raise EvaluationError(
            f"{len(strangers)} predictions are for no test item: {', '.join(strangers[:5])}",
            where=str(path),
            hint="their keys are question ids, or positions from 0",
        )
    wrong = next((key for key, text in answers.items() if not isinstance(text, str)), None)
    if wrong is not None:
        raise EvaluationError(
            f"no text but {answers[wrong]!r}", where=f"{path}, prediction {wrong}", hint="give the query as text"
        )
    return [{"id": named[key], "sql": text.split(BIRD_SEPARATOR)[0]} for key, text in answers.items()]
