"""The command line: the seed's flags reach the functions of the notebooks; errors are messages with an exit code."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from askguru_lib import cli
from askguru_lib.config import RunConfig, parameter_names, project_root
from askguru_lib.data.files import write_json
from askguru_lib.errors import AskGuruError, DataError

ROOT = project_root(Path(__file__).parent)
COMMANDS = (
    "databases",
    "process",
    "assemble",
    "train",
    "merge",
    "infer",
    "multi-infer",
    "eval",
    "bird-critic",
    "params",
)


def run(*arguments: str) -> int:
    """Exit code of ``askguru arguments``."""
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    return int(done.value.code or 0)


class Spy:
    """Stands for a library function; remembers how it was called."""

    def __init__(self, result: Any) -> None:
        self.result, self.calls = result, []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        return self.result


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "sqlglot", "sqlalchemy", "pandas", "pydantic", "datasets"]
    code = (
        "import sys; from askguru_lib import cli\n"
        "try: cli.main(['--help'])\n"
        f"finally: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert time.perf_counter() - started < 5
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"Example: askguru {command}" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize("style", ["--raw_data_path --db_conn_config", "--raw-data-path --db-conn-config"])
def test_process_takes_the_seeds_flags_in_both_spellings(
    style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from askguru_lib.data import processing

    report = SimpleNamespace(
        processed="p.jsonl", rejected="r.jsonl", counts={"read": 3}, reasons={"empty": 1}, warnings=[]
    )
    monkeypatch.setattr(processing, "process_data", spy := Spy(report))
    raw, conn = style.split()
    assert run("process", raw, "raw.json", conn, "db.json", "--processed_data_dir", "out") == 0
    (args, kwargs) = spy.calls[0]
    assert args == (Path("raw.json"), Path("db.json"), Path("out"))
    assert kwargs["config"].profile == "tiny"
    assert "empty 1" in capsys.readouterr().out


@pytest.mark.parametrize(("save", "folder"), [("training", "training"), ("training/final.json", "training")])
def test_assemble_saves_to_a_folder_or_to_the_seeds_file(
    save: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from askguru_lib.data import assembly

    (tmp_path / "training").mkdir()
    train = tmp_path / "training" / "train.jsonl"
    train.write_text("{}\n")
    report = SimpleNamespace(train=train, counts={"train": {"nl2sql": 7}}, set_aside={}, shortages=[])
    monkeypatch.setattr(assembly, "assemble_dataset", spy := Spy(report))
    assert run("assemble", "--dataset_config_path", "datasets.json", "--save_path", str(tmp_path / save)) == 0
    assert spy.calls[0][0] == (Path("datasets.json"), tmp_path / folder)
    assert (tmp_path / save).exists()


def test_train_defaults_to_the_profiles_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from askguru_lib.training import sft

    config = tmp_path / "mine.yaml"
    config.write_text("profile: mine\n")
    monkeypatch.setattr(sft, "train", spy := Spy(SimpleNamespace(adapter="a", metrics={"steps": 3, "eval_loss": 0.5})))
    assert run("train", "--config", str(config), "--no_resume") == 0
    args, kwargs = spy.calls[0]
    assert args[0].profile == "mine"
    assert args[1:] == (ROOT / "runs/mine/training/train.jsonl", None, ROOT / "runs/mine/model")
    assert kwargs == {"resume": False, "connections": None}


@pytest.mark.parametrize(("given", "meant"), [("true", True), ("false", False)])
def test_reference_defect_bool_flags_always_true(given: str, meant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--use_critic false`` means false."""
    seen: list[RunConfig] = []

    def stop(name: str | None, config: RunConfig) -> None:
        seen.append(config)
        raise DataError("enough seen")

    monkeypatch.setattr(cli.models, "read_test_set", lambda *args: [])
    monkeypatch.setattr(cli.models, "load_generator", stop)
    flags = ["--generation_method", "beam", "--num_candidates", "4", "--use_critic", given]
    assert run("multi-infer", "--test_set_path", "t.json", "--db_conn_config", "d.json", *flags) == DataError.exit_code
    inference = seen[0].inference
    assert (inference.use_critic, inference.num_candidates, inference.generation_method) == (meant, 4, "beam")


