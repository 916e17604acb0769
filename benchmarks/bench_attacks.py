"""Attacks of tests/attacks.yaml on every engine at hand: outcome and milliseconds of each, and a summary per engine.

    python benchmarks/bench_attacks.py [--table benchmarks/attacks.md] [--timeout 0.6]

Each attack runs once, on one worker, with 256 MiB; it must end within the time-out and one second more. Unharmed means
that the content is what it was, no file was written, no query goes on at the server, and the next one is answered.
DuckDB and SQLite are always at hand, PostgreSQL comes from a wheel, MariaDB only where a server is installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import attacks
import measure

from askguru_lib.databases.executor import Executor


def attack(engine: str, timeout_s: float) -> list[dict[str, Any]]:
    """One row per attack on ``engine``."""
    rows = []
    with (
        attacks.victim(engine) as victim,
        Executor(victim.connections, timeout_s=timeout_s, max_rows=100, memory_mb=256, workers=1) as executor,
    ):
        executor.run("t", attacks.HONEST)
        before = victim.digest()
        for one in attacks.load(engine):
            began = time.perf_counter()
            outcome = attacks.outcome(executor.run("t", one.sql))
            spent = time.perf_counter() - began
            unharmed = executor.run("t", f"{attacks.HONEST} -- {one.name}").rows == attacks.ANSWER
            unharmed = unharmed and victim.digest() == before and not attacks.stolen() and not victim.running()
            row = {"engine": engine, "group": one.group, "attack": one.name, "outcome": outcome}
            rows.append(row | {"ms": round(1000 * spent), "expected": outcome in one.kinds, "unharmed": unharmed})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=0.6)
    parser.add_argument("--table", type=Path, help="write the table of attacks as Markdown")
    parser.add_argument("--out", type=Path, help="write the summary as JSON")
    args = parser.parse_args()
    rows = [row for engine in attacks.ENGINES if not attacks.missing(engine) for row in attack(engine, args.timeout)]
    table = pd.DataFrame(rows)
    table["cell"] = table["outcome"] + ", " + table["ms"].astype(str) + " ms"
    wide = table.pivot_table(index=["group", "attack"], columns="engine", values="cell", aggfunc="first", sort=False)
    if args.table:
        head = ["group", "attack", *wide.columns]
        lines = [head, ["---"] * len(head), *([*name, *row] for name, row in zip(wide.index, wide.values, strict=True))]
        text = "\n".join("| " + " | ".join("" if cell != cell else str(cell) for cell in line) + " |" for line in lines)
        args.table.write_text(f"# Attacks, their outcomes and times\n\n{text}\n", encoding="utf-8")
    else:
        print(wide.fillna("").to_string())
    summary = [
        {
            "engine": engine,
            "attacks": len(mine),
            "as expected": int(mine["expected"].sum()),
            "unharmed after": int(mine["unharmed"].sum()),
            "median_ms": median(mine["ms"]),
            "longest_ms": int(mine["ms"].max()),
        }
        for engine, mine in table.groupby("engine", sort=False)
    ]
    measure.report(summary, args.out)
    sys.exit(not (table["expected"] & table["unharmed"]).all())


if __name__ == "__main__":
    main()
