"""BIRD-CRITIC: items, predictions, the judge's helpers, verdicts, reports, and our own items."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import attacks
import pytest

from askguru_lib import cli
from askguru_lib.databases.connection import DatabaseConnections, load_connections
from askguru_lib.databases.samples import build_all, content_hash, critic_items, stop
from askguru_lib.databases.sandbox_worker import SQLiteSession
from askguru_lib.databases.worker import Limits
from askguru_lib.errors import AskGuruError, DatabaseError, DataError, EvaluationError
from askguru_lib.evaluation import bird_critic
from askguru_lib.evaluation.bird_critic import BirdCriticReport, Item, baseline, read_items, read_predictions, score
from askguru_lib.evaluation.judge import Helpers

TWO = "def test_case(*_): assert execute_queries(['SELECT COUNT(*) FROM t'])[0] == [(2,)], 'other rows'"


def item(name: str = "i", **fields: Any) -> dict[str, Any]:
    """A sound item on the table ``t(a, b)`` with the rows (1, 1.234) and (2, 5.678)."""
    sound = {"issue_sql": "SELECT nope FROM t", "sol_sql": ["SELECT a FROM t"], "preprocess_sql": [], "test_cases": []}
    return {"instance_id": name, "db_id": "shop", "query": "Why?", "category": "Query", **sound, **fields}


def items(*records: dict[str, Any]) -> list[Item]:
    return [Item.model_validate(r) for r in records]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[DatabaseConnections]:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE t (a INTEGER, b REAL); INSERT INTO t VALUES (1, 1.234), (2, 5.678);")
    before = content_hash(path)
    yield DatabaseConnections.embedded({"shop": path})
    assert content_hash(path) == before, "the original has changed"


def statuses(report: BirdCriticReport) -> dict[str, str]:
    return {i["instance_id"]: i["status"] for i in report.items} | {
        d["instance_id"]: f"defective: {d['reason']}" for d in report.defective
    }


# --- our own items ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("critic")


@pytest.mark.parametrize(
    "engine",
    [
        "sqlite",
        pytest.param(
            "postgresql",
            marks=[pytest.mark.slow, pytest.mark.skipif(bool(attacks.missing("postgresql")), reason="no server")],
        ),
    ],
)
def test_our_own_items_are_sound(engine: str, folder: Path) -> None:
    """Every solution passes, no issue does, and the templates are as they were."""
    ours = read_items(critic_items(engine))
    used = tuple(dict.fromkeys(i.db_id for i in ours))
    place = Path(tempfile.mkdtemp(prefix="critic"))  # a socket's path may not be long, and pytest's own folders are
    try:
        connections = load_connections(build_all(place, used, engine))
        journal = folder / f"{engine}.jsonl"
        given = {"journal": journal, "timeout_s": 20.0, "workers": 2}
        solved = score(ours, baseline(ours, "solution"), connections, **given)  # type: ignore[arg-type]
        issues = score(ours, baseline(ours, "issue"), connections, **given)  # type: ignore[arg-type]
        if engine == "sqlite":
            hashes = {d: content_hash(connections.path(d) or "") for d in used}
            again = load_connections(build_all(folder / "again", used))
            assert hashes == {d: content_hash(again.path(d) or "") for d in used}
    finally:
        stop(place / "postgresql")
        shutil.rmtree(place, ignore_errors=True)
    assert statuses(solved) == {i.instance_id: "pass" for i in ours}
    assert set(statuses(issues).values()) <= {"fail", "error"}
    assert not solved.defective
    assert not issues.defective


def test_our_own_items_are_many_and_of_every_kind() -> None:
    lite, postgres = (read_items(critic_items(e)) for e in ("sqlite", "postgresql"))
    assert len(lite) >= 12
    assert len(postgres) >= 4
    for those in (lite, postgres):
        assert {i.category for i in those} == {"Query", "Management", "Personalization", "Efficiency"}
        assert all(len(i.query.split()) > 15 for i in those)
        assert any(i.test_cases for i in those)
        assert any(not i.test_cases for i in those)
        assert any(i.conditions.get("order") for i in those)
        assert any(i.efficiency for i in those)
    with pytest.raises(DatabaseError, match="no items for 'duckdb'"):
        critic_items("duckdb")


# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def test_older_names_single_texts_and_numbers_are_read(tmp_path: Path) -> None:
    old = {
        "instance_id": 7,
        "selected_database": "shop",
        "issue_query": "Why?",
        "error_sql": "SELECT 1",
        "sol_sql": "SELECT 2",
        "preprocess_sql": "",
        "clean_up_sql": None,
        "test_cases": "default",
        "something_else": 1,
    }
    (read,) = read_items(write(tmp_path / "items.jsonl", old))
    assert (read.instance_id, read.db_id, read.query) == ("7", "shop", "Why?")
    assert (read.issue_sql, read.sol_sql) == (["SELECT 1"], ["SELECT 2"])
    assert (read.preprocess_sql, read.clean_up_sql, read.test_cases) == ([], [], [])


BAD = [
    ({**item(), "sol_sql": 3}, "'sol_sql'", "3"),
    ({**item(), "issue_sql": ["SELECT 1", 4]}, "'issue_sql.1'", "4"),
    ({**item(), "efficiency": "perhaps"}, "'efficiency'", "perhaps"),
    ({**item(), "conditions": [1]}, "'conditions'", "[1]"),
    ({k: v for k, v in item().items() if k != "db_id"}, "'db_id'", "required"),
    (item(sol_sql=[]), "'sol_sql'", "sent by e-mail"),
    ('{"instance_id": 1,', "malformed JSON", "column"),
    ([1, 2], "record", "[1, 2]"),
    (item("a"), "'instance_id'", "stands twice"),
]


@pytest.mark.parametrize(("record", "field", "value"), BAD, ids=[f[1] + f[2] for f in BAD])
def test_a_bad_record_is_named_by_file_line_field_and_value(
    tmp_path: Path, record: Any, field: str, value: str
) -> None:
    path = write(tmp_path / "items.jsonl", item("a"), "", record)
    with pytest.raises(DataError) as e:
        read_items(path)
    assert str(e.value).startswith(f"{path}:3: ")
    assert field in str(e.value)
    assert value in str(e.value)


def test_predictions_are_read_and_strangers_and_doubles_named(tmp_path: Path) -> None:
    known = items(item("a"), item("b"))
    lines = [{"instance_id": "a", "pred_sqls": "SELECT 1"}, {"instance_id": "b", "pred_sqls": []}]
    assert read_predictions(write(tmp_path / "p.jsonl", *lines), known) == {"a": ["SELECT 1"], "b": []}
    with pytest.raises(EvaluationError, match="1 predictions are for no item: b"):
        read_predictions(tmp_path / "p.jsonl", known[:1])
    with pytest.raises(DataError, match=r"p\.jsonl:2: 'instance_id' 'a' stands twice"):
        read_predictions(write(tmp_path / "p.jsonl", lines[0], lines[0]), known)
    with pytest.raises(DataError, match=r"p\.jsonl:1: 'pred_sqls'.*7"):
        read_predictions(write(tmp_path / "p.jsonl", {"instance_id": "a", "pred_sqls": 7}), known)


# --- what test cases may call -----------------------------------------------------------------------------------------


@pytest.fixture
def helpers(tmp_path: Path) -> Helpers:
    session = SQLiteSession(str(tmp_path / "h.sqlite"), Limits(5.0, 100, 256))
    session.connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 1.234), (1, 1.234), (2, 5.678);")
    return Helpers(session)


CLEANED = [
    ("remove_comments", "SELECT '--x' /* y */ , 1 -- z", "SELECT '--x' , 1"),
    ("remove_comments", "-- first\nSELECT a\nFROM t", "SELECT a\nFROM t"),
    ("remove_distinct", "SELECT DISTINCT a FROM t WHERE b = ' distinct '", "SELECT a FROM t WHERE b = ' distinct '"),
    ("remove_distinct", "SELECT COUNT(DISTINCT a) FROM t", "SELECT COUNT(DISTINCT a) FROM t"),
    ("remove_distinct", "SELECT a FROM t WHERE a IS DISTINCT FROM 1", "SELECT a FROM t WHERE a IS DISTINCT FROM 1"),
    ("remove_distinct", "select  'Distinct'  from t", "select  'Distinct'  from t"),
    ("remove_round", "SELECT ROUND(AVG(b), 1) FROM t", "SELECT AVG(b) FROM t"),
    ("remove_round", "SELECT ROUND(ROUND(b, 2)) + 1 FROM t", "SELECT b + 1 FROM t"),
    ("remove_round", "SELECT ROUND(SUM(ROUND(b, 1)), 2) FROM t", "SELECT SUM(b) FROM t"),
    ("remove_distinct", "SELECT COUNT(*) FROM (SELECT DISTINCT a FROM t)", "SELECT COUNT(*) FROM (SELECT a FROM t)"),
    ("remove_round", "SELECT 'ROUND(1)' FROM t", "SELECT 'ROUND(1)' FROM t"),
    ("remove_round", "no SQL ( at all", "no SQL ( at all"),
]


@pytest.mark.parametrize(("name", "sql", "expected"), CLEANED, ids=[f"{n}: {s[:40]}" for n, s, _ in CLEANED])
def test_statements_are_cleaned_and_literals_stay(helpers: Helpers, name: str, sql: str, expected: str) -> None:
    assert helpers.namespace()[name]([sql]) == [expected]


COMPARED = [
    ("SELECT a FROM t", "SELECT DISTINCT a FROM t", None, 1),
    ("SELECT 1.004", "SELECT 1.0", None, 1),
    ("SELECT 1.006", "SELECT 1.0", None, 0),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", None, 1),
    ("SELECT DISTINCT a FROM t ORDER BY a", "SELECT DISTINCT a FROM t ORDER BY a DESC", {"order": True}, 0),
    ("SELECT a FROM t WHERE 0", "SELECT a FROM t WHERE 0", None, 0),
    ("SELECT nope", "SELECT 1", None, 0),
    ("SELECT 1", "UPDATE t SET a = 1 WHERE 0", None, 0),
]


@pytest.mark.parametrize(("pred", "sol", "conditions", "expected"), COMPARED)
def test_results_are_compared(helpers: Helpers, pred: str, sol: str, conditions: Any, expected: int) -> None:
    assert helpers.ex_base([pred], [sol], "db", None, conditions) == expected


def test_the_other_helpers_keep_the_official_conventions(helpers: Helpers) -> None:
    assert helpers.execute_queries(["SELECT 1", "SELECT a FROM t WHERE a = 2"], "db", None) == ([(2,)], False, False)
    _, failed, overdue, message = helpers.execute_queries(["SELECT 1", "SELECT nope"], return_error=True)
    assert (failed, overdue, message) == (True, False, "statement 2: no such column: nope")
    assert helpers.ex_base([], ["SELECT 1"]) == 0
    assert helpers.check_sql_function_usage(["SELECT ROW_NUMBER() OVER ()"], ["over", "row_number"]) == 1
    assert helpers.check_sql_function_usage(["SELECT 1"], ["over"]) == helpers.check_sql_function_usage([], []) == 0
    shown = helpers.preprocess_results([(date(2024, 1, 2), Decimal("1.005"), 2.3456, [1.239], None, "x")])
    assert shown == [("2024-01-02", Decimal("1.01"), 2.35, "[1.24]", None, "x")]
    run = helpers.namespace()["perform_query_on_sqlite_databases"]
    assert run("SELECT COUNT(*) FROM t", "db", conn=None)[0] == [(3,)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        run("SELECT * FROM nope", "db")


def test_cost_is_compared_and_changes_are_taken_back(helpers: Helpers) -> None:
    helpers.execute_queries(
        [
            "CREATE TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 500) SELECT i FROM n"
        ]
    )
    slow, fast = ["SELECT * FROM n WHERE i = 7"], ["CREATE INDEX x ON n (i)", "SELECT * FROM n WHERE i = 7"]
    assert helpers.performance_compare_by_qep(slow, fast, "db", None) == 1
    assert helpers.performance_compare_by_qep(fast, slow, "db", None) == 0
    assert helpers.performance_compare_by_qep(slow, slow, "db", None) == 0
    assert helpers.performance_compare_by_qep(fast, ["WITH w AS (SELECT * FROM n) SELECT SUM(i) FROM w"]) == 0
    assert helpers.execute_queries(["SELECT COUNT(*) FROM sqlite_master WHERE name = 'x'"])[0] == [(0,)]


# --- verdicts ---------------------------------------------------------------------------------------------------------

KEEPS = {"sol_sql": ["DELETE FROM t WHERE a > 2"], "test_cases": [TWO], "issue_sql": ["DELETE FROM t"]}
DEFERRED = [
    "PRAGMA foreign_keys = ON",
    "CREATE TABLE p (x INTEGER PRIMARY KEY)",
    "CREATE TABLE q (x REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    "BEGIN",
    "INSERT INTO q VALUES (1)",
]
CHEAPER = {
    "issue_sql": "SELECT DISTINCT x.a FROM t x, t y, t z, t w",
    "efficiency": True,
    "test_cases": "def test_case(old, new, *_): assert performance_compare_by_qep(old, new) == 1",
}
RAISES = {
    "test_cases": """
