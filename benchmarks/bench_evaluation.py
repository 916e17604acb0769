"""Evaluation: 1,000 prediction/gold pairs against the usual way of scoring them, and one very large comparison.

    python benchmarks/bench_evaluation.py [--pairs 1000] [--rows 1000000] [--scale 1]

The usual way, written here as a baseline: a pool of two processes, a new connection per query, a thread that is waited
for until its time-out, gold and prediction both run, results compared as sets. It does not isolate, does not stop a
query, and knows one comparator. Ours runs twice: the first time with an empty store of results, the second time with
the predictions of another system, when gold is in the store. Predictions that would run out of time are left out: both
ways wait for those equally long. ``--scale`` copies every table's rows that many times, for databases on which running
a query costs more than asking for it. The goals: at least five times the baseline's throughput, and a million rows of
five columns compared with less than 400 MB beyond the two results.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import measure

from askguru_lib.data.mutations import corrupt
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.databases.result_store import ResultStore
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.evaluation.evaluate import evaluate
from askguru_lib.evaluation.matching import ex

Pair = tuple[str, str, str]


def pairs(folder: str, n: int, seed: int) -> list[Pair]:
    """``(database, gold, prediction)``: half of the predictions are the gold, half are gold with one place broken."""
    connections, rng, found = load_connections(Path(folder) / "db_conn.json"), random.Random(seed), []
    for name in samples.NAMES:
        schema = SchemaEngine(connections.engine(name), name).mschema
        for record in samples.bank(name):
            broken = corrupt(record["SQL"], schema, rng)
            found.append((name, record["SQL"], broken[0] if broken and rng.random() < 0.5 else record["SQL"]))
    with Executor(connections, timeout_s=1) as executor:
        results = executor.run_many([(db, sql) for db, _, sql in found])
    connections.dispose()
    quick = [p for p, r in zip(found, results, strict=True) if not r.failure or r.failure.kind != "timeout"]
    rng.shuffle(quick)
    return list(islice(cycle(quick), n))


def enlarge(folder: str, scale: int) -> None:
    """Every table's rows ``scale`` times, without keys: what is measured is the time of queries, not their answers."""
    for path in Path(folder).glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as db:
            tables = [t for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                db.execute(f'CREATE TABLE bench_copy AS SELECT * FROM "{table}"')
                db.execute(f'DROP TABLE "{table}"')
                db.execute(f'ALTER TABLE bench_copy RENAME TO "{table}"')
                rows = db.execute(f'SELECT * FROM "{table}"').fetchall()
                marks = ", ".join("?" * len(rows[0])) if rows else ""
                db.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows * (scale - 1))
            db.commit()


def ours(folder: str, asked: list[Pair], what: str) -> dict[str, Any]:
    test_set = [{"id": i, "db_name": db, "question": "", "sql": gold} for i, (db, gold, _) in enumerate(asked)]
    answers = [{"id": i, "sql": pred} for i, (_, _, pred) in enumerate(asked)]
    with (
        ResultStore(Path(folder) / "results.sqlite") as store,
        Executor(load_connections(Path(folder) / "db_conn.json"), timeout_s=5, store=store) as executor,
    ):
        scores = evaluate(answers, test_set, executor)
    return {"what": what, "pairs": len(asked), "right": scores.ex.successes, "from store": store.hits}


def naive(folder: str, asked: list[Pair]) -> dict[str, Any]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:  # starts at no cost
        right = sum(pool.map(_judge, [(folder, *pair) for pair in asked]))
    return {"what": "baseline: one comparator, unprotected", "pairs": len(asked), "right": right}


def _judge(pair: tuple[str, str, str, str]) -> bool:
    folder, db, gold, pred = pair
    found = [_run(f"{folder}/{db}.sqlite", sql) for sql in (pred, gold)]
    return found[0] is not None and found[0] == found[1]


def _run(path: str, sql: str, timeout_s: float = 5) -> set[Any] | None:
    box: list[set[Any]] = []

    def work() -> None:
        try:
            with closing(sqlite3.connect(path)) as db:
                box.append(set(db.execute(sql).fetchall()))
        except sqlite3.Error:
            pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return box[0] if box else None


def large(rows: int) -> dict[str, Any]:
    """Two results of equal contents in another order of rows and columns."""
    rng = random.Random(2)
    gold = [(i, i % 1000, f"w{i % 500}", i * 0.5, None if i % 7 else "x") for i in range(rows)]
    pred = [(row[3], row[0], row[4], row[2], row[1]) for row in gold]
    rng.shuffle(pred)
    columns = ("a", "b", "c", "d", "e")
    results = Result(columns, tuple(pred)), Result(columns, tuple(gold))
    del pred, gold
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    same = ex(*results, "SELECT a, b, c, d, e FROM t")
    spent = time.perf_counter() - began
    beyond = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    what = f"one comparison of {rows:,} rows × 5: {spent:.1f} s, {beyond:.0f} MB beyond the results"
    return {"what": what, "pairs": 1, "right": int(same)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples.build_all(folder)
        first, second = (pairs(folder, args.pairs, seed) for seed in (1, 2))
        if args.scale > 1:
            enlarge(folder, args.scale)
        rows = [
            measure.alone(naive, folder, second),
            measure.alone(ours, folder, first, "ours: three comparators, isolated, first run"),
            measure.alone(ours, folder, second, "ours: the same golds, another system's predictions"),
        ]
    for row in rows:
        row["pairs_per_s"] = round(row["pairs"] / row["wall_s"])
    rows.append(measure.alone(large, args.rows))
    measure.report(rows, args.out)


if __name__ == "__main__":
    main()