@pytest.mark.parametrize(
    "flags", [["--use_critic", "perhaps"], ["--num_candidates", "0"], ["--generation_method", "guess"], ["--no_such"]]
)
def test_wrong_flags_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("multi-infer", "--test_set_path", "t.json", "--db_conn_config", "d.json", *flags) == 2
    assert flags[0].lstrip("-") in capsys.readouterr().err


@pytest.mark.parametrize("error", AskGuruError.__subclasses__())
def test_errors_are_a_message_and_an_exit_code(
    error: type[AskGuruError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any) -> None:
        raise error("it is wrong", where="here", hint="mend it")

    monkeypatch.setattr(cli.models, "load_config", fail)
    assert run("train") == error.exit_code != 0
    assert capsys.readouterr().err == "askguru: here: it is wrong\n  → mend it\n"


def test_missing_inputs_exit_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "nowhere.json")
    assert run("process", "--raw_data_path", missing, "--db_conn_config", missing, "--processed_data_dir", missing) > 1
    assert run("train", "--train_path", missing) > 1
    assert run("merge", "--adapter", missing, "--out", missing) > 1
    assert run("infer", "--test_set_path", missing) > 1
    assert run("train", "--config", missing) > 1
    assert capsys.readouterr().err.count("askguru: ") == 5
    assert not list(tmp_path.iterdir())


def test_a_folder_with_an_adapter_is_loaded_on_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from askguru_lib.inference import generation

    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "models/base"}))
    monkeypatch.setattr(generation, "load_model", spy := Spy(("model", "tokenizer")))
    monkeypatch.setattr(generation, "Generator", lambda *parts: parts)
    cli.options.load_generator(str(tmp_path), RunConfig())
    cli.options.load_generator(None, RunConfig())
    (adapted, plain) = spy.calls
    assert adapted[0] == ("models/base",)
    assert adapted[1]["adapter"] == str(tmp_path)
    assert plain[0] == ("models/askguru-tiny",)
    assert plain[1].get("adapter") is None


def test_params_lists_every_parameter_with_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("params") == 0
    out = capsys.readouterr().out
    sections = {n.split(".")[0] for n in parameter_names() if "." in n}
    for name in set(parameter_names()) - sections:
        assert f"{name} = " in out
    assert out.count(" = ") == out.count("\n    ")
    assert run("params", "lora.rank") == 0
    assert capsys.readouterr().out.startswith("lora.rank = 32\n    ")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database, a raw file of three questions, a random model, and parameters that keep everything small."""
    from test_training_sft import save_random_model

    from askguru_lib.databases.samples import bank

    folder = tmp_path_factory.mktemp("work")
    save_random_model(folder / "model")
    (folder / "raw.json").write_text(json.dumps(bank("library")[:3]))
    small = {"max_new_tokens": 6, "constrained": False, "batch_size": 4}
    (folder / "small.yaml").write_text(json.dumps({"profile": "small", "inference": small}))
    return folder


@pytest.mark.slow
def test_seed_steps_3_6_and_7_in_a_row(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Process, infer, multi-infer and eval with the seed's flags: a real database, a model that knows nothing."""
    monkeypatch.chdir(work)
    conn, model = ["--db_conn_config", "db/db_conn.json"], ["--model_name_or_path", "model", "--config", "small.yaml"]
    tests = ["--test_set_path", "out/processed_sqlite.jsonl"]
    assert run("databases", "--folder", "db", "--name", "library") == 0
    assert run("process", "--raw_data_path", "raw.json", *conn, "--processed_data_dir", "out") == 0
    assert run("infer", *model, *tests, "--expr_version", "my_v1") == 0
    several = ["--num_candidates", "3", "--generation_method", "hybrid", "--use_critic", "true"]
    assert run("multi-infer", *model, *tests, *conn, *several, "--expr_version", "my_v2") == 0
    lines = [json.loads(line) for line in Path("predictions_my_v2.jsonl").read_text().splitlines()]
    assert [len(line["candidates"]) for line in lines] == [3, 3, 3]
    for version in ("my_v1", "my_v2"):
        scored = ["--pred_sql_path", f"predictions_{version}.jsonl", "--test_sql_path", "out/processed_sqlite.jsonl"]
        assert run("eval", *scored, *conn, "--report_path", f"{version}.json") == 0
        assert json.loads(Path(f"{version}.json").read_text())["ex"]["n"] == 3
    assert "EX       0.0 %" in capsys.readouterr().out