import os, time

class Mute(Exception):
    def __str__(self):
        raise ValueError

def speak(text, often=1):  # on every pipe: one of them carries the verdict
    for _ in range(often):
        for fd in range(3, 20):
            try:
                os.write(fd, text)
            except OSError:
                pass
        time.sleep(0.001)
    return AssertionError("nobody listens")

def test_case(pred_sqls, *_):
    if pred_sqls != ["SELECT a FROM t"]:
        raise eval(pred_sqls[0].partition("--")[2])
"""
}
VERDICTS = [
    ({}, ["SELECT a FROM t"], "pass", ""),
    ({}, ["SELECT DISTINCT a -- all of them\nFROM t"], "pass", ""),
    ({}, ["SELECT b FROM t"], "fail", "test 1: the results are not equal"),
    ({}, ["SELECT a FROM t WHERE 0"], "fail", "not equal"),
    ({}, ["SELEC 1"], "error", "syntax error"),
    ({}, ["CREATE TABLE u (x)", "SELECT * FROM nope"], "error", "statement 2: no such table: nope"),
    ({}, ["CREATE TABLE u (x)", "SELECT a FROM t"], "fail", "not equal"),  # run twice, by the default test as well
    ({}, [], "missing", "no prediction"),
    ({}, [" "], "missing", "no prediction"),
    (KEEPS, ["DELETE FROM t WHERE a = 3"], "pass", ""),
    (KEEPS, ["DROP TABLE t"], "fail", "test 1: other rows"),
    (KEEPS, ["BEGIN", "DELETE FROM t", "ROLLBACK"], "pass", ""),
    ({}, ["DELETE FROM t", "INSERT INTO t VALUES (9, 9)", "SELECT 9"], "fail", "not equal"),  # nor is the solution then
    ({}, ["CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 9 AS a", "SELECT 9"], "fail", "not equal"),
    ({"sol_sql": ["BEGIN", "SELECT a FROM t", "COMMIT", "SELECT a FROM t"]}, ["SELECT a FROM t"], "pass", ""),
    ({"sol_sql": "SELECT ROUND(a + b, 1) * 2 FROM t"}, ["SELECT (a + b) * 2 FROM t"], "pass", ""),
    ({"sol_sql": "SELECT -ROUND(-b, 1) FROM t"}, ["SELECT b FROM t"], "pass", ""),
    ({}, ["SELECT a FROM t WHERE " + "(" * 90 + "1" + ")" * 90], "pass", ""),  # deeper than sqlglot goes
    ({}, ["SELECT a FROM t\0 nonsense"], "error", "NUL"),
    ({}, ["SELECT '\ud800'"], "error", "surrogate"),
    ({}, ["SELECT a FROM t --" + "x" * 200_000], "error", "longer than"),
    ({}, DEFERRED, "error", "statement 5: FOREIGN KEY constraint failed"),
    (CHEAPER, ["/* cheap */ SELECT DISTINCT x.a FROM t x, t y, t z, t w, t v, t u, t s"], "fail", ""),
    (CHEAPER, ["BEGIN", "SELECT a FROM t", "COMMIT"], "pass", ""),
    (RAISES, ["SELECT 1 --KeyboardInterrupt()"], "error", "test 1: KeyboardInterrupt"),
    (RAISES, ["SELECT 1 --BaseException('odd')"], "error", "test 1: BaseException: odd"),
    (RAISES, ["SELECT 1 --MemoryError()"], "crashed", "out of memory"),
    (RAISES, ["SELECT 1 --Mute()"], "error", "Mute: an error without a message"),
    (RAISES, ["SELECT 1 --AssertionError('half ' + chr(0xD800))"], "fail", "half ?"),
    (RAISES, ["SELECT 1 --speak(b'garbage' + bytes([10]))"], "crashed", "test 1"),
    (RAISES, ["SELECT 1 --speak(b'[1]' + bytes([10]))"], "crashed", "test 1"),
    (RAISES, ["SELECT 1 --speak(b'[' * 100_000 + bytes([10]))"], "crashed", "test 1"),
    (RAISES, ["SELECT 1 --speak(b'x' * 3_000_000)"], "crashed", "test 1"),
    (RAISES, ["SELECT 1 --speak(b'{', 50_000)"], "timeout", "test 1"),
]


def test_verdicts(shop: DatabaseConnections, tmp_path: Path) -> None:
    given = [(f"v{n}", fields, sqls, status, message) for n, (fields, sqls, status, message) in enumerate(VERDICTS)]
    report = score(
        items(*(item(name, **fields) for name, fields, *_ in given)),
        {name: sqls for name, _, sqls, *_ in given},
        shop,
        timeout_s=3,
        workers=2,
        journal=tmp_path / "journal.jsonl",
    )
    report.save(tmp_path / "report.json")
    assert not report.defective
    for (name, _, sqls, status, message), found in zip(given, report.items, strict=True):
        assert (found["instance_id"], found["status"]) == (name, status), (sqls, found)
        assert message in found["message"], found


DEFECTS = [
    ({"issue_sql": "SELECT DISTINCT a FROM t"}, "the issue's own SQL passes"),
    ({"sol_sql": "SELECT a FROM t WHERE 0"}, "the solution does not pass (fail)"),
    ({"sol_sql": "SELECT nope"}, "the solution does not pass (error): no such column: nope"),
    (
        {"sol_sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n WHERE i = 2"},
        "(timeout)",
    ),
    ({"test_cases": "import os\ndef test_case(*_): os._exit(3)"}, "(crashed): test 1: exit code 3"),
    ({"test_cases": "x = 1"}, "(error): test 1: NameError: the code defines no function test_case"),
    ({"test_cases": "def test_case(:"}, "(error): test 1: SyntaxError"),
    (
        {"preprocess_sql": ["SELECT 1", "DROP TABLE nope"]},
        "preprocess_sql fails (error): statement 2: no such table: nope",
    ),
    ({"db_id": "stop"}, "no database 'stop' in the connections"),
    ({"dialect": "MySQL"}, "it is written for MySQL, the connections are sqlite"),
]


def test_defective_items_are_named_with_the_reason_and_judge_nobody(shop: DatabaseConnections) -> None:
    broken = [item(f"d{n}", **fields) for n, (fields, _) in enumerate(DEFECTS)]
    given = items(item("sound"), *broken)
    report = score(given, baseline(given, "solution"), shop, timeout_s=1, workers=2)
    assert statuses(report)["sound"] == "pass"
    assert (report.success_rate.n, report.success_rate.value) == (1, 1)
    assert [d["instance_id"] for d in report.defective] == [f"d{n}" for n in range(len(DEFECTS))]
    for defect, (_, reason) in zip(report.defective, DEFECTS, strict=True):
        assert reason in defect["reason"], defect


ODD = """
import os

