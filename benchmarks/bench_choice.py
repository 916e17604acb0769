"""How much the critic's check brings, and how strong it should be, on questions that are in no test set.

    python benchmarks/bench_choice.py [--run runs/tiny] [--questions 100]

Reads a finished run (chapters 03 to 07, or ``askguru train``) and has its adapter write candidates for training
questions that assembly left over: synthesised ones on the targets, and hand-written ones on any database. *Random*
questions are asked on databases drawn at random, which neither the adapter nor its base has seen, and only those whose
gold returns rows. Execution accuracy of the first candidate, of the vote, of the vote with a check at each penalty, and
of a perfect choice.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

import measure
from bench_strength import on_random_databases

from askguru_lib.config import RunConfig
from askguru_lib.data.files import read_records
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.evaluation.matching import ex
from askguru_lib.evaluation.metrics import Proportion
from askguru_lib.inference import Generator, MultiCandidateInference, SQLCritic, likelihoods, load_model
from askguru_lib.inference.candidates import answer_candidates
from askguru_lib.inference.critic import run_candidates


def choices(
    records: list[dict[str, Any]], generator: Generator, executor: Executor, out: Path, penalties: list[float]
) -> dict[str, Any]:
    """How many questions each way of choosing answers rightly."""
    golds = executor.run_many([(r["db_name"], r["sql"]) for r in records])
    kept = [(r, g) for r, g in zip(records, golds, strict=True) if g.rows]
    asked = [r for r, _ in kept]
    lines = answer_candidates(asked, MultiCandidateInference(generator), out, generator.config, desc=out.stem)
    results = run_candidates(lines, executor)
    items, right = [], []
    for (record, gold), line, found in zip(kept, lines, results, strict=True):
        sqls = [c["sql"] for c in line["candidates"]]
        items.append({**record, "candidates": sqls, "results": found, "weights": likelihoods(line["candidates"])})
        right.append([ex(result, gold, record["sql"]) for result in found])
    row: dict[str, Any] = {"first": sum(good[0] for good in right)}
    for penalty in penalties:
        settings = generator.config.inference.model_copy(update={"coverage_penalty": penalty})
        generator.config = generator.config.model_copy(update={"inference": settings})
        chosen = SQLCritic(generator, enabled=True, reads=False).select_many(items)
        row[f"penalty {penalty:g}"] = sum(good[c.index] for good, c in zip(right, chosen, strict=True))
    row["a perfect choice"] = sum(map(any, right))
    return {name: repr(Proportion(int(count), len(kept))) for name, count in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--config", type=Path, default=Path("params/tiny.yaml"))
    parser.add_argument("--penalties", type=float, nargs="*", default=[0, 1, 2, 3, 5, 8], help="0: the vote alone")
    parser.add_argument("--questions", type=int, default=100, help="of each kind but the hand-written ones")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    config = RunConfig.load(args.config)
    generator = Generator(*load_model(config.model.name_or_path, args.run / "model" / "adapter", config), config)
    learnt = {r["question"] for r in read_records(args.run / "training" / "train.jsonl")}
    pool = read_records(args.run / "processed" / "train.jsonl")
    left = [r for r in pool if r["question"] not in learnt]
    own = [r for r in left if r["db_name"] in config.databases.targets and r["source"] != "bank"]
    own = random.Random(args.seed).sample(own, min(args.questions, len(own)))
    written = [r for r in left if r["source"] == "bank"]
    listing = args.run / "databases" / "db_conn.json"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        others, drawn = on_random_databases(Path(folder), args.questions, args.seed)
        kinds = {"synthesised": (own, listing), "hand-written": (written, listing), "random": (others, drawn)}
        for kind, (records, where) in kinds.items():
            generator.config = config
            with Executor.from_config(load_connections(where), config.execution) as executor:
                path = Path(folder) / f"{kind}.jsonl"
                rows.append({"questions": kind, **choices(records, generator, executor, path, args.penalties)})
    measure.report(rows, args.out)


if __name__ == "__main__":
    main()
