"""What the benchmarks share: wall time and peak memory of a call in a process of its own, and a table of results."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from askguru_lib.data.files import peak_memory_mb


def alone(work: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """The figures that ``work(*args)`` returns, with its wall seconds and the peak memory of its process, in MiB.

    A fresh process, so that no cache is warm and no earlier work counts as memory.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, work, args).result()


def _timed(work: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> dict[str, Any]:
    began = time.perf_counter()
    figures = work(*args)
    return {**figures, "wall_s": round(time.perf_counter() - began, 3), "peak_mb": round(peak_memory_mb())}


def report(rows: list[dict[str, Any]], out: Path | None = None) -> None:
    """Print the rows as a table, and write them as JSON where ``out`` says so."""
    print(pd.DataFrame(rows).to_string(index=False), flush=True)
    if out:
        out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
