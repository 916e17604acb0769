"""What hand-written training questions are worth: the same training without the targets' second bank.

    python benchmarks/bench_training_bank.py [--run runs/tiny] [--out training_bank.json]

Reads a finished run (chapters 03 to 07). Its training questions are assembled and trained on once more, as many samples
by the same recipe, less what ``samples.training_bank`` brought: synthesised questions take its place. Both adapters are
asked the test set of the targets, greedily and without schema constraint; execution accuracy with 95 % Wilson
intervals, and the difference on the same questions.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import measure

from askguru_lib.config import RunConfig
from askguru_lib.data.assembly import assemble_dataset
from askguru_lib.data.files import read_json, read_records, write_json, write_jsonl
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.evaluation.evaluate import Evaluation, compare, evaluate
from askguru_lib.inference import Generator, load_model
from askguru_lib.inference.predictions import question_prompt
from askguru_lib.training import sft


def without_bank(run: Path, folder: Path, targets: list[str]) -> Path:
    """The run's sources of training samples, less every sample on a question of a training bank."""
    asked = {item["question"] for name in targets for item in samples.training_bank(name)}
    listing = read_json(run / "training" / "datasets.json")
    for name, entry in listing.items():
        kept = [r for r in read_records(run / "training" / entry["data_path"]) if r["question"] not in asked]
        entry |= {"data_path": f"{name}.jsonl", "sum_num": None, "sample_num": None}
        write_jsonl(folder / entry["data_path"], kept)
    return write_json(folder / "datasets.json", listing)


def answers(adapter: Path, tests: list[dict[str, Any]], config: RunConfig) -> list[dict[str, Any]]:
    generator = Generator(*load_model(config.model.name_or_path, adapter, config), config)
    found = generator.generate([question_prompt(record, config) for record in tests])
    return [{"id": record["id"], "sql": answer.sql} for record, [answer] in zip(tests, found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--config", type=Path, default=Path("params/tiny.yaml"))
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    config = RunConfig.load(args.config)
    tests = read_records(args.run / "processed" / "test_target.jsonl")
    connections = load_connections(args.run / "databases" / "db_conn.json")
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Executor.from_config(connections, config.execution) as executor,
    ):
        here = Path(folder)
        listing = without_bank(args.run, here, config.databases.targets)
        made = assemble_dataset(listing, here / "data", config=config, executor=executor,
                                test_sets=sorted((args.run / "processed").glob("test_*.jsonl")))  # fmt: skip
        less = sft.train(config, made.train, made.validation, here / "model", connections=connections)
        scores = {
            "without the second bank": evaluate(answers(less.adapter, tests, config), tests, executor, config=config),
            "with it": evaluate(answers(args.run / "model" / "adapter", tests, config), tests, executor, config=config),
        }
        for origin in ("bank", "synthesised"):
            parts = {
                name: Evaluation([i for i in score.items if i["source"] == origin], confidence=score.confidence)
                for name, score in scores.items()
            }
            gap = compare(*parts.values())
            rows.append(
                {"questions": "hand-written" if origin == "bank" else origin}
                | {name: repr(part.ex) for name, part in parts.items()}
                | {"points": f"{100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"}
            )
    measure.report(rows, args.out)


if __name__ == "__main__":
    main()
