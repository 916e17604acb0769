"""The folders of Spider and of BIRD, as raw data and connections.

======  ===================  ======================================================  ==================================
set     questions            databases                                               what people say of the columns
======  ===================  ======================================================  ==================================
Spider  ``<split>.json``     ``database/<db_id>/<db_id>.sqlite``                     ``tables.json``
BIRD    ``<split>.json``     ``<split>_databases/<db_id>/<db_id>.sqlite``            ``database_description/*.csv``
======  ===================  ======================================================  ==================================
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askguru_lib.data.files import iter_values, read_json, write_json, write_jsonl
from askguru_lib.errors import DataError

SUFFIXES = (".sqlite", ".sqlite3", ".db")
_SPIDER_TRAIN = ("train_spider.json", "train_others.json")


@dataclass(frozen=True)
class Imported:
    """What an import wrote.

    Attributes:
        raw: questions and gold queries in the raw format, one per line, in the order of the source.
        db_conn: connections to the databases, which stay where they are.
        comments: descriptions that were found, by database.
        warnings: what could not be read or does not fit together.
    """

    raw: Path
    db_conn: Path
    comments: dict[str, Path]
    warnings: tuple[str, ...]


def import_benchmark(folder: str | Path, save_path: str | Path, split: str = "dev") -> Imported:
    """Write ``raw.jsonl``, ``db_conn.json`` and ``comments/*.json`` for a folder in Spider's or BIRD's layout.

    Nothing is written into the folder itself. A record that is not what its layout promises goes on as it is, so that
    processing can set it aside with its reason.

    Args:
        folder: holds the question file and the folder of databases.
        save_path: receives the three.
        split: ``dev``, ``train`` or ``test``.

    Raises:
        DataError: questions or databases are not there, or a file is malformed (file and line are named).
    """
    folder, save_path = Path(folder), Path(save_path)
    bases, databases = _databases(folder, split)
    warnings: list[str] = []
    comments: dict[str, Path] = {}
    spoken = _spider_comments(folder / "tables.json")
    for db_id, file in databases.items():
        found = spoken.get(db_id) or _bird_comments(file.parent / "database_description", warnings)
        if found:
            comments[db_id] = write_json(save_path / "comments" / f"{db_id}.json", found)
    raw = write_jsonl(save_path / "raw.jsonl", _questions(folder, split, bird=bases.name.endswith("_databases")))
    settings = {
        "dialect": "sqlite",
        "databases": {db_id: os.path.relpath(file, save_path) for db_id, file in databases.items()},
        "comments": {db_id: os.path.relpath(file, save_path) for db_id, file in comments.items()},
    }
    return Imported(raw, write_json(save_path / "db_conn.json", settings), comments, tuple(warnings))


def _databases(folder: Path, split: str) -> tuple[Path, dict[str, Path]]:
    """The folder of databases, and the file of each."""
    wanted = [folder / f"{split}_databases", folder / f"{split}_database", folder / "database"]
    base = next((w for w in wanted if w.is_dir()), None)
    if base is None:
        raise DataError(
            f"no databases for the split '{split}'",
            where=str(folder),
            hint=f"Spider has {wanted[2].name}/, BIRD {wanted[0].name}/ beside {split}.json",
        )
    files: dict[str, Path] = {}
    for inner in sorted(p for p in base.iterdir() if p.is_dir()):
        found = next((f for s in SUFFIXES if (f := inner / f"{inner.name}{s}").is_file()), None)
        if found:
            files[inner.name] = found
    if not files:
        raise DataError(
            "no database file", where=str(base), hint="each folder <db_id>/ should hold a file <db_id>.sqlite"
        )
    return base, files


def _questions(folder: Path, split: str, bird: bool) -> Iterator[dict[str, Any]]:
    names = [f"{split}.json", *(_SPIDER_TRAIN if split == "train" else ())]
    files = [f for name in names if (f := folder / name).is_file()]
    if not files:
        raise DataError(f"no questions: {' or '.join(names)} is not there", where=str(folder), hint="check the split")
    prefix = "bird" if bird else "spider"
    for file in files:
        for number, (_, value) in enumerate(iter_values(file)):
            if not isinstance(value, dict):
                yield value
                continue
            sql = {"SQL": value["query"]} if "query" in value and "SQL" not in value else {}
            kept = {k: value[k] for k in ("db_id", "question", "evidence", "SQL", "difficulty") if k in value}
            place = value.get("question_id", number)
            yield {"id": f"{prefix}/{file.stem}/{place}", "source": prefix, **kept, **sql}


def _words(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _spider_comments(path: Path) -> dict[str, dict[str, Any]]:
    """What ``tables.json`` calls tables and columns, where that says more than their names."""
    if not path.is_file():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for number, schema in enumerate(read_json(path)):
        try:
            tables = schema["table_names_original"]
            notes: dict[str, dict[str, str]] = {"tables": {}, "columns": {}}
            for name, said in zip(tables, schema["table_names"], strict=True):
                if _words(said) != _words(name):
                    notes["tables"][name] = said
            for (table, name), (_, said) in zip(schema["column_names_original"], schema["column_names"], strict=True):
                if table >= 0 and _words(said) != _words(name):
                    notes["columns"][f"{tables[table]}.{name}"] = said
            found[schema["db_id"]] = notes if notes["tables"] or notes["columns"] else {}
        except (KeyError, TypeError, ValueError, IndexError) as e:
            raise DataError(
                f"not a schema of Spider ({type(e).__name__}: {e})", where=f"{path}, record {number}", hint="mend it"
            ) from None
    return found


def _bird_comments(folder: Path, warnings: list[str]) -> dict[str, Any]:
    """``original_column_name, column_name, column_description, data_format, value_description``, a file per table."""
    columns: dict[str, str] = {}
    for file in sorted(folder.glob("*.csv")):
        data = file.read_bytes().removeprefix(codecs.BOM_UTF8)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:  # some of BIRD's files come from Windows
            text = data.decode("cp1252", "replace")
        rows = csv.DictReader(io.StringIO(text))
        names = {str(n).strip().lower(): n for n in rows.fieldnames or ()}
        if "original_column_name" not in names:
            warnings.append(f"{file}: no column 'original_column_name', so its descriptions are left out")
            continue
        for row in rows:
            name, *said = (
                " ".join((row.get(names.get(field, "")) or "").split())
                for field in ("original_column_name", "column_name", "column_description", "value_description")
            )
            meaning = said[1] or said[0]
            parts = [p for p in (meaning if _words(meaning) != _words(name) else "", said[2]) if p]
            if name and parts:
                columns[f"{file.stem}.{name}"] = "; ".join(parts)
    return {"columns": columns} if columns else {}
