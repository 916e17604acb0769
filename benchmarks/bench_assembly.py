"""Assembly of 50,000 samples with all four augmentations: time, memory, and growth with the number of samples.

    python benchmarks/bench_assembly.py [--totals 12500 25000 50000] [--pairs 600]

Sources are made first and not counted: processed pairs of the embedded databases, refinement and selection samples.
The goals: 50,000 in 90 s on two cores, under 600 MB, linear in samples.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import measure

from askguru_lib.config import RunConfig
from askguru_lib.data.assembly import assemble_dataset
from askguru_lib.data.files import read_records, write_json, write_jsonl
from askguru_lib.data.processing import process_data
from askguru_lib.data.synthesis import refine_samples, selection_samples, synthesize
from askguru_lib.databases import samples
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.schema_engine import SchemaEngine

DATABASES = ("plant", "claims", "library", "retail", "university", "music")
MIX = {"nl2sql": 0.7, "self_refine": 0.2, "sql_select": 0.1}
ALL_FOUR = {"permute": 0.3, "translate": 0.3}  # shuffling and filtering are on by default


def sources(folder: Path, pairs: int, largest: int) -> None:
    """Processed records, and as many refinement and selection samples as the largest total asks for."""
    connections = load_connections(samples.build_all(folder, DATABASES))
    with Executor(connections, timeout_s=3) as executor:
        raw = []
        for db in DATABASES:
            about = SchemaEngine(connections.engine(db), db, max_examples=40)
            raw += synthesize(about.mschema, pairs, 7, meanings=about.meanings)
        write_json(folder / "raw.json", raw)
        done = read_records(process_data(folder / "raw.json", folder / "db_conn.json", folder / "processed").processed)
        write_jsonl(folder / "nl2sql.jsonl", done)
        write_jsonl(folder / "refine.jsonl", refine_samples(done, executor, 7, round(0.22 * largest)))
        chosen: dict[str, dict[str, Any]] = {}
        for seed in range(20):  # one selection sample per record and seed
            for sample in selection_samples(done, executor, seed, len(done)):
                chosen[repr(sample)] = sample
            if len(chosen) > 0.12 * largest:
                break
        write_jsonl(folder / "select.jsonl", chosen.values())
    listing = {
        "nl2sql": {"data_path": "nl2sql.jsonl", "task_name": "nl2sqlite", "data_aug": True},
        "refine": {"data_path": "refine.jsonl", "task_name": "self_refine"},
        "select": {"data_path": "select.jsonl", "task_name": "sql_select"},
    }
    write_json(folder / "datasets.json", listing)


def assemble(folder: str, total: int) -> dict[str, Any]:
    config = RunConfig.build(
        {"assembly": {"total": total, **MIX}, "augmentation": ALL_FOUR, "training": {"max_length": 4096}}
    )
    report = assemble_dataset(Path(folder) / "datasets.json", Path(folder) / f"out{total}", config=config)
    sides = report.counts
    return {"asked": total, "train": sides["train"]["samples"], "validation": sides["validation"]["samples"],
            "shortages": len(report.shortages)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--totals", type=int, nargs="+", default=[12_500, 25_000, 50_000])
    parser.add_argument("--pairs", type=int, default=600, help="synthesised pairs per database")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources(Path(folder), args.pairs, max(args.totals))
        rows = [measure.alone(assemble, folder, total) for total in args.totals]
    for row in rows:
        row["ms_per_sample"] = round(1000 * row["wall_s"] / (row["train"] + row["validation"]), 2)
    measure.report(rows, args.out)


if __name__ == "__main__":
    main()
