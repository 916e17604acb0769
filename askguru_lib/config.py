"""RunConfig: the typed model of ``params/*.yaml``, and the only home of defaults."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from askguru_lib.errors import ConfigError

SECRETIVE = ("inference.base_url", "inference.api_key_env")
"""Parameters whose wrong value is not repeated in an error: it may be, or hold, a key."""

Dialect = Literal["sqlite", "duckdb", "postgresql", "mysql", "oracle", "cypher", "ngql"]


class Section(BaseModel):
    """A part of a parameter file; a misspelt name is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class DatabasesConfig(Section):
    engine: Dialect = Field("sqlite", description="Engine on which the embedded databases are built.")
    targets: list[str] = Field(["plant", "claims"], description="'Your database': what the model is fine-tuned for.")
    training: list[str] = Field(
        ["library", "retail", "university", "music", "property", "hr", "energy"],
        description="Databases used for training only.",
    )
    unseen: list[str] = Field(
        ["airline", "clinic", "football"], description="Databases that no training stage ever touches."
    )

    @model_validator(mode="after")
    def _disjoint(self) -> DatabasesConfig:
        names = [*self.targets, *self.training, *self.unseen]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands in more than one of targets, training and unseen")
        return self

    @property
    def all(self) -> list[str]:
        return [*self.targets, *self.training, *self.unseen]


class SchemaConfig(Section):
    example_num: int = Field(2, ge=0, le=10, description="Example values shown per column in M-Schema.")
    show_type_detail: bool = Field(False, description="Show the bracket of a type, VARCHAR(20), in M-Schema.")
    max_values: int = Field(
        2000, ge=0, description="Distinct values per text column in which a question's words are searched; 0: none."
    )


class ExecutionConfig(Section):
    timeout_s: float = Field(10.0, gt=0, description="Seconds after which a query is stopped.")
    max_rows: int = Field(10_000, ge=1, description="Rows kept of a result.")
    preview_rows: int = Field(10, ge=1, description="Rows of a result that refinement and selection prompts show.")
    memory_mb: int = Field(1024, ge=64, description="Memory cap of one executor worker, MiB.")
    workers: int = Field(2, ge=1, description="Executor worker processes.")


class SynthesisConfig(Section):
    train_pairs: int = Field(700, ge=0, description="Synthesised question/SQL pairs to train on, per target.")
    replay_pairs: int = Field(150, ge=0, description="The same per training-only database.")
    test_pairs: int = Field(80, ge=0, description="Synthesised pairs to be examined on, per target.")
    unseen_pairs: int = Field(20, ge=0, description="The same per unseen database.")
    bank_test_share: float = Field(
        0.5, ge=0, le=1, description="Share of a target's hand-written bank kept for the test."
    )
    unseen_bank_share: float = Field(
        1.0, ge=0, le=1, description="Share of an unseen database's hand-written bank that is asked."
    )


class AugmentationConfig(Section):
    """Probabilities of the four operations (the reference framework's defaults)."""

    shuffle_tables: float = Field(0.5, ge=0, le=1, description="Chance that the order of tables is drawn anew.")
    shuffle_columns: float = Field(
        0.3, ge=0, le=1, description="Chance that a table's columns are put in another order."
    )
    shuffle_keys: float = Field(0.2, ge=0, le=1, description="Chance that the foreign keys are put in another order.")
    keep_table: float = Field(0.8, ge=0, le=1, description="Chance that a table the gold does not need stays.")
    keep_column: float = Field(0.7, ge=0, le=1, description="Chance that a column the gold does not need stays.")
    schema_variants: int = Field(
        0, ge=0, description="Schemas drawn per database and shared by its samples; 0 draws one per sample."
    )
    permute: float = Field(0.0, ge=0, le=1, description="Chance that the rendering's labels and order are varied.")
    translate: float = Field(0.1, ge=0, le=1, description="Chance that the SQL is replaced by an equivalent form.")


class AssemblyConfig(Section):
    total: int = Field(2400, ge=1, description="Training samples to assemble, all tasks together.")
    nl2sql: float = Field(0.7, ge=0, le=1, description="Share of samples that ask for SQL.")
    self_refine: float = Field(0.2, ge=0, le=1, description="Share of samples that repair a wrong query.")
    sql_select: float = Field(0.1, ge=0, le=1, description="Share of samples that choose among candidates.")
    validation_share: float = Field(0.04, ge=0, lt=1, description="Share of samples held out to watch the loss.")
    replay_fraction: float = Field(0.25, ge=0, lt=1, description="Share of samples from training-only databases.")

    @model_validator(mode="after")
    def _sums_to_one(self) -> AssemblyConfig:
        total = self.nl2sql + self.self_refine + self.sql_select
        if abs(total - 1) > 1e-6:
            raise ValueError(f"nl2sql + self_refine + sql_select must be 1, they sum to {total:g}")
        return self


