"""Introspection and M-Schema: 100 tables of 20 columns, with few rows and many; and one table of ten million rows.

    python benchmarks/bench_m_schema.py [--tables 100] [--columns 20] [--rows 20 2000] [--long 10000 10000000]

``fit_s`` is the time to make the schema fit a quarter of its tokens. The goals: at most 0.6 s at 2,000 rows on two
cores (the published package needs 1.7 s), and flat in rows.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import measure
import sqlalchemy as sa

from askguru_lib.databases.fitting import estimate_tokens
from askguru_lib.databases.schema_engine import SchemaEngine

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "


def wide(path: Path, tables: int, columns: int, rows: int) -> None:
    """Numbers, codes, dates and words by turns; each table refers to the one before it."""
    kinds = {
        "INTEGER": "i * {c} % 1000",
        "VARCHAR(20)": "'K' || i % (7 * {c})",
        "DATE": "date('2020-01-01', i || ' days')",
        "TEXT": "'some words about ' || i",
    }
    with closing(sqlite3.connect(path)) as db:
        for t in range(tables):
            fields = [(f"c{c}", *list(kinds.items())[c % 4]) for c in range(1, columns)]
            link = f", FOREIGN KEY (c4) REFERENCES t{t - 1} (id)" if t else ""
            spelt = ", ".join(f"{name} {kind}" for name, kind, _ in fields)
            db.execute(f"CREATE TABLE t{t} (id INTEGER PRIMARY KEY, {spelt}{link})")
            values = ", ".join(rule.format(c=c) for c, (_, _, rule) in enumerate(fields, 1))
            db.execute(f"INSERT INTO t{t} {COUNT.format(rows=rows)} SELECT i, {values} FROM n")
        db.commit()


def long(path: Path, rows: int) -> None:
    """One table, without an index that could help."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, status TEXT, amount INTEGER)")
        db.execute(f"INSERT INTO t {COUNT.format(rows=rows)} SELECT i, 'S' || i % 5, i * 7919 % 100003 FROM n")
        db.commit()


def introspect(path: str) -> dict[str, Any]:
    """Best of three, as the first reading also pays for SQLAlchemy's own start."""
    times = []
    for _ in range(3):
        engine = sa.create_engine(f"sqlite:///{path}")
        began = time.perf_counter()
        schema = SchemaEngine(engine=engine, db_name="bench").mschema
        text = schema.to_mschema()
        times.append(time.perf_counter() - began)
        engine.dispose()
    began = time.perf_counter()
    fitted = schema.fit(max(estimate_tokens(text) // 4, 60), "how many words in table 7 per date")
    fit_s = round(time.perf_counter() - began, 3)
    return {
        "first_s": round(times[0], 3),
        "best_s": round(min(times), 3),
        "fit_s": fit_s,
        "tokens": estimate_tokens(text),
        "fitted": fitted.tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="*", default=[20, 2000], help="rows per table")
    parser.add_argument("--long", type=int, nargs="*", default=[10_000, 10_000_000], help="rows of the single table")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            path = Path(folder) / f"wide{rows}.sqlite"
            wide(path, args.tables, args.columns, rows)
            shape = {"tables": args.tables, "columns": args.columns, "rows": rows}
            results.append({**shape, **measure.alone(introspect, str(path))})
        for rows in args.long:
            path = Path(folder) / f"long{rows}.sqlite"
            long(path, rows)
            results.append({"tables": 1, "columns": 3, "rows": rows, **measure.alone(introspect, str(path))})
    measure.report(results, args.out)


if __name__ == "__main__":
    main()
