"""What an adapter's strength gives back and costs, on questions that are in no test set.

    python benchmarks/bench_strength.py [--run runs/tiny] [--questions 200]

Reads a finished run (chapters 03 to 07, or ``askguru train``): its trained correction is added to the base at every
strength, 0 being the base itself. *Own* questions are training questions on the targets that assembly left over;
*others* are asked on databases drawn at random, which neither the adapter nor its base has seen. Greedy, without schema
constraint; execution accuracy with 95 % Wilson intervals.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import measure

from askguru_lib.config import RunConfig
from askguru_lib.data.files import read_records, write_json
from askguru_lib.data.grammar import Grammar
from askguru_lib.data.trees import render
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.values import ValueIndex
from askguru_lib.evaluation.evaluate import evaluate
from askguru_lib.inference import Generator, load_model
from askguru_lib.inference.predictions import question_prompt
from askguru_lib.training.corpus import PaperDatabase
from askguru_lib.training.merging import set_strength
from askguru_lib.training.random_schemas import random_database

TABLES, COLUMNS, EACH = (3, 7), 9, 5


def on_random_databases(folder: Path, count: int, seed: int) -> tuple[list[dict[str, Any]], Path]:
    """``count`` questions, :data:`EACH` on one database drawn at random, and these databases' connection file."""
    records: list[dict[str, Any]] = []
    databases: dict[str, str] = {}
    while len(records) < count:
        name = f"random{len(databases)}"
        rng = random.Random(f"{seed}/{name}")
        drawn = random_database(rng, TABLES, COLUMNS)
        with closing(sqlite3.connect(folder / f"{name}.sqlite")) as file:
            PaperDatabase(drawn.schema).connection.backup(file)
        databases[name] = f"{name}.sqlite"
        grammar, text = Grammar(drawn.schema, rng, drawn.meanings), drawn.schema.to_mschema(example_num=2)
        values = ValueIndex((c.table, c.name, v) for t in grammar.tables.values() for c in t.columns for v in c.values)
        for pair in [pair for _ in range(20 * EACH) if (pair := grammar.draw())][:EACH]:
            said = values.mentioned(f"{pair.question}\n{pair.evidence}")
            records.append({"id": f"{name}/{len(records)}", "db_name": name, "question": pair.question, "values": said,
                            "evidence": pair.evidence, "sql": render(pair.tree), "db_schema": text,
                            "sql_type": "sqlite"})  # fmt: skip
    return records[:count], write_json(folder / "db_conn.json", {"dialect": "sqlite", "databases": databases})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--config", type=Path, default=Path("params/tiny.yaml"))
    parser.add_argument("--strengths", type=float, nargs="*", default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--questions", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    config = RunConfig.load(args.config)
    learnt = {r["question"] for r in read_records(args.run / "training" / "train.jsonl")}
    pool = read_records(args.run / "processed" / "train.jsonl")
    left = [r for r in pool if r["db_name"] in config.databases.targets and r["question"] not in learnt]
    own = random.Random(args.seed).sample(left, min(args.questions, len(left)))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        others, drawn = on_random_databases(Path(folder), args.questions, args.seed)
        kinds = {"own": (own, args.run / "databases" / "db_conn.json"), "others": (others, drawn)}
        for strength in args.strengths:
            adapter = Path(copytree(args.run / "model" / "adapter", Path(folder) / str(strength)))
            set_strength(adapter, strength, now=config.lora.strength)
            generator = Generator(*load_model(config.model.name_or_path, adapter, config), config)
            row: dict[str, Any] = {"strength": strength}
            for kind, (records, listing) in kinds.items():
                found = generator.generate([question_prompt(r, config) for r in records])
                lines = [{"id": r["id"], "sql": a.sql} for r, [a] in zip(records, found, strict=True)]
                with Executor.from_config(load_connections(listing), config.execution) as executor:
                    row[kind] = repr(evaluate(lines, records, executor, config=config).ex)
            rows.append(row)
    measure.report(rows, args.out)


if __name__ == "__main__":
    main()
