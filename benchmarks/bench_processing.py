"""Processing: 10,000 records through the gate, and how much of the time the engine itself needs.

    python benchmarks/bench_processing.py [--records 10000] [--workers 2]

``engine_s`` is what the databases spent on the gold queries, divided by the workers; ``share_outside`` is the rest of
the wall time: reading, judging, probing limits, hand-over between processes, writing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import measure

from askguru_lib.config import RunConfig
from askguru_lib.data.files import iter_values
from askguru_lib.data.processing import process_data
from askguru_lib.databases import samples


def records(n: int) -> list[dict[str, Any]]:
    """The banks over and over; a comment makes each query a text of its own, which no cache has seen."""
    bank = [record for name in samples.NAMES for record in samples.bank(name)]
    return [{**r, "SQL": f"{r['SQL']} -- {i}"} for i, r in enumerate(islice(cycle(bank), n))]


def process(folder: str, workers: int) -> dict[str, Any]:
    here = Path(folder)
    config = RunConfig.build({"execution": {"workers": workers}})
    report = process_data(here / "raw.json", here / "db_conn.json", here / "out", config=config)
    spent = sum(record["gold"]["elapsed_ms"] for _, record in iter_values(report.processed)) / 1000
    return {"records": report.counts["read"], "rejected": report.counts["rejected"], "engine_s": spent / workers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples.build_all(folder)
        (Path(folder) / "raw.json").write_text(json.dumps(records(args.records)), encoding="utf-8")
        row = measure.alone(process, folder, args.workers)
    row["share_outside"] = round(1 - row["engine_s"] / row["wall_s"], 3)
    measure.report([row], args.out)


if __name__ == "__main__":
    main()
