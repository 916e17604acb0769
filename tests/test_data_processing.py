import json
import random
import sqlite3
from pathlib import Path

import pytest
import sqlglot

from askguru_lib.config import RunConfig
from askguru_lib.data import processing
from askguru_lib.data.files import read_records, write_json, write_jsonl
from askguru_lib.data.processing import process_data
from askguru_lib.data.stability import boundary_probe, changes_by_itself, ties_at_boundary
from askguru_lib.databases import samples
from askguru_lib.errors import DatabaseError, DataError

CONFIG = RunConfig.build({"execution": {"timeout_s": 1, "workers": 1}})
GOLD = {"db_id": "shop", "question": "How many items?", "evidence": "", "SQL": "SELECT COUNT(*) FROM items"}
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture
def conn(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.sqlite") as db:
        db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind TEXT)")
        rows = [(1, "pen", 1.0, "a"), (2, "ink", 5.0, "a"), (3, "cap", 5.0, "b"), (4, "bag", 9.0, None)]
        db.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)
    return write_json(tmp_path / "db_conn.json", {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}})


def bank(tmp_path: Path, *changes: object) -> Path:
    return write_json(tmp_path / "raw.json", [{**GOLD, **c} if isinstance(c, dict) else c for c in changes])


def rejected(report: processing.ProcessingReport) -> list[tuple]:
    return [(r["idx"], r["reason"], r["message"]) for r in read_records(report.rejected)]


def test_a_sound_record_is_processed_with_schema_and_gold(tmp_path: Path, conn: Path):
    raw = bank(tmp_path, {"SQL": "SELECT name FROM items ORDER BY name;", "difficulty": "simple", "id": "x1"})
    report = process_data(raw, conn, tmp_path / "out", config=CONFIG)
    (record,) = read_records(report.processed)
    assert report.processed.name == "processed_sqlite.jsonl"
    assert record["db_schema"].startswith("【DB_ID】 shop\n【Schema】\n# Table: items\n")
    assert record["gold"].pop("elapsed_ms") >= 0
    del record["db_schema"]
    assert record == {
        "idx": 0,
        "db_name": "shop",
        "question": "How many items?",
        "evidence": "",
        "sql": "SELECT name FROM items ORDER BY name",
        "sql_type": "sqlite",
        "gold": {"rows": 4},
        "values": {},
        "id": "x1",
        "difficulty": "simple",
    }
    assert rejected(report) == []
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["inputs"].keys() == {
        "../raw.json",
        "../db_conn.json",
    }


def test_every_kind_of_defect_is_found_and_none_is_invented(tmp_path: Path, conn: Path):
    raw = bank(
        tmp_path,
        {},
        {"SQL": "SELEC 1"},
        {"SQL": "SELECT nme FROM items"},
        {"SQL": "SELECT name FROM itms"},
        {"SQL": "DROP TABLE items"},
        {"SQL": FOREVER},
        {"SQL": "SELECT name FROM items WHERE price > 100"},
        {"SQL": "SELECT MAX(price) FROM items WHERE price > 100"},
        {"SQL": "SELECT name FROM items ORDER BY price LIMIT 2"},
        {"SQL": "SELECT name FROM items LIMIT 2"},
        {"SQL": "SELECT name FROM items ORDER BY RANDOM()"},
        {"SQL": "SELECT name, date('now') FROM items"},
        {"SQL": ""},
        {"question": None},
        "just text",
        {"db_id": "shopp"},
        {"SQL": "SELECT name FROM items ORDER BY price DESC LIMIT 1"},
        {"SQL": "SELECT COUNT(*) FROM items LIMIT 5"},
    )
    report = process_data(raw, conn, tmp_path / "out", config=CONFIG)
    found = rejected(report)
    assert [reason for _, reason, _ in found] == (
        ["error"] * 4
        + ["timeout"]
        + ["empty"] * 2
        + ["non_deterministic"] * 4
        + ["malformed"] * 3
        + ["unknown_database"]
    )
    assert [idx for idx, _, _ in found] == list(range(1, 16))
    assert found[-1][2] == "no database 'shopp'; is it 'shop'?"
    assert [r["idx"] for r in read_records(report.processed)] == [0, 16, 17]
    assert report.counts == {"read": 18, "processed": 3, "rejected": 15}
    assert report.reasons == {
        "malformed": 3,
        "unknown_database": 1,
        "error": 4,
        "timeout": 1,
        "empty": 2,
        "non_deterministic": 4,
    }


