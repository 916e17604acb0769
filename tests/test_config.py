"""Parameter files: every one is valid, and a wrong one is named with the place and the nearest right name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from askguru_lib.config import RunConfig, merge, project_root
from askguru_lib.errors import AskGuruError, ConfigError

ROOT = project_root(Path(__file__).parent)
FILES = sorted((ROOT / "params").glob("*.yaml"))


def test_the_profiles_of_the_book_are_there() -> None:
    assert {f.stem for f in FILES} >= {
        "smoke",
        "tiny",
        "laptop_gpu",
        "single_gpu",
        "mistral24b_1gpu",
        "mistral24b_8gpu",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_params_file_is_valid_and_names_itself(path: Path) -> None:
    config = RunConfig.load(path)
    assert config.profile == path.stem
    assert RunConfig.build(config.dump()) == config
    if config.training.deepspeed:
        assert (ROOT / config.training.deepspeed).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "params/deepspeed").glob("*.json")), ids=lambda p: p.stem)
def test_reference_defect_deepspeed_scheduler_overrides_cosine(path: Path) -> None:
    """The Trainer's optimizer, schedule and batch sizes hold: DeepSpeed's JSON brings none of its own."""
    settings = json.loads(path.read_text())
    assert not {"scheduler", "optimizer"} & settings.keys()
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"):
        assert settings[name] == "auto"
    assert settings["zero_optimization"]["stage"] == int(re.findall(r"\d", path.stem)[0])


def test_mistral_profile_adapts_the_language_model_only() -> None:
    config = RunConfig.load(ROOT / "params/mistral24b_8gpu.yaml")
    assert (config.lora.rank, config.lora.alpha) == (512, 512)
    assert (config.training.learning_rate, config.training.max_length) == (1e-4, 10_240)
    pattern = re.compile(str(config.lora.target_modules))
    assert pattern.fullmatch("model.language_model.layers.0.self_attn.q_proj")
    assert pattern.fullmatch("model.language_model.layers.39.mlp.down_proj")
    assert not pattern.fullmatch("model.vision_tower.transformer.layers.0.attention.q_proj")
    assert not pattern.fullmatch("model.multi_modal_projector.linear_1")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"trainin": {}}, "unknown parameter 'trainin' (did you mean 'training'?)"),
        ({"training": {"lerning_rate": 1}}, "(did you mean 'training.learning_rate'?)"),
        ({"learning_rate": 1}, "(did you mean 'training.learning_rate'?)"),
        ({"training": {"micro_batch": "many"}}, "'training.micro_batch': "),
        ({"training": {"learning_rate": -1}}, "got -1"),
        ({"assembly": {"nl2sql": 0.9}}, "must be 1, they sum to 1.2"),
        ({"databases": {"unseen": ["plant"]}}, "plant stands in more than one"),
        ({"profile": "a/b"}, "'profile'"),
    ],
)
def test_wrong_parameter_is_named(data: dict, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.build(data)
    assert complaint in str(caught.value)


def test_all_wrong_parameters_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.build({"sed": 1, "lora": {"rnk": 1, "alpha": 0}})
    assert all(name in str(caught.value) for name in ("'seed'", "'lora.rank'", "'lora.alpha'"))


def test_malformed_yaml_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("profile: mine\ntraining: {epochs: 1\nseed: 3\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:3: malformed YAML"):
        RunConfig.load(path)
    path.write_text("- a list\n")
    with pytest.raises(ConfigError, match="expected 'name: value' lines"):
        RunConfig.load(path)


def test_missing_file_lists_those_that_are_there() -> None:
    with pytest.raises(ConfigError, match=r"tiny\.yaml"):
        RunConfig.load(ROOT / "params" / "tin.yaml")


def test_overrides_merge_section_by_section() -> None:
    plain = RunConfig.load(ROOT / "params/tiny.yaml")
    config = RunConfig.load(ROOT / "params/tiny.yaml", {"training": {"epochs": 3}, "seed": 11})
    assert plain.training.micro_batch != type(plain.training)().micro_batch, "the file's value is not the default"
    assert (config.training.epochs, config.training.micro_batch, config.seed) == (3, plain.training.micro_batch, 11)
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_a_file_that_extends_another_holds_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("profile: large\nseed: 5\ntraining: {epochs: 3, micro_batch: 4}\n")
    (tmp_path / "mine.yaml").write_text("extends: large.yaml\ntraining: {epochs: 1}\n")
    (tmp_path / "theirs.yaml").write_text("extends: mine.yaml\nprofile: other\nseed: 6\n")
    mine, theirs = (RunConfig.load(tmp_path / f"{name}.yaml") for name in ("mine", "theirs"))
    assert (mine.profile, mine.seed, mine.training.epochs, mine.training.micro_batch) == ("mine", 5, 1, 4)
    assert (theirs.profile, theirs.seed, theirs.training.epochs, theirs.training.micro_batch) == ("other", 6, 1, 4)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("extends: gone.yaml\n", r"gone\.yaml: cannot read the parameter file that mine\.yaml extends"),
        ("extends: 3\n", r"mine\.yaml: 'extends' is the name of a parameter file, got 3"),
        ("extends:\n", r"mine\.yaml: 'extends' is the name of a parameter file, got None"),
        ("extends: mine.yaml\n", r"files extend each other: mine\.yaml -> mine\.yaml"),
        ("extends: ../params/mine.yaml\n", r"files extend each other: mine\.yaml -> mine\.yaml"),
        ("extends: wrong.yaml\n", r"wrong\.yaml: unknown parameter 'sed'"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    folder = tmp_path / "params"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    (folder / "wrong.yaml").write_text("sed: 3\n")
    with pytest.raises(ConfigError, match=complaint):
        RunConfig.load(folder / "mine.yaml")


def test_the_profile_of_the_tests_prepares_the_books_data_with_the_books_model() -> None:
    """Chapters 1 to 6 must give the stored outputs under it; nothing but effort may be less."""
    book, tests = (RunConfig.load(ROOT / "params" / f"{name}.yaml").dump() for name in ("tiny", "check"))
    differ = {name for name in book if book[name] != tests[name]}
    assert differ == {"profile", "second_round", "training", "inference"}
    less = {(s, k) for s in differ - {"profile"} for k in book[s] if book[s][k] != tests[s][k]}
    assert less == {
        *(("second_round", k) for k in ("questions", "validation_questions", "total")),
        *(("training", k) for k in ("epochs", "eval_steps", "save_steps", "execution_eval_samples")),
        ("inference", "limit"),
    }


def test_root_is_found_from_any_folder_below(tmp_path: Path) -> None:
    assert project_root(ROOT / "notebooks") == ROOT
    assert project_root(tmp_path) == ROOT  # from elsewhere: the library's own place


def test_errors_say_what_where_and_what_to_do() -> None:
    error = AskGuruError("it is wrong", where="file.json", hint="mend it")
    assert str(error) == "file.json: it is wrong\n  → mend it"
    codes = [cls.exit_code for cls in AskGuruError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