def test_eval_draws_breaks_down_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(tmp_path / "shop.sqlite") as db:
        db.execute("CREATE TABLE t (a INTEGER)")
        db.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(5)])
    conn = write_json(tmp_path / "db_conn.json", {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}})
    levels = ["simple", "simple", "challenging"]
    test_set = [
        {"id": f"q/{i}", "db_name": "shop", "question": "?", "sql": f"SELECT a FROM t WHERE a > {i}", "difficulty": d}
        for i, d in enumerate(levels)
    ]
    tests = write_json(tmp_path / "test.json", test_set)
    (tmp_path / "one.sql").write_text("SELECT 1\nSELECT 1\nSELECT 1\n")
    answers = {str(i): f"{r['sql']}\t----- bird -----\tshop" for i, r in enumerate(test_set[:2])}
    write_json(tmp_path / "two.json", answers)
    common = ["--test_sql_path", str(tests), "--db_conn_config", str(conn)]
    first = str(tmp_path / "one_report.json")
    assert run("eval", "--pred_sql_path", str(tmp_path / "one.sql"), *common, "--report_path", first) == 0
    second = str(tmp_path / "two_report.json")
    extra = ["--report_path", second, "--compare", first]
    assert run("eval", "--pred_sql_path", str(tmp_path / "two.json"), *common, *extra) == 0
    shown = capsys.readouterr().out
    assert "difficulty simple: EX 100.0%" in shown
    assert "difficulty challenging: EX 0.0%" in shown
    assert "features one table: EX 66.7%" in shown
    assert "EX +66.7 points" in shown
    assert (tmp_path / "two_report.png").stat().st_size > 5_000
    assert run("eval", "--pred_sql_path", str(tmp_path / "two.json"), *common, "--compare", "nowhere.json") == 8


def test_eval_takes_results_over_and_asks_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, limit in (("shop", 5), ("suite/shop/a", 5), ("suite/shop/b", 9)):
        path = tmp_path / f"{name}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE t (a INTEGER)")
            db.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(limit)])
        db.close()
    conn = write_json(tmp_path / "db_conn.json", {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}})
    test_set = [
        {"id": f"q/{i}", "db_name": "shop", "question": "?", "sql": f"SELECT a FROM t WHERE a > {i}"} for i in range(2)
    ]
    tests = write_json(tmp_path / "test.json", test_set)
    (tmp_path / "p.sql").write_text("SELECT a FROM t WHERE a > 0\nSELECT a FROM t WHERE a BETWEEN 2 AND 6\n")
    call = ["eval", "--pred_sql_path", str(tmp_path / "p.sql"), "--test_sql_path", str(tests)]
    call += ["--db_conn_config", str(conn)]
    report = tmp_path / "report.json"
    extra = ["--suite_dir", str(tmp_path / "suite"), "--r_ves", "3", "--report_path", str(report)]
    assert run(*call, *extra) == 0
    saved = json.loads(report.read_text())
    assert saved["test_suite"]["passed"] == {"q/0": True, "q/1": False}
    assert set(saved["r_ves"]["time_ratios"]) == {"q/0", "q/1"}
    first = capsys.readouterr()
    assert "EX       100.0 %" in first.out
    assert "suite    50.0 %" in first.out
    assert "R-VES    " in first.out
    assert "taken over" not in first.err
    assert run(*call) == 0
    assert "3 results were taken over from" in capsys.readouterr().err
    assert run(*call, "--no_resume") == 0
    assert "taken over" not in capsys.readouterr().err
    assert run(*call, "--suite_dir", str(tmp_path)) == 8