def test_a_misspelt_field_is_named(tmp_path: Path, conn: Path):
    raw = write_jsonl(tmp_path / "raw.jsonl", [{"db_id": "shop", "question": "?", "sql": "SELECT 1"}])
    assert rejected(process_data(raw, conn, tmp_path / "out", config=CONFIG)) == [
        (0, "malformed", "field 'SQL' is missing; is it 'sql'?")
    ]


def test_json_that_cannot_be_read_stops_before_anything_is_written(tmp_path: Path, conn: Path):
    (tmp_path / "raw.jsonl").write_text(json.dumps(GOLD) + "\n{not json\n")
    with pytest.raises(DataError) as error:
        process_data(tmp_path / "raw.jsonl", conn, tmp_path / "out", config=CONFIG)
    assert error.value.where == f"{tmp_path / 'raw.jsonl'}:2"
    assert not (tmp_path / "out").exists()


def test_an_empty_bank_and_a_missing_database_are_clear_errors(tmp_path: Path, conn: Path):
    with pytest.raises(DataError, match="question bank is empty"):
        process_data(write_json(tmp_path / "none.json", []), conn, tmp_path / "out", config=CONFIG)
    (tmp_path / "shop.sqlite").unlink()
    with pytest.raises(DatabaseError, match="no database file"):
        process_data(bank(tmp_path, {}), conn, tmp_path / "out", config=CONFIG)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, conn: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processing, "CHUNK", 2)
    raw = bank(tmp_path, *({"SQL": f"SELECT {i} FROM items"} for i in range(5)), {"SQL": "SELECT x FROM items"})
    judge, judged = processing._judge, []

    def killed_in_the_second_chunk(chunk, *rest):
        if judged:
            raise KeyboardInterrupt
        judged.extend(r.idx for r in chunk)
        return judge(chunk, *rest)

    monkeypatch.setattr(processing, "_judge", killed_in_the_second_chunk)
    with pytest.raises(KeyboardInterrupt):
        process_data(raw, conn, tmp_path / "out", config=CONFIG)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["progress.jsonl"]
    with (tmp_path / "out" / "progress.jsonl").open("a") as file:
        file.write('{"processed": {"idx": 2, "sq')

    def watched(chunk, *rest):
        judged.extend(r.idx for r in chunk)
        return judge(chunk, *rest)

    monkeypatch.setattr(processing, "_judge", watched)
    report = process_data(raw, conn, tmp_path / "out", config=CONFIG)
    assert judged == [0, 1, 2, 3, 4, 5]
    assert [r["idx"] for r in read_records(report.processed)] == [0, 1, 2, 3, 4]
    assert report.counts == {"read": 6, "processed": 5, "rejected": 1}
    assert not (tmp_path / "out" / "progress.jsonl").exists()

    assert process_data(raw, conn, tmp_path / "out", config=CONFIG) == report
    assert judged == [0, 1, 2, 3, 4, 5], "a finished run is not repeated"
    process_data(bank(tmp_path, {}), conn, tmp_path / "out", config=CONFIG)
    assert judged[6:] == [0], "another input is another run"


@pytest.mark.parametrize(
    ("sql", "tied"),
    [
        ("SELECT name FROM items ORDER BY price LIMIT 2", True),
        ("SELECT name FROM items ORDER BY price, name LIMIT 2", False),
        ("SELECT name FROM items ORDER BY price LIMIT 3", False),
        ("SELECT price FROM items ORDER BY price LIMIT 2", False),
        ("SELECT name, price FROM items ORDER BY 2 LIMIT 1 OFFSET 2", True),
        ("SELECT name, price AS p FROM items ORDER BY p DESC LIMIT 1", False),
        ("SELECT * FROM items ORDER BY price LIMIT 2", True),
        ("SELECT kind, COUNT(*) FROM items WHERE id > 1 GROUP BY kind ORDER BY COUNT(*) DESC LIMIT 1", True),
        ("SELECT kind FROM items WHERE id < 4 GROUP BY kind ORDER BY COUNT(*) DESC LIMIT 1", False),
        ("SELECT DISTINCT price FROM items ORDER BY price LIMIT 2", False),
        ("SELECT name FROM items LIMIT 4", False),
        ("SELECT name FROM items LIMIT 3", True),
    ],
)
def test_ties_at_the_limit(conn: Path, sql: str, tied: bool):
    probe = boundary_probe(sql, "sqlite")
    assert probe is not None
    with sqlite3.connect(conn.parent / "shop.sqlite") as db:
        rows = db.execute(probe.sql).fetchall()
    assert bool(ties_at_boundary(probe, rows)) is tied


