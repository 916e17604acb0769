"""db_conn.json: what it becomes, and what it says when it is wrong."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from askguru_lib.databases.connection import DatabaseConnections, load_connections
from askguru_lib.errors import DatabaseError


def write(folder: Path, content: Any) -> Path:
    path = folder / "db_conn.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / "shop?1.sqlite")
    db.executescript("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO item VALUES (1, 'nail');")
    db.close()
    return write(tmp_path, {"dialect": "sqlite", "databases": {"shop": "shop?1.sqlite"}})


def test_embedded_paths_are_relative_to_the_file(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    connections = load_connections(shop)
    assert connections.dialect == "sqlite"
    assert connections.db_ids == ["shop"]
    assert connections.path("shop") == shop.parent / "shop?1.sqlite"
    with connections.engine("shop").connect() as db:
        assert db.execute(sa.text("SELECT name FROM item")).scalar_one() == "nail"


def test_engines_are_read_only_unless_asked(shop: Path) -> None:
    connections = load_connections(shop)
    with connections.engine("shop").connect() as db, pytest.raises(sa.exc.OperationalError, match="readonly"):
        db.execute(sa.text("DELETE FROM item"))
    with connections.engine("shop", read_only=False).begin() as db:
        db.execute(sa.text("DELETE FROM item"))
    connections.dispose()


def test_duckdb_engine(tmp_path: Path) -> None:
    connections = DatabaseConnections.embedded({"d": tmp_path / "d.duckdb"}, "duckdb")
    with connections.engine("d", read_only=False).begin() as db:
        db.execute(sa.text("CREATE TABLE t AS SELECT 42 AS a"))
    connections.dispose()
    with connections.engine("d").connect() as db:
        assert db.execute(sa.text("SELECT a FROM t")).scalar_one() == 42
        with pytest.raises(sa.exc.DBAPIError):
            db.execute(sa.text("DELETE FROM t"))


SERVERS = [
    ("postgresql", "db.example", "postgresql+psycopg://ann:***@db.example:5555/sales"),
    ("postgresql", "/run/pg", "postgresql+psycopg://ann:***@:5555/sales?host=%2Frun%2Fpg"),
    ("mysql", "db.example", "mysql+pymysql://ann:***@db.example:5555/sales"),
    ("oracle", "db.example", "oracle+oracledb://ann:***@db.example:5555?service_name=sales"),
]


@pytest.mark.parametrize(("dialect", "host", "shown"), SERVERS)
def test_server_urls_take_the_password_from_the_environment_and_never_show_it(
    dialect: str, host: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_PASSWORD", "s3:cr@t")
    connections = load_connections(
        write(
            tmp_path,
            {
                "dialect": dialect,
                "host": host,
                "port": 5555,
                "user": "ann",
                "password": "${SALES_PASSWORD}",
                "databases": {"s": "sales"},
            },
        )
    )
    url = connections.url("s")
    assert url.password == "s3:cr@t"
    assert str(url) == shown
    assert connections.path("s") is None
    assert "s3:cr@t" not in repr(connections) + str(connections) + repr(vars(connections)) + repr(url)


WRONG = [
    ('{"dialect": "sqlite",\n "databases": {"a": }}', r"db_conn\.json:2: malformed JSON"),
    ("[1]", "expected an object, found list"),
    ({"dialect": "sqlight", "databases": {"a": "a"}}, "'dialect'.*got 'sqlight'"),
    ({"dialect": "sqlite"}, "'databases': field required"),
    ({"dialect": "sqlite", "databases": {}}, "'databases'.*got {}"),
    ({"dialect": "sqlite", "databases": {"a": "a"}, "hots": "x"}, r"unknown field 'hots' \(did you mean 'host'\?\)"),
    ({"dialect": "mysql", "port": 99999, "databases": {"a": "a"}}, "'port'.*got 99999"),
    ({"dialect": "mysql", "password": "${NOT_SET_1}", "databases": {"a": "a"}}, "'password' needs .* NOT_SET_1"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_a_wrong_file_is_named_with_its_field_and_value(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=message) as e:
        load_connections(write(tmp_path, content))
    assert "db_conn.json" in str(e.value)


def test_a_wrong_password_value_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as e:
        load_connections(write(tmp_path, {"dialect": "mysql", "password": ["hunter2"], "databases": {"a": "a"}}))
    assert "'password'" in str(e.value)
    assert "hunter2" not in str(e.value)


def test_missing_file_database_and_driver(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot read the connection file"):
        load_connections(tmp_path / "nowhere.json")
    with pytest.raises(DatabaseError, match=r"unknown database 'shpo'[\s\S]*did you mean shop"):
        load_connections(shop).url("shpo")
    with pytest.raises(DatabaseError, match=r"databases\.gone: no database file"):
        DatabaseConnections.embedded({"gone": tmp_path / "gone.sqlite"}).engine("gone")
    with pytest.raises(DatabaseError, match="no SQL connection"):
        DatabaseConnections.embedded({"g": "graph"}, "cypher").url("g")
