import json
import time
import tracemalloc
from pathlib import Path

import pytest

from askguru_lib.data.files import (
    Journal,
    iter_values,
    read_json,
    read_records,
    write_json,
    write_jsonl,
    write_manifest,
)
from askguru_lib.errors import DataError

RECORDS = [{"question": "Wie groß?", "n": 1}, {"question": "二", "n": None}]


@pytest.mark.parametrize("write", [write_json, write_jsonl])
def test_what_was_written_reads_back(tmp_path: Path, write):
    path = write(tmp_path / "new" / "records", RECORDS)
    assert read_records(path) == RECORDS
    assert "二" in path.read_text(encoding="utf-8")


def test_blank_lines_and_a_byte_order_mark_are_no_records(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    assert list(iter_values(path)) == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1}\n{"a": \n', ":2"),
        ('[{"a": 1},\n {"a": 2},\n {"a" 3}]', ":3"),
        ('{"a": 1}\n[2]\n', ":2"),
        ('[{"a": 1}, 2]', ", record 1"),
        ('[{"a": 1},\n {"a": "\x01"}]', ":2"),
        ('[{"a": 1}', ":1"),
        ('[{"a": 1}]\n]', ":2"),
        ('[{"a": NaN}]', ""),
    ],
)
def test_a_bad_place_is_named_by_file_and_line(tmp_path: Path, text: str, place: str):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_records(path)
    assert error.value.where == f"{path}{place}"


def test_a_json_list_is_streamed_and_its_values_are_those_of_the_standard_parser(tmp_path: Path):
    path = tmp_path / "list.json"
    values = [{"a": "\ud800 é 【", "b": 10**30, "c": 1.5, "d": [None, True, {"e": 1e5}]}, "text", 7]
    path.write_text("\ufeff \n" + json.dumps(values), encoding="utf-8")
    assert list(iter_values(path)) == [(None, value) for value in values]

    with path.open("w") as file:  # 60 MB
        file.write("[" + ",".join(['{"question": "%s"}' % ("q" * 1000)] * 60_000) + "]")
    tracemalloc.start()
    assert sum(1 for _ in iter_values(path)) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_missing_and_misencoded_files_are_data_errors(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        read_records(tmp_path / "absent.json")
    with pytest.raises(DataError, match="No such file"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "latin.jsonl").write_bytes('{"a": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_records(tmp_path / "latin.jsonl")
    (tmp_path / "latin.json").write_bytes('[{"a": "é"}]'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_records(tmp_path / "latin.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = write_jsonl(tmp_path / "r.jsonl", RECORDS)

    def dies():
        yield {"n": 3}
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_jsonl(path, dies())
    assert read_records(path) == RECORDS
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_full_disk_is_a_data_error_and_leaves_nothing(tmp_path: Path):
    def fills_the_disk():
        yield {"n": 1}
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_jsonl(tmp_path / "r.jsonl", fills_the_disk())
    assert list(tmp_path.iterdir()) == []


def test_a_journal_goes_on_after_a_torn_line(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(*RECORDS)
    with path.open("a") as file:
        file.write('{"question": "cut sho')
    with Journal(path) as journal:
        assert journal.records == RECORDS
        journal.append({"n": 3})
    assert read_records(path) == [*RECORDS, {"n": 3}]
    with Journal(path, resume=False) as journal:
        assert journal.records == []
    assert path.read_text() == ""


def test_a_manifest_says_what_from_and_at_what_cost(tmp_path: Path):
    source = write_json(tmp_path / "raw" / "a.json", RECORDS)
    path = write_manifest(tmp_path / "out", inputs=[source], parameters={"n": 2}, seed=7, started=time.time() - 1)
    manifest = json.loads(path.read_text())
    assert list(manifest["inputs"]) == ["../raw/a.json"]
    assert len(manifest["inputs"]["../raw/a.json"]) == 64
    assert manifest["seed"] == 7
    assert manifest["parameters"] == {"n": 2}
    assert manifest["wall_s"] >= 1
    assert manifest["peak_memory_mb"] > 1
    assert "sqlglot" in manifest["versions"]
