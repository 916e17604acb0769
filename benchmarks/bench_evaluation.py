"""Evaluation: 1,000 prediction/gold pairs against the usual way of scoring them, and one very large comparison.

    python benchmarks/bench_evaluation.py [--pairs 1000] [--rows 1000000]

The usual way, written here as a baseline: a pool of two processes, a new connection per query, a thread that is waited
for until its time-out, gold and prediction both run, results compared as sets. It does not isolate, does not stop a
query, and knows one comparator. The goals: at least five times its throughput, and a million rows of five columns under
400 MB.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import threading
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
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.evaluation.evaluate import evaluate
from askguru_lib.evaluation.matching import ex

Pair = tuple[str, str, str]


def pairs(folder: str, n: int) -> list[Pair]:
    """``(database, gold, prediction)``: half of the predictions are the gold, half are gold with one place broken."""
    connections, rng, found = load_connections(Path(folder) / "db_conn.json"), random.Random(1), []
    for name in samples.NAMES:
        schema = SchemaEngine(connections.engine(name), name).mschema
        for record in samples.bank(name):
            broken = corrupt(record["SQL"], schema, rng)
            found.append((name, record["SQL"], broken[0] if broken and rng.random() < 0.5 else record["SQL"]))
    connections.dispose()
    rng.shuffle(found)
    return list(islice(cycle(found), n))


def ours(folder: str, n: int) -> dict[str, Any]:
    asked = pairs(folder, n)
    test_set = [{"id": i, "db_name": db, "question": "", "sql": gold} for i, (db, gold, _) in enumerate(asked)]
    answers = [{"id": i, "sql": pred} for i, (_, _, pred) in enumerate(asked)]
    with Executor(load_connections(Path(folder) / "db_conn.json"), timeout_s=5) as executor:
        scores = evaluate(answers, test_set, executor)
    return {"what": "ours: three comparators, isolated", "pairs": n, "right": scores.ex.successes}


def naive(folder: str, n: int) -> dict[str, Any]:
    asked = [(folder, *pair) for pair in pairs(folder, n)]
    with ProcessPoolExecutor(2) as pool:
        right = sum(pool.map(_judge, asked))
    return {"what": "baseline: one comparator, unprotected", "pairs": n, "right": right}


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
    same = ex(Result(columns, tuple(pred)), Result(columns, tuple(gold)), "SELECT a, b, c, d, e FROM t")
    return {"what": f"one comparison of {rows:,} rows × 5", "pairs": 1, "right": int(same)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples.build_all(folder)
        preparing = measure.alone(prepare, folder, args.pairs)
        rows = [preparing, measure.alone(naive, folder, args.pairs), measure.alone(ours, folder, args.pairs)]
    rows.append(measure.alone(large, args.rows))
    for row in rows[1:3]:
        row["pairs_per_s"] = round(row["pairs"] / (row["wall_s"] - preparing["wall_s"]))
    measure.report(rows, args.out)


def prepare(folder: str, n: int) -> dict[str, Any]:
    pairs(folder, n)
    return {"what": "making the pairs, taken off below", "pairs": n}


if __name__ == "__main__":
    main()