class SecondRoundConfig(AssemblyConfig):
    """The second training set, with the model's own mistakes in it: how many, and its mix."""

    questions: int = Field(120, ge=0, description="Training questions that are answered, to learn from the mistakes.")
    validation_questions: int = Field(80, ge=0, description="Questions kept back, to choose between vote and critics.")
    learning_rate: float = Field(1e-3, gt=0, description="Highest learning rate; a trained model goes on.")
    total: int = Field(500, ge=1, description="Samples, those of the first round included.")
    nl2sql: float = Field(0.2, ge=0, le=1, description="Share of samples that ask for SQL, as a rehearsal.")
    self_refine: float = Field(0.3, ge=0, le=1, description="Share of samples that repair a wrong query.")
    sql_select: float = Field(0.5, ge=0, le=1, description="Share of samples that choose among candidates.")
    replay_fraction: float = Field(0.5, ge=0, lt=1, description="Share of samples from training-only databases.")

    def mix(self) -> AssemblyConfig:
        """What assembly needs to know of it."""
        return AssemblyConfig(**{name: getattr(self, name) for name in AssemblyConfig.model_fields})


class ModelConfig(Section):
    name_or_path: str = Field("models/askguru-tiny", description="Base model: a folder or a hub name.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of the frozen weights.")
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="auto: flash attention where it is installed, else sdpa."
    )
    quantization: Literal["none", "4bit", "8bit"] = Field("none", description="QLoRA: bits of the frozen weights.")
    prompt_order: Literal["schema_first", "question_first"] = Field(
        "schema_first", description="schema_first lets questions on one database share a prefix."
    )
    schema_links: bool = Field(
        True,
        description="Prompts say what the question names in the schema, as in training; askguru-tiny needs it.",
    )


class LoraSettings(Section):
    enabled: bool = Field(True, description="False trains every weight.")
    rank: int = Field(32, ge=1, description="Columns of the low-rank matrices: how much an adapter can learn.")
    alpha: int = Field(32, ge=1, description="The adapter's output is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of an adapter's inputs that is dropped while training.")
    strength: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of an adapter's trained correction that is saved: with less, less is forgotten.",
    )
    target_modules: str | list[str] = Field(
        r".*\.(q|k|v|o|gate|up|down)_proj", description="Regex that full-matches module names, or a list."
    )


class TrainingConfig(Section):
    max_length: int = Field(2048, ge=64, description="Longer samples are set aside and counted.")
    epochs: float = Field(1.0, gt=0, description="Passes over the training set.")
    max_steps: int = Field(-1, description="Overrides epochs when positive.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate, reached after the warm-up.")
    lr_scheduler_type: str = Field("cosine", description="Shape of the learning rate after the warm-up.")
    warmup_ratio: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps in which the learning rate rises from 0."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to this length.")
    micro_batch: int = Field(8, ge=1, description="Sequences per device and step.")
    gradient_accumulation: int = Field(2, ge=1, description="Micro batches per step and device.")
    samples_per_row: int = Field(
        1, ge=1, description="Samples with a common beginning (a schema) that are read as one row; wants sdpa."
    )
    packing: bool = Field(False, description="Several samples in one sequence; wants flash attention.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations instead of keeping them: less memory, more time."
    )
    bf16: bool = Field(True, description="bf16 autocast, on devices that multiply bf16 in hardware.")
    logging_steps: int = Field(5, ge=1, description="Steps between two lines of the log.")
    eval_steps: int = Field(40, ge=1, description="Steps between two evaluations.")
    save_steps: int = Field(40, ge=1, description="Steps between two checkpoints.")
    execution_eval_samples: int = Field(0, ge=0, description="Questions answered and executed at every evaluation.")
    early_stop_patience: int = Field(
        0, ge=0, description="Evaluations without a better execution accuracy before training stops; 0: never."
    )
    deepspeed: str | None = Field(None, description="DeepSpeed JSON, relative to the project's root.")
    report_to: list[str] = Field(default_factory=list, description="Extra loggers, e.g. [tensorboard].")

    @model_validator(mode="after")
    def _one_way_to_fill_a_row(self) -> TrainingConfig:
        if self.packing and self.samples_per_row > 1:
            raise ValueError("packing and samples_per_row are two ways to fill a row: choose one")
        return self

    @model_validator(mode="after")
    def _something_to_stop_on(self) -> TrainingConfig:
        if self.early_stop_patience and not self.execution_eval_samples:
            raise ValueError("early_stop_patience watches execution accuracy: set execution_eval_samples above 0")
        if self.early_stop_patience and self.save_steps % self.eval_steps:
            raise ValueError("early_stop_patience keeps the best checkpoint: make save_steps a multiple of eval_steps")
        return self


