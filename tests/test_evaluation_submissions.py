"""Prediction files of several origins say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from askguru_lib.errors import DataError, EvaluationError
from askguru_lib.evaluation.submissions import read_predictions

TEST_SET = [{"id": "bird/dev/7", "db_name": "a"}, {"id": "bird/dev/9", "db_name": "b"}]
WANTED = [{"id": "bird/dev/7", "sql": "SELECT 1"}, {"id": "bird/dev/9", "sql": "SELECT 2"}]
FORMATS = {
    "ours.jsonl": "\n".join(json.dumps(w) for w in WANTED),
    "ours.json": json.dumps(WANTED),
    "position.json": json.dumps([{"sql": "SELECT 1"}, {"sql": "SELECT 2"}]),
    "named.json": json.dumps([{"pred_sql": "SELECT 1"}, {"pred_sql": "SELECT 2"}]),
    "bird.json": json.dumps({"0": "SELECT 1\t----- bird -----\ta", "1": "SELECT 2\t----- bird -----\tb"}),
    "bird_ids.json": json.dumps({"9": "SELECT 2\t----- bird -----\tb", "7": "SELECT 1\t----- bird -----\ta"}),
    "spider.sql": "SELECT 1\ta\nSELECT 2\tb\n",
    "plain.txt": "SELECT 1\r\nSELECT 2",
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_say_the_same(tmp_path: Path, name: str):
    found = read_predictions(write(tmp_path, name, FORMATS[name]), TEST_SET)
    assert sorted(found, key=lambda p: p["id"]) == WANTED


def test_an_empty_line_is_a_missing_answer_and_shifts_nothing(tmp_path: Path):
    found = read_predictions(write(tmp_path, "p.sql", "\nSELECT 2\n"), TEST_SET)
    assert found == [{"id": "bird/dev/7", "sql": ""}, {"id": "bird/dev/9", "sql": "SELECT 2"}]


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("p.sql", "SELECT 1\n", EvaluationError, "1 predictions for 2 test items"),
        ("p.json", '{"4": "SELECT 1"}', EvaluationError, "no test item: 4"),
        ("p.json", '{"0": ["SELECT 1"]}', EvaluationError, "prediction 0"),
        ("p.json", '[{"sql": "SELECT 1"}]', EvaluationError, "1 predictions for 2"),
        ("p.jsonl", '{"id": "x", "answer": "SELECT 1"}', EvaluationError, "record 0.*no SQL"),
        ("p.jsonl", '{"id": "x", "sql": "SELECT 1"}\n{"id": ', DataError, r"p\.jsonl:2"),
        ("p.json", "{", DataError, r"p\.json:1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, text: str, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        read_predictions(write(tmp_path, name, text), TEST_SET)