def test_case(pred_sqls, sol_sqls, db_name, conn, conditions):
    assert conditions == {"order": False}
    assert os.path.basename(db_name) == "shop.sqlite"
    assert conn.execute("SELECT COUNT(*) FROM t").fetchone() == (2,)
    if pred_sqls == ["SELECT 7"]:
        os._exit(0)
    while pred_sqls == ["SELECT 8"]:
        pass
    if pred_sqls == ["SELECT 9"]:
        raise SystemExit(0)
    assert pred_query_result == [(3,)], pred_query_result
"""


def test_a_prediction_on_which_a_test_dies_is_wrong_and_the_run_goes_on(shop: DatabaseConnections) -> None:
    names = {"7": "crashed", "8": "timeout", "9": "error", "3": "pass", "4": "fail"}
    sound = {"sol_sql": "SELECT 3", "issue_sql": "SELECT 5", "test_cases": ODD, "conditions": {"order": False}}
    given = items(*(item(name, **sound) for name in names))
    started = time.monotonic()
    report = score(given, {name: [f"SELECT {name}"] for name in names}, shop, timeout_s=1)
    assert statuses(report) == names
    assert time.monotonic() - started < 10


def test_efficiency_compares_the_issue_with_the_prediction(shop: DatabaseConnections) -> None:
    test = "def test_case(old, new, *_): assert (old, new[0]) == (['SELECT 5'], 'SELECT 6'), new"
    fields = {"sol_sql": "SELECT 6", "issue_sql": "SELECT 5", "test_cases": test, "efficiency": True}
    report = score(items(item(**fields)), {"i": ["SELECT 6", "SELECT 4"]}, shop, timeout_s=3)
    assert statuses(report) == {"i": "pass"}


def test_what_one_item_does_the_next_does_not_see(shop: DatabaseConnections) -> None:
    """Neither the prediction's changes nor the preparations, although one file and one process pool serve both."""
    wreck = {"preprocess_sql": "CREATE TABLE mark (x)", "test_cases": "def test_case(*_): pass"}
    fresh = {
        "test_cases": [
            TWO,
            "def test_case(p, *_): assert execute_queries(['SELECT * FROM mark'])[1] and p == ['SELECT 1']",
        ],
        "sol_sql": "SELECT 1",
    }
    given = items(item("1", **wreck), item("2", **fresh))
    predictions = {"1": ["DELETE FROM t", "DROP TABLE t"], "2": ["SELECT 1"]}
    assert statuses(score(given, predictions, shop, timeout_s=3)) == {"1": "pass", "2": "pass"}