class InferenceConfig(Section):
    batch_size: int = Field(32, ge=1, description="Questions answered at a time.")
    prefix_cache_mb: int = Field(
        256, ge=0, description="Keys and values of schemas kept between calls, MiB; the newest one is always kept."
    )
    max_new_tokens: int = Field(160, ge=1, description="Longest answer, tokens.")
    constrained: bool = Field(True, description="Identifiers must exist in the prompt's schema.")
    num_candidates: int = Field(5, ge=1, description="Queries per question where several are made.")
    generation_method: Literal["beam", "sampling", "hybrid"] = Field(
        "hybrid", description="How candidates are made: the likeliest, drawn, or some of each."
    )
    num_beams: int = Field(3, ge=1, description="Of num_candidates, how many come from beams in hybrid mode.")
    temperature: float = Field(0.8, gt=0, description="Below 1 sampling keeps to the likeliest tokens.")
    top_p: float = Field(
        0.95, gt=0, le=1, description="Sample among the likeliest tokens that together hold this probability."
    )
    max_refine_attempts: int = Field(3, ge=0, description="Repairs of one query before giving up.")
    use_critic: bool = Field(True, description="A critic chooses among candidates; else a majority vote.")
    coverage_penalty: float = Field(
        3.0,
        ge=0,
        description="Nats that a candidate loses with the critic for each name or number of the question it lacks.",
    )
    critic_reads: bool = Field(
        True, description="The critic has the model read results; false: it only checks what queries use."
    )
    limit: int | None = Field(None, ge=1, description="Only the first so many test questions of each set.")
    base_url: str | None = Field(
        None,
        description="OpenAI-compatible server that answers, http://localhost:8000/v1; null: a model in this process.",
    )
    api_key_env: str = Field("OPENAI_API_KEY", description="Environment variable that holds the server's key, if any.")
    concurrency: int = Field(8, ge=1, description="Requests that are under way at a server at a time.")
    request_timeout_s: float = Field(120.0, gt=0, description="Seconds after which a request is given up and repeated.")
    max_retries: int = Field(
        6, ge=0, description="Repetitions of a request that failed for the moment, after half a second, one, two, ..."
    )
    server_options: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of every request, for what only one kind of server knows."
    )

    @field_validator("base_url")
    @classmethod
    def _no_secret_in_the_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://none")
        if parts.username or parts.password or parts.query:
            raise ValueError("a URL is shown and stored: put the key into the variable that api_key_env names")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL like http://localhost:8000/v1")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _name_of_a_variable(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError("expected the name of an environment variable, never the key itself")
        return name


class EvaluationConfig(Section):
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
    bootstrap_samples: int = Field(2000, ge=100, description="Resamples behind the interval of a difference.")


