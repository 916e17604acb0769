"""The executor under fire: thousands of mixed queries, some hostile, some of which kill their worker.

    python benchmarks/bench_executor.py [--queries 10000] [--hostile 0.05] [--deadly 0.01]

Every query must come back with an answer of the right kind, honest ones with their rows, and the memory of the process
that asks must stay flat: it is printed after each fifth of the queries.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import measure

from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor

HOSTILE = {
    "DROP TABLE {table}": "denied",
    "DELETE FROM {table}": "denied",
    "SELECT 1; DROP TABLE {table}": "denied",
    "ATTACH '/etc/passwd' AS x": "denied",
    "SELECT load_extension('x')": "denied",
    "PRAGMA query_only = OFF": "denied",
    "SELECT zeroblob(2000000000)": "resource",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n": "timeout",
}
DEADLY = "SELECT replace(hex(zeroblob(200000000)), '0', 'aaaaaaaaaaaaaaaa')"


def under_fire(folder: str, queries: int, hostile: float, deadly: float) -> dict[str, Any]:
    rng = random.Random(3)
    asked: list[tuple[str, str, str]] = []
    for number in range(queries):
        name = rng.choice(samples.NAMES)
        record = rng.choice(samples.bank(name))
        draw = rng.random()
        table = next(iter(samples.definition(name).metadata.tables))
        if draw < deadly:
            asked.append((name, f"{DEADLY} -- {number}", "resource"))
        elif draw < deadly + hostile:
            text, kind = rng.choice(list(HOSTILE.items()))
            asked.append((name, f"{text.format(table=table)} -- {number}", kind))
        else:
            asked.append((name, f"{record['SQL']} -- {number}", "ok"))
    outcome: Counter[str] = Counter()
    memory, wrong, began = [], [], time.perf_counter()
    with Executor(load_connections(Path(folder) / "db_conn.json"), timeout_s=1, memory_mb=256) as executor:
        step = max(queries // 5, 1)
        for start in range(0, queries, step):
            part = asked[start : start + step]
            results = executor.run_many([(db, sql) for db, sql, _ in part])
            for (_, sql, expected), result in zip(part, results, strict=True):
                kind = result.failure.kind if result.failure else "ok"
                outcome[kind] += 1
                if kind != expected:
                    wrong.append((expected, kind, sql[:60]))
            memory.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    print("kinds of answers:", dict(outcome), "\nunexpected:", wrong[:5], "\npeak MB after each part:", memory)
    return {
        "queries": queries,
        "answered": sum(outcome.values()),
        "unexpected": len(wrong),
        "per_s": round(queries / (time.perf_counter() - began)),
        "own_mb_first": memory[0],
        "own_mb_last": memory[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--hostile", type=float, default=0.05, help="share of hostile queries")
    parser.add_argument(
        "--deadly", type=float, default=0.01, help="share of queries that exhaust their worker's memory"
    )
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples.build_all(folder)
        row = measure.alone(under_fire, folder, args.queries, args.hostile, args.deadly)
    measure.report([row], args.out)
    sys.exit(row["unexpected"] > 0 or row["answered"] != args.queries)


if __name__ == "__main__":
    main()