@pytest.mark.parametrize(
    ("sql", "dialect", "changes"),
    [
        ("SELECT CURRENT_DATE", "sqlite", True),
        ("SELECT datetime('now')", "sqlite", True),
        ("SELECT NOW()", "postgresql", True),
        ("SELECT RAND()", "mysql", True),
        ("SELECT * FROM t WHERE state = 'now'", "sqlite", False),
        ("SELECT strftime('%Y', d) FROM t", "sqlite", False),
    ],
)
def test_clock_and_chance_are_seen_in_the_tree(sql: str, dialect: str, changes: bool):
    assert bool(changes_by_itself(sql, dialect)) is changes


def test_reference_defect_gold_never_executed(tmp_path: Path, conn: Path):
    report = process_data(bank(tmp_path, {"SQL": "SELECT COUNT(*) FROM absent"}), conn, tmp_path / "out", config=CONFIG)
    assert report.counts["processed"] == 0


# -- thirty faults of ten kinds, planted into the banks ----------------------------------------------------------


def spoil(record: dict[str, str], kind: str) -> object:
    """One sound record with one fault."""
    sql = record["SQL"]
    names = [t.name for t in sqlglot.parse_one(sql, read="sqlite").find_all(sqlglot.exp.Table)]
    table = next(name for name in names if name in samples.definition(record["db_id"]).metadata.tables)
    changes = {
        "misspelt keyword": {"SQL": sql.replace("SELECT", "SELCT", 1)},
        "unknown table": {"SQL": sql.replace(table, f"{table}_old")},
        "unknown column": {"SQL": f'SELECT no_such_column FROM "{table}"'},
        "writes": {"SQL": f'DELETE FROM "{table}"'},
        "never ends": {"SQL": FOREVER},
        "returns nothing": {"SQL": f'SELECT * FROM "{table}" WHERE 1 = 0'},
        "limit without order": {"SQL": f'SELECT * FROM "{table}" LIMIT 3'},
        "depends on the day": {"SQL": f"SELECT COUNT(*), date('now') FROM \"{table}\""},
        "field missing": {"SQL": None},
        "unknown database": {"db_id": record["db_id"] + "_2"},
    }
    return {**record, **changes[kind]}


KINDS = {
    "misspelt keyword": "error", "unknown table": "error", "unknown column": "error", "writes": "error",
    "never ends": "timeout", "returns nothing": "empty", "limit without order": "non_deterministic",
    "depends on the day": "non_deterministic", "field missing": "malformed", "unknown database": "unknown_database",
}  # fmt: skip


@pytest.mark.slow
def test_thirty_planted_faults_of_ten_kinds_are_all_found_and_none_is_invented(tmp_path: Path):
    connections = samples.build_all(tmp_path)
    banks = [record for name in samples.NAMES for record in samples.bank(name)]
    rng = random.Random(30)
    victims = rng.sample(banks, 30)
    planted = [(kind, spoil(victim, kind)) for kind, victim in zip(list(KINDS) * 3, victims, strict=True)]
    mixed: list[tuple[str | None, object]] = [*((None, record) for record in banks), *planted]
    rng.shuffle(mixed)
    raw = write_json(tmp_path / "raw.json", [record for _, record in mixed])
    report = process_data(raw, connections, tmp_path / "out", config=RunConfig.build({"execution": {"timeout_s": 2}}))
    found = {r["idx"]: r["reason"] for r in read_records(report.rejected)}
    assert found == {idx: KINDS[kind] for idx, (kind, _) in enumerate(mixed) if kind}
    assert len(found) == 30
    assert report.counts == {"read": len(banks) + 30, "processed": len(banks), "rejected": 30}