class RunConfig(Section):
    """Everything that one run of the course is parameterised by."""

    profile: str = Field("tiny", pattern=r"^[A-Za-z0-9_.-]+$", description="Names runs/<profile>/.")
    seed: int = Field(7, ge=0, description="Everything that is drawn at random depends on it.")
    databases: DatabasesConfig = DatabasesConfig()
    schema_: SchemaConfig = Field(SchemaConfig(), alias="schema")
    execution: ExecutionConfig = ExecutionConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    assembly: AssemblyConfig = AssemblyConfig()
    second_round: SecondRoundConfig = SecondRoundConfig()
    model: ModelConfig = ModelConfig()
    lora: LoraSettings = LoraSettings()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @classmethod
    def field_names(cls) -> list[str]:
        """Top-level names as they stand in a parameter file."""
        return [f.alias or name for name, f in cls.model_fields.items()]

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
        """Read a parameter file, lay ``overrides`` (nested) over it, validate.

        A file may begin with ``extends: other.yaml`` (of the same folder) and then holds only what differs from it;
        its profile is called as the file is.

        Raises:
            ConfigError: no such file, malformed YAML (file and line), files that extend each other, unknown or mistyped
                parameter (named, with the nearest valid one).
        """
        path = Path(path)
        return cls.build(merge(_read(path), overrides or {}), where=str(path))

    @classmethod
    def build(cls, data: Mapping[str, Any], where: str = "parameters") -> RunConfig:
        """Validate a nested mapping.

        Raises:
            ConfigError: names every unknown or mistyped parameter at once.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as e:
            raise ConfigError(
                "; ".join(_explain(err) for err in e.errors()),
                where=where,
                hint="askguru params --help lists every parameter",
            ) from None

    def dump(self) -> dict[str, Any]:
        """The nested mapping that ``build`` reads back."""
        return self.model_dump(mode="json", by_alias=True)


def _read(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a parameter file, laid over those of the file that it extends."""
    path = path.resolve() if extending else path
    if path in [p.resolve() for p in extending]:
        chain = " -> ".join(p.name for p in (*extending, path))
        raise ConfigError(f"files extend each other: {chain}", where=str(extending[-1]), hint="remove one 'extends'")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        known = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        hint = f"there are: {', '.join(known)}" if known else "give the path of a YAML file like params/tiny.yaml"
        asked = f" that {extending[-1].name} extends" if extending else ""
        raise ConfigError(f"cannot read the parameter file{asked} ({e.strerror})", where=str(path), hint=hint) from e
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e)
        raise ConfigError(f"malformed YAML: {problem}", where=f"{path}{line}", hint="mend that line") from e
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected 'name: value' lines, found {type(data).__name__}", where=str(path), hint="see params/tiny.yaml"
        )
    if "extends" not in data:
        return data
    parent = data.pop("extends")
    if not isinstance(parent, str):
        raise ConfigError(
            f"'extends' is the name of a parameter file, got {parent!r}", where=str(path), hint="extends: tiny.yaml"
        )
    values = _read(path.parent / parent, (*extending, path))
    RunConfig.build(values, where=str(path.parent / parent))
    return merge(values, {"profile": path.stem, **data})


def _explain(err: Any) -> str:
    path = ".".join(str(p) for p in err["loc"]) or "parameters"
    if err["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, list(parameter_names()), n=1, cutoff=0.5)
        last = difflib.get_close_matches(
            path.rsplit(".", 1)[-1], [n.rsplit(".", 1)[-1] for n in parameter_names()], n=1, cutoff=0.6
        )
        full = near or [n for n in parameter_names() if last and n.rsplit(".", 1)[-1] == last[0]][:1]
        return f"unknown parameter '{path}'" + (f" (did you mean '{full[0]}'?)" if full else "")
    shown = "" if err["type"] == "missing" or path in SECRETIVE else f", got {err.get('input')!r}"
    return f"'{path}': {err['msg'][:1].lower()}{err['msg'][1:]}{shown}"


def parameter_names(model: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Dotted name of every parameter (``training.learning_rate``)."""
    for name, field in model.model_fields.items():
        full = prefix + (field.alias or name)
        yield full
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from parameter_names(field.annotation, full + ".")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: ``over`` wins, sections are merged key by key."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merge(out[key], value) if both else value
    return out


def project_root(start: str | Path | None = None) -> Path:
    """The folder that holds ``params/`` and ``notebooks/``, looked for from the working directory upwards.

    From elsewhere it is the one that this file lies in; the environment variable ``ASKGURU_ROOT`` overrides both.

    Raises:
        ConfigError: neither place belongs to the project.
    """
    if env := os.environ.get("ASKGURU_ROOT"):
        return Path(env).resolve()
    here = Path(start or Path.cwd()).resolve()
    for folder in [here, *here.parents, Path(__file__).resolve().parent.parent]:
        if (folder / "params" / "tiny.yaml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise ConfigError("cannot find the project's root", where=str(here), hint="work inside the cloned repository")


def model_folder(name_or_path: str | Path) -> Path | None:
    """The folder that a model's name means, from the working directory or the project's root; None for a hub name."""
    folders = [Path(name_or_path)]
    with suppress(ConfigError):
        folders.append(project_root() / name_or_path)
    return next((folder for folder in folders if folder.is_dir()), None)
