"""Variants of a database keep its schema and keys and unmask queries that are right by luck."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from askguru_lib.config import RunConfig
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.errors import DatabaseError
from askguru_lib.evaluation.evaluate import Evaluation, evaluate
from askguru_lib.evaluation.perturbation import Survival, perturb, survive

CONFIG = RunConfig.build({"execution": {"timeout_s": 3, "workers": 1}})


def dump(path: Path, what: str = "") -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if line.startswith(what)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plant", "retail", "football"])
def test_variants_have_the_schema_valid_keys_and_other_contents(name: str, tmp_path: Path):
    original = samples.build(name, tmp_path)
    before = original.read_bytes()
    variants = perturb(original, tmp_path / "variants", k=3, seed=5)
    assert original.read_bytes() == before
    assert len({tuple(dump(v)) for v in [original, *variants]}) == 4
    for variant in variants:
        assert dump(variant, "CREATE") == dump(original, "CREATE")
        with closing(sqlite3.connect(variant)) as db:
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            for table in samples.definition(name).metadata.tables:
                assert db.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0] > 0
    again = perturb(original, tmp_path / "again", k=3, seed=5)
    assert [dump(v) for v in again] == [dump(v) for v in variants]


LUCKY = [
    # question of the gold, a prediction that is right on the data below, and whether a variant shows the difference
    ("SELECT COUNT(*) FROM orders WHERE status = 'open'", "SELECT COUNT(*) FROM orders", True),
    ("SELECT name FROM people WHERE city IS NOT NULL", "SELECT name FROM people", True),
    ("SELECT DISTINCT city FROM people", "SELECT city FROM people GROUP BY city", False),
    ("SELECT MAX(amount) FROM orders", "SELECT amount FROM orders ORDER BY amount DESC LIMIT 1", False),
    ("SELECT COUNT(person) FROM orders", "SELECT COUNT(*) FROM orders", False),  # a key that is never NULL
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as db:
        db.executescript(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people (id), status TEXT,"
            " amount REAL);"
        )
        db.executemany("INSERT INTO people VALUES (?, ?, ?)", [(i, f"p{i}", f"c{i % 7}") for i in range(60)])
        rows = [(i, i % 60, "open", i * 1.5) for i in range(200)]
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
        db.commit()
    (tmp_path / "db_conn.json").write_text('{"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}}')
    return tmp_path / "db_conn.json"


def test_luck_is_unmasked_and_equivalence_is_not(shop: Path, tmp_path: Path):
    connections = load_connections(shop)
    test_set = [{"id": str(i), "db_name": "shop", "question": "?", "sql": gold} for i, (gold, _, _) in enumerate(LUCKY)]
    predictions = [{"id": str(i), "sql": pred} for i, (_, pred, _) in enumerate(LUCKY)]
    with Executor.from_config(connections, CONFIG.execution) as executor:
        scores = evaluate(predictions, test_set, executor, config=CONFIG)
    expected = {str(i) for i, (_, _, lucky) in enumerate(LUCKY) if lucky}
    right = {item["id"] for item in scores.items if item["ex"]}
    found = survive(scores, test_set, connections, tmp_path / "variants", k=4, config=CONFIG)
    assert set(found.tried) == right
    assert set(found.unmasked) == expected == {"0", "1"}
    assert all(n > 0 for n in found.tried.values())


def test_nothing_right_means_nothing_to_try(shop: Path, tmp_path: Path):
    assert survive(Evaluation([]), [], load_connections(shop), tmp_path / "variants") == Survival({}, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plant", "airline"])
def test_gold_survives_every_variant(name: str, tmp_path: Path):
    connections = load_connections(samples.build_all(tmp_path, (name,)))
    bank = [{**r, "id": str(i), "db_name": name, "sql": r["SQL"]} for i, r in enumerate(samples.bank(name))]
    with Executor.from_config(connections, CONFIG.execution) as executor:
        scores = evaluate([{"id": r["id"], "sql": r["sql"]} for r in bank], bank, executor, config=CONFIG)
    found = survive(scores, bank, connections, tmp_path / "variants", k=3, config=CONFIG)
    assert found.unmasked == {}
    assert sum(n > 0 for n in found.tried.values()) > 0.8 * len(bank)


def test_what_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "x.sqlite").write_text("no database, but long enough to be one" * 30)
    with pytest.raises(DatabaseError, match=r"x\.sqlite"):
        perturb(tmp_path / "x.sqlite", tmp_path / "out")