def test_a_missing_prediction_stays_in_the_denominator(shop: DatabaseConnections, tmp_path: Path) -> None:
    given = items(item("a"), item("b"), item("c", category="Management"), item("d", issue_sql="SELECT a FROM t"))
    report = score(given, {"a": ["SELECT a FROM t"], "d": ["SELECT a FROM t"]}, shop, timeout_s=3)
    assert (report.success_rate.successes, report.success_rate.n) == (1, 3)
    table = report.by_category()
    assert table["n"].to_dict() == {"Query": 2, "Management": 1}
    assert table["passed"].to_dict() == {"Query": 1, "Management": 0}
    assert (table["low"] <= table["rate"]).all()
    assert table.loc["Management", "high"] < 1
    saved = json.loads(report.save(tmp_path / "r.json").read_text())
    assert saved["success_rate"]["n"] == 3
    assert saved["statuses"] == {"pass": 1, "missing": 2}
    assert [d["instance_id"] for d in saved["defective"]] == ["d"]
    assert "1 defective" in repr(report)


def test_predictions_for_no_item_are_refused(shop: DatabaseConnections) -> None:
    with pytest.raises(EvaluationError, match="for no item: b"):
        score(items(item("a")), {"b": ["SELECT 1"]}, shop)


# --- resuming and the command line ------------------------------------------------------------------------------------


