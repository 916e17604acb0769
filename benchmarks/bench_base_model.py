"""How well the small base model answers on databases that serve for training only, none of which it has seen.

    python benchmarks/bench_base_model.py [--model models/askguru-tiny] [--names library hr] [--questions 40]

Execution accuracy with 95 % Wilson intervals of synthesised questions, greedy and constrained to the schema, and of the
hand-written ones with ``--written``. With ``--phrasings`` those of ``phrasings.json`` as well: simple queries, asked as
168 different people might, by a writer who knew neither the question grammar nor the banks. Whoever works on the
grammar reads the open half only; the blind half says whether that helped in general. The model card's figures come from
here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import torch

from askguru_lib.config import RunConfig
from askguru_lib.data.synthesis import synthesize
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.samples import bank, build_all
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex
from askguru_lib.evaluation.evaluate import evaluate
from askguru_lib.inference import Generator, load_model
from askguru_lib.inference.predictions import question_prompt, schemas_of

PHRASINGS = Path(__file__).with_name("phrasings.json")
TRAINING = ("library", "retail", "university", "music", "property", "hr", "energy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/askguru-tiny")
    parser.add_argument("--names", nargs="*", default=list(TRAINING), help="databases")
    parser.add_argument("--questions", type=int, default=40, help="synthesised ones per database")
    parser.add_argument("--written", action="store_true", help="the hand-written ones, too")
    parser.add_argument("--phrasings", action="store_true", help="those of phrasings.json, open and blind half")
    parser.add_argument(
        "--engine", default="sqlite", help="sqlite, duckdb or postgresql; the latter two synthesised only"
    )
    parser.add_argument("--no-links", action="store_true", help="prompts without schema links")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = RunConfig.build({"inference": {"batch_size": 20}, "model": {"schema_links": not args.no_links}})
    generator = Generator(*load_model(args.model, None, config), config)
    sets: dict[str, list[dict[str, Any]]] = {"synthesised": [], "hand-written": [], "phrased, open half": [],
                                             "phrased, blind half": []}  # fmt: skip
    phrased = json.loads(PHRASINGS.read_text(encoding="utf-8")) if args.phrasings else []
    results = []
    with tempfile.TemporaryDirectory() as folder:
        connections = load_connections(build_all(Path(folder), tuple(args.names), args.engine))
        with Executor.from_config(connections, config.execution) as executor:
            for name in args.names:
                engine = SchemaEngine(engine=connections.engine(name), db_name=name)
                schema, values = engine.mschema, ValueIndex.read(engine, config.schema_.max_values)

                def run(queries: list[str], name: str = name) -> list[Any]:
                    return executor.run_many([(name, sql) for sql in queries])

                drawn = synthesize(schema, n=args.questions, seed=args.seed, execute=run, dialect=args.engine)
                raw = {"synthesised": drawn} | ({"hand-written": bank(name)} if args.written else {})
                for part in ("open", "blind"):
                    found = [p for p in phrased if p["part"] == part and p["db_id"] == name]
                    raw[f"phrased, {part} half"] = found
                for kind, items in raw.items():
                    sets[kind] += [
                        {"id": f"{name}/{i}", "db_name": name, "question": item["question"], "sql_type": args.engine,
                         "evidence": item.get("evidence") or "", "db_schema": schema.to_mschema(), "sql": item["SQL"],
                         "values": values.mentioned(f"{item['question']}\n{item.get('evidence') or ''}")}
                        for i, item in enumerate(items)
                    ]  # fmt: skip
            for kind, records in sets.items():
                for way, schemas in (("greedy", None), ("constrained", schemas_of(records))) if records else ():
                    began = time.perf_counter()
                    found = generator.generate([question_prompt(r, config) for r in records], schemas=schemas)
                    spent = time.perf_counter() - began
                    lines = [{"id": r["id"], "sql": a.sql} for r, [a] in zip(records, found, strict=True)]
                    score = evaluate(lines, records, executor, config=config).ex
                    results.append({"questions": kind, "decoding": way, "EX": repr(score), "seconds": round(spent, 1)})
    measure.report(results, args.out)


if __name__ == "__main__":
    main()
