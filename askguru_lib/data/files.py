"""Reading and writing data files so that a kill, a full disk or a bad line never leaves a half-truth behind."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ijson

import askguru_lib
from askguru_lib.errors import DataError

_STREAM = ijson.get_backend("python")  # the C back end turns a lone surrogate into "?" and refuses long integers
VERSIONS_OF = ("sqlalchemy", "sqlglot", "torch", "transformers", "peft", "trl", "accelerate")


def iter_values(path: str | Path) -> Iterator[tuple[int | None, Any]]:
    """Stream the elements of a JSON list or the lines of a JSON Lines file.

    Yields:
        ``(line number, value)``; the line number is None for the elements of a JSON list.

    Raises:
        DataError: the file cannot be read, or a place in it is not JSON (file and line are named).
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            while (head := file.read(1)) and head.isspace():
                pass
            file.seek(0)
            if head == "[":
                yield from ((None, value) for value in _list_elements(path))
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as e:
                        raise _malformed(path, number, e) from None
    except OSError as e:
        raise DataError(f"cannot read the file ({e.strerror})", where=str(path), hint="check the path") from e
    except UnicodeDecodeError as e:
        raise DataError(f"not UTF-8 text ({e.reason} at byte {e.start})", where=str(path), hint="save as UTF-8") from e


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """All records of a JSON list or a JSON Lines file.

    Raises:
        DataError: as :func:`iter_values`; also when an element is not an object.
    """
    records = []
    for index, (line, value) in enumerate(iter_values(path)):
        if not isinstance(value, dict):
            place = f"{path}:{line}" if line else f"{path}, record {index}"
            raise DataError(f"expected an object, found {type(value).__name__}", where=place, hint="mend that record")
        records.append(value)
    return records


def read_json(path: str | Path) -> Any:
    """The one value of a JSON file.

    Raises:
        DataError: the file cannot be read or is not JSON (file and line are named).
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as e:
        raise _malformed(path, e.lineno, e) from None
    except OSError as e:
        raise DataError(f"cannot read the file ({e.strerror})", where=str(path), hint="check the path") from e


def _list_elements(path: Path) -> Iterator[Any]:
    """One element of a JSON list after the other, never the whole list in memory."""
    read = 0
    with path.open("rb") as file:
        file.seek(len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0)
        try:
            for value in _STREAM.items(file, "item", use_float=True, buf_size=4096):
                yield value
                read += 1
        except (ijson.JSONError, json.JSONDecodeError) as e:
            read_json(path)  # the standard parser knows the line
            raise DataError(
                f"malformed JSON after record {read}: {e}", where=str(path), hint="JSON knows no NaN and no Infinity"
            ) from None


def _malformed(path: Path, line: int, error: json.JSONDecodeError) -> DataError:
    return DataError(
        f"malformed JSON: {error.msg} (column {error.colno})", where=f"{path}:{line}", hint="mend that line"
    )


@contextmanager
def atomic(path: str | Path) -> Iterator[IO[str]]:
    """A text file under a temporary name, renamed to ``path`` when the block ends well, removed when it does not.

    Raises:
        DataError: the operating system refused (disk full, no permission); nothing is left half-written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as e:
            raise _unwritable(path, e) from e
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write the file ({error.strerror or error})", where=str(path), hint="free some space or change the path"
    )


def write_json(path: str | Path, value: Any) -> Path:
    """Write one value as readable JSON, atomically."""
    with atomic(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    return Path(path)


def write_jsonl(path: str | Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Stream records to a JSON Lines file, atomically."""
    with atomic(path) as file:
        file.writelines(_line(record) for record in records)
    return Path(path)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


class Journal:
    """A JSON Lines file that grows record by record, so that a killed stage goes on where it stopped.

    A last line that a kill tore apart is cut off on opening.

    Attributes:
        records: what stood in the file when it was opened.
    """

    def __init__(self, path: str | Path, resume: bool = True) -> None:
        self.path = Path(path)
        self.records: list[dict[str, Any]] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if resume and self.path.exists():
                self._mend()
                self.records = read_records(self.path)
            self._file = self.path.open("a" if resume else "w", encoding="utf-8", newline="\n")
        except OSError as e:
            raise _unwritable(self.path, e) from e

    def _mend(self) -> None:
        with self.path.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add records and hand them to the operating system.

        Raises:
            DataError: the disk is full; a line that was only half written is cut off on the next opening.
        """
        try:
            self._file.writelines(_line(record) for record in records)
            self._file.flush()
        except OSError as e:
            raise _unwritable(self.path, e) from e

    def close(self) -> None:
        """Close the file; the journal stays on the disk."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"cannot read the file ({e.strerror})", where=str(path), hint="check the path") from e


def peak_memory_mb() -> float:
    """Largest resident memory so far, MiB: this process, or its largest finished child if that was larger."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of what it leans on."""
    found = {"python": platform.python_version(), "askguru_lib": askguru_lib.__version__}
    for package in VERSIONS_OF:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def write_manifest(
    folder: str | Path,
    *,
    inputs: Sequence[str | Path],
    parameters: Mapping[str, Any],
    seed: int | None,
    started: float,
) -> Path:
    """Write ``manifest.json`` into a stage's folder: what its files were made from, with what, and at what cost.

    Args:
        folder: the stage's folder.
        inputs: files that the stage read; their SHA-256 is taken now, paths are kept relative to ``folder``.
        parameters: JSON-ready parameters.
        seed: the stage's seed.
        started: ``time.time()`` when the stage began.
    """
    folder = Path(folder)
    return write_json(
        folder / "manifest.json",
        {
            "inputs": {Path(os.path.relpath(p, folder)).as_posix(): file_hash(p) for p in inputs},
            "parameters": dict(parameters),
            "seed": seed,
            "versions": versions(),
            "wall_s": round(time.time() - started, 3),
            "peak_memory_mb": peak_memory_mb(),
        },
    )