def command(folder: Path, *more: str) -> list[str]:
    flags = {"items_path": "items.jsonl", "pred_path": "pred.jsonl", "db_conn_path": "db_conn.json"}
    return ["bird-critic", *(x for k, v in flags.items() for x in (f"--{k}", str(folder / v))), *more]


@pytest.fixture
def work(tmp_path: Path, shop: DatabaseConnections) -> Path:
    connections = {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}}
    (tmp_path / "db_conn.json").write_text(json.dumps(connections))
    slow = "import time\ndef test_case(*_): time.sleep(0.3)"
    write(tmp_path / "items.jsonl", *(item(f"i{n}", test_cases=slow) for n in range(6)))
    write(tmp_path / "pred.jsonl", *({"instance_id": f"i{n}", "pred_sqls": f"SELECT {n}"} for n in range(5)))
    return tmp_path


def told(folder: Path) -> Any:
    report = json.loads((folder / "report.json").read_text())
    return report["success_rate"], [{k: v for k, v in i.items() if k != "seconds"} for i in report["items"]]


def test_a_killed_run_goes_on_where_it_was_and_says_the_same(work: Path) -> None:
    run = [sys.executable, "-m", "askguru_lib.cli"]
    journal = work / "killed" / "journal.jsonl"
    first = subprocess.Popen(
        [*run, *command(work, "--output_dir", str(work / "killed"))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not (journal.exists() and journal.read_text().count("\n") >= 5):
            assert first.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with journal.open("a") as file:
        file.write('{"key": "torn')
    kept = journal.read_text().splitlines()[:-1]
    assert not (work / "killed" / "report.json").exists()
    for name in ("killed", "unbroken"):
        with pytest.raises(SystemExit) as done:
            cli.main(command(work, "--output_dir", str(work / name), "--workers", "2"))
        assert not done.value.code
    lines = journal.read_text().splitlines()
    assert lines[: len(kept)] == kept
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) == 6 * 2 + 5
    assert told(work / "killed") == told(work / "unbroken")
    assert told(work / "killed")[0]["successes"] == 5


def test_verdicts_are_taken_over_for_the_same_item_and_statements_only(
    shop: DatabaseConnections, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"

    def judged(record: dict[str, Any], sql: str, **more: Any) -> int:
        before = journal.read_text().count("\n") if journal.exists() else 0
        score(items(record), {"i": [sql]}, shop, **{"timeout_s": 3.0, "journal": journal, **more})
        return journal.read_text().count("\n") - before

    assert judged(item(), "SELECT 1") == 3
    assert judged(item(), "SELECT 1") == 0
    assert judged(item(), "SELECT 2") == 1
    assert judged(item(sol_sql=["SELECT a FROM t WHERE 1"]), "SELECT 2") == 3
    assert judged(item(), "SELECT 1", timeout_s=2.0) == 3
    os.utime(str(shop.path("shop")), (1, 1))
    assert judged(item(), "SELECT 1") == 3
    assert judged(item(), "SELECT 1", resume=False) < 0  # begun anew


def test_numbers_are_compared_by_value(helpers: Helpers) -> None:
    decimals = [(Decimal("1e30"), Decimal("12345678901234567891"), Decimal("NaN"), ([1],), Decimal("2.5"))]
    others = [(10**30, 12345678901234567891, float("nan"), ([1],), 2.5)]
    assert helpers.alike(decimals, others) == helpers.alike(others, [tuple(others[0])]) == 1
    assert helpers.alike([(Decimal("12345678901234567891"),)], [(12345678901234567890,)]) == 0


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


def test_a_time_out_or_a_crash_is_not_remembered(shop: DatabaseConnections, tmp_path: Path) -> None:
    """The next time the machine may be less busy; a test that fails because of a time-out is one."""
    within = f"def test_case(p, *_): assert p != ['SELECT 8'] or execute_queries(['{SLOW}'])[0]"
    given = items(
        item("time"),
        item("test", test_cases=[within]),
        item("dies", test_cases="import os\ndef test_case(p, *_): p == ['SELECT 7'] and os._exit(3)"),
        item("mend", preprocess_sql=[SLOW]),
    )
    predictions = {"time": [SLOW], "test": ["SELECT 8"], "dies": ["SELECT 7"], "mend": ["SELECT 1"]}
    journal = tmp_path / "journal.jsonl"
    found = statuses(score(given, predictions, shop, timeout_s=1, workers=2, journal=journal))
    assert found.pop("mend").startswith("defective: preprocess_sql fails (timeout): ")
    assert found == {"time": "timeout", "test": "timeout", "dies": "crashed"}
    assert {json.loads(line)["status"] for line in journal.read_text().splitlines()} == {"pass", "error"}


def test_what_belongs_to_the_item_is_never_charged_to_the_prediction(
    shop: DatabaseConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preparation that ran for the solution and fails when it is the prediction's turn judges nobody."""
    true = bird_critic.run_isolated

    def flaky(module: str, task: dict[str, Any], folder: Path, phase_s: float) -> Any:
        late = {"preprocess_sql": [SLOW]} if task["pred_sqls"] == ["SELECT 1"] else {}
        return true(module, {**task, **late}, folder, phase_s)

    monkeypatch.setattr(bird_critic, "run_isolated", flaky)
    report = score(items(item("a"), item("b")), {"a": ["SELECT 1"], "b": ["SELECT 2"]}, shop, timeout_s=1)
    assert statuses(report)["a"].startswith("defective: preprocess_sql fails (timeout)")
    assert report.success_rate.n == 1


def test_a_list_of_statements_has_a_bounded_time(shop: DatabaseConnections) -> None:
    started = time.monotonic()
    slow = SLOW.replace("FROM n)", "FROM n WHERE i < 400000)")
    assert statuses(score(items(item("a")), {"a": [slow] * 2000}, shop, timeout_s=0.5)) == {"a": "timeout"}
    assert time.monotonic() - started < 30


def test_a_change_in_the_log_of_the_database_is_a_change(shop: DatabaseConnections, tmp_path: Path) -> None:
    given, predictions = items(item("a")), {"a": ["SELECT 1 UNION SELECT 2"]}
    with closing(sqlite3.connect(str(shop.path("shop")))) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for change, status in (("DELETE FROM t WHERE a = 3", "pass"), ("INSERT INTO t VALUES (3, 3)", "fail")):
            db.execute(change)
            db.commit()
            found = score(given, predictions, shop, timeout_s=3, journal=tmp_path / "journal.jsonl")
            assert statuses(found) == {"a": status}
        db.execute("DELETE FROM t WHERE a = 3")
        db.commit()


def test_the_command_judges_names_defects_and_saves(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work / "items.jsonl", item("good"), item("worse"), item("broken", issue_sql="SELECT a FROM t"))
    out = ["--output_dir", str(work / "out"), "--timeout-s", "3"]
    for given, rate in (("solution", "100.0 %"), ("issue", "0.0 %")):
        with pytest.raises(SystemExit) as done:
            cli.main([*command(work), *out, "--pred_path", given])
        said = capsys.readouterr()
        assert not done.value.code
        assert f"success  {rate}" in said.out
        assert "Query: " in said.out
        assert "defective: broken: the issue's own SQL passes" in said.err
    assert "worse: error: no such column: nope" in said.out
    assert json.loads((work / "out" / "report.json").read_text())["statuses"] == {"error": 2}
    write(work / "pred.jsonl", {"instance_id": "nobody", "pred_sqls": "SELECT 1"})
    with pytest.raises(SystemExit) as done:
        cli.main([*command(work), *out])
    assert done.value.code == EvaluationError.exit_code
    assert "for no item: nobody" in capsys.readouterr().err


def test_a_server_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    settings = {"dialect": "postgresql", "host": str(tmp_path), "user": "u", "databases": {"shop": "shop"}}
    (tmp_path / "db_conn.json").write_text(json.dumps(settings))
    with pytest.raises(AskGuruError, match="cannot copy the database"):
        score(items(item()), {}, load_connections(tmp_path / "db_conn.json"))
