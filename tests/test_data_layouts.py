"""Spider's and BIRD's folders become raw data and connections; nothing is lost and nothing is written into them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from askguru_lib.cli import app
from askguru_lib.config import RunConfig
from askguru_lib.data.files import read_records, write_json
from askguru_lib.data.layouts import import_benchmark
from askguru_lib.data.processing import process_data
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.errors import DataError

CONFIG = RunConfig.build({"execution": {"timeout_s": 2, "workers": 1}})
COUNT = "SELECT count(*) FROM stadium"


def database(folder: Path, name: str, sql: str) -> Path:
    file = folder / name / f"{name}.sqlite"
    file.parent.mkdir(parents=True)
    with sqlite3.connect(file) as db:
        db.executescript(sql)
    return file


@pytest.fixture
def spider(tmp_path: Path) -> Path:
    root = tmp_path / "spider"
    database(
        root / "database",
        "concert",
        "CREATE TABLE stadium (Stadium_ID INTEGER PRIMARY KEY, Cap INTEGER);"
        "INSERT INTO stadium VALUES (1, 10), (2, 20)",
    )
    write_json(
        root / "dev.json",
        [
            {"db_id": "concert", "question": "How many stadiums?", "query": COUNT, "query_toks": ["SELECT"], "sql": {}},
            {"db_id": "concert", "question": "Largest capacity?", "query": "SELECT max(cap) FROM stadium", "sql": {}},
            {"db_id": "nowhere", "question": "?", "query": "SELECT 1", "sql": {}},
            {"db_id": "concert", "question": "no query"},
        ],
    )
    write_json(
        root / "tables.json",
        [
            {
                "db_id": "concert",
                "table_names_original": ["stadium"],
                "table_names": ["stadium"],
                "column_names_original": [[-1, "*"], [0, "Stadium_ID"], [0, "Cap"]],
                "column_names": [[-1, "*"], [0, "stadium id"], [0, "capacity"]],
                "column_types": ["text", "number", "number"],
                "foreign_keys": [],
                "primary_keys": [1],
            }
        ],
    )
    return root


@pytest.fixture
def bird(tmp_path: Path) -> Path:
    root = tmp_path / "bird"
    file = database(
        root / "dev_databases",
        "schools",
        "CREATE TABLE frpm (CDSCode TEXT PRIMARY KEY, `Charter (Y/N)` INTEGER, note TEXT);"
        "INSERT INTO frpm VALUES ('01', 1, 'a'), ('02', 0, NULL)",
    )
    notes = file.parent / "database_description"
    notes.mkdir()
    header = "original_column_name,column_name,column_description,data_format,value_description\n"
    (notes / "FRPM.csv").write_bytes(
        (header + 'CDSCode,CDSCode,,integer,\nCharter (Y/N),Charter,charter school,integer,"0: N\n1: Y"\n').encode(
            "utf-8-sig"
        )
        + b"note,note,caf\xe9 \x96 remarks,text,\n"
    )
    write_json(
        root / "dev.json",
        [
            {
                "question_id": 17,
                "db_id": "schools",
                "question": "How many charter schools?",
                "evidence": "charter refers to `Charter (Y/N)` = 1",
                "SQL": "SELECT COUNT(*) FROM frpm WHERE `Charter (Y/N)` = 1",
                "difficulty": "simple",
            }
        ],
    )
    return root


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_spider_is_read_whole(spider: Path, tmp_path: Path):
    before = snapshot(spider)
    imported = import_benchmark(spider, tmp_path / "out")
    assert read_records(imported.raw)[0] == {
        "id": "spider/dev/0",
        "source": "spider",
        "db_id": "concert",
        "question": "How many stadiums?",
        "SQL": COUNT,
    }
    assert len(read_records(imported.raw)) == 4
    schema = SchemaEngine(load_connections(imported.db_conn).engine("concert"), "concert").mschema
    fields = schema.tables["stadium"]["fields"]
    assert {c: f["comment"] for c, f in fields.items()} == {"Stadium_ID": "", "Cap": "capacity"}
    assert snapshot(spider) == before


def test_bird_is_read_whole(bird: Path, tmp_path: Path):
    before = snapshot(bird)
    imported = import_benchmark(bird, tmp_path / "out")
    (record,) = read_records(imported.raw)
    assert record["id"] == "bird/dev/17"
    assert record["evidence"].startswith("charter refers")
    assert record["difficulty"] == "simple"
    engine = SchemaEngine(load_connections(imported.db_conn).engine("schools"), "schools")
    comments = {c: f["comment"] for c, f in engine.mschema.tables["frpm"]["fields"].items()}
    assert comments == {"CDSCode": "", "Charter (Y/N)": "charter school; 0: N 1: Y", "note": "café – remarks"}
    assert engine.warnings == [], "the description's file is spelt FRPM, the table frpm"
    assert snapshot(bird) == before


def test_a_folder_goes_through_the_gate_and_nothing_is_lost(spider: Path, tmp_path: Path):
    report = process_data(spider, None, tmp_path / "out", config=CONFIG)
    assert report.counts == {"read": 4, "processed": 2, "rejected": 2}
    assert [(r["idx"], r["reason"]) for r in read_records(report.rejected)] == [
        (2, "unknown_database"),
        (3, "malformed"),
    ]
    assert read_records(report.processed)[1]["id"] == "spider/dev/1"
    assert process_data(spider, None, tmp_path / "out", config=CONFIG) == report


def test_the_command_takes_a_folder(bird: Path, tmp_path: Path):
    done = CliRunner().invoke(
        app, ["process", "--raw_data_path", str(bird), "--processed_data_dir", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    (record,) = read_records(tmp_path / "out" / "processed_sqlite.jsonl")
    assert "charter school; 0: N 1: Y" in record["db_schema"]


def test_the_training_part_of_spider_is_two_files(spider: Path, tmp_path: Path):
    for name in ("train_spider", "train_others"):
        write_json(spider / f"{name}.json", [{"db_id": "concert", "question": name, "query": COUNT}])
    imported = import_benchmark(spider, tmp_path / "out", split="train")
    assert [r["id"] for r in read_records(imported.raw)] == ["spider/train_spider/0", "spider/train_others/0"]


def broken(spider: Path, case: str) -> None:
    if case == "no questions":
        (spider / "dev.json").unlink()
    elif case == "no databases":
        (spider / "database").rename(spider / "elsewhere")
    elif case == "no files":
        (spider / "database" / "concert" / "concert.sqlite").unlink()
    elif case == "malformed":
        (spider / "dev.json").write_text('[\n{"db_id": }\n]')
    elif case == "tables":
        data: list[dict[str, Any]] = json.loads((spider / "tables.json").read_text())
        del data[0]["column_names"]
        write_json(spider / "tables.json", data)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no questions", r"dev\.json is not there"),
        ("no databases", "no databases for the split 'dev'"),
        ("no files", "no database file"),
        ("malformed", r"dev\.json:2"),
        ("tables", r"tables\.json, record 0.*column_names"),
    ],
)
def test_what_is_missing_is_named(spider: Path, tmp_path: Path, case: str, message: str):
    broken(spider, case)
    with pytest.raises(DataError, match=message):
        import_benchmark(spider, tmp_path / "out")
    assert not (tmp_path / "out" / "raw.jsonl").exists()


def test_a_description_without_names_is_reported(bird: Path, tmp_path: Path):
    file = bird / "dev_databases" / "schools" / "database_description" / "other.csv"
    file.write_text("a,b\n1,2\n")
    (warning,) = import_benchmark(bird, tmp_path / "out").warnings
    assert "other.csv" in warning
