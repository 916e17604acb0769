"""Schema linking: what it costs to find a question's words in a wide schema, and in the values of a long table.

python benchmarks/bench_linking.py [--tables 300] [--columns 30] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import sqlalchemy as sa

from askguru_lib.data.linking import schema_links
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex

NOUNS = "order customer price name date status plant unit code total invoice line".split()  # noqa: SIM905
QUESTION = (
    "Which customers had orders with a total price above 300 and the status open, by invoice date and plant code?"
)


def wide(tables: int, columns: int) -> dict[str, Any]:
    """A schema of random words, foreign keys in a tree; the first question pays for its index."""
    rng = random.Random(0)
    words = [noun + ending for noun in NOUNS for ending in ("", "ing", "er", "al")]
    schema = MSchema("wide")
    for number in range(tables):
        table = f"t{number}_{rng.choice(words)}"
        schema.add_table(table, comment=" ".join(rng.sample(words, 3)))
        for column in range(columns):
            about, value = " ".join(rng.sample(words, 3)), f"Value {rng.random():.5f}"
            schema.add_field(table, f"{rng.choice(words)}_{column}", "TEXT", comment=about, examples=[value])
    names = list(schema.tables)
    for number in range(1, tables):
        child, parent = names[number], names[rng.randrange(number)]
        keys = [next(iter(schema.tables[table]["fields"])) for table in (child, parent)]
        schema.add_foreign_key(child, keys[0], None, parent, keys[1])
    text = schema.to_mschema()
    began = time.perf_counter()
    schema_links(text, QUESTION)
    first = time.perf_counter() - began
    again = [schema_links(text, f"{QUESTION} {n}") for n in range(20)]
    spent = (time.perf_counter() - began - first) / len(again)
    return {"what": f"{tables} tables × {columns} columns", "first_s": round(first, 3), "ms": round(1000 * spent, 1)}


def long(rows: int) -> dict[str, Any]:
    """A table with three text columns; then questions that say one of its values."""
    with tempfile.TemporaryDirectory() as folder:
        engine = sa.create_engine(f"sqlite:///{Path(folder) / 'long.sqlite'}")
        with engine.begin() as db:
            db.execute(sa.text("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, city TEXT, note TEXT)"))
            db.execute(
                sa.text("INSERT INTO people VALUES (:n, :name, :city, :note)"),
                [{"n": n, "name": f"Name {n}", "city": f"City {n % 900}", "note": f"n{n}"} for n in range(rows)],
            )
        schema = SchemaEngine(engine, "long")
        began = time.perf_counter()
        index = ValueIndex.read(schema, 2000)
        first = time.perf_counter() - began
        found = [index.mentioned(f"Who lives in City {n % 900}, please?") for n in range(1000)]
        spent = (time.perf_counter() - began - first) / len(found)
        engine.dispose()
    return {"what": f"values of {rows:,} rows", "first_s": round(first, 3), "ms": round(1000 * spent, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    measure.report(
        [measure.alone(wide, args.tables, args.columns), measure.alone(long, 1000), measure.alone(long, args.rows)],
        args.out,
    )


if __name__ == "__main__":
    main()
