"""Synthesis: how long 5,000 executed question/SQL pairs from one database take, and how many the grammar has.

    python benchmarks/bench_synthesis.py [--databases retail plant] [--pairs 5000]

The goal: 5,000 pairs from one database in two minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import measure

from askguru_lib.data.synthesis import synthesize
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.schema_engine import SchemaEngine


def draw(folder: str, db: str, pairs: int) -> dict[str, Any]:
    connections = load_connections(Path(folder) / "db_conn.json")
    about = SchemaEngine(connections.engine(db), db, max_examples=40)
    with Executor(connections, timeout_s=3) as executor:

        def execute(queries: list[str]) -> Any:
            return executor.run_many([(db, sql) for sql in queries])

        drawn = synthesize(about.mschema, pairs, 7, execute=execute, meanings=about.meanings)
    levels = Counter(pair["difficulty"] for pair in drawn)
    return {"database": db, "pairs": len(drawn), "patterns": len({p["pattern"] for p in drawn}), **levels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", default=["retail", "plant"], choices=samples.NAMES)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples.build_all(folder, args.databases)
        measure.report([measure.alone(draw, folder, db, args.pairs) for db in args.databases], args.out)


if __name__ == "__main__":
    main()
