"""The command line: each command calls the function that the notebook of the same stage calls."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from askguru_lib.errors import AskGuruError

if TYPE_CHECKING:
    from askguru_lib.config import RunConfig
    from askguru_lib.databases.executor import Executor
    from askguru_lib.inference.generation import Generator

app = typer.Typer(
    help="askGuru-SQL: from an unknown database to a fine-tuned, honestly measured text-to-SQL model.\n\n"
    "The usual order: databases → process → assemble → train → infer (or multi-infer) → eval, bird-critic. "
    "`askguru COMMAND --help` shows an example of each. Flags may be written --like_this or --like-this.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": lambda t: t.replace("-", "_")},
)


Config = Annotated[Path | None, typer.Option("--config", help="Parameter file. Default: params/tiny.yaml.")]
Connections = Annotated[Path, typer.Option("--db_conn_config", help="db_conn.json: where the databases are.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model_name_or_path",
        "--generator_path",
        help="Model folder, adapter folder or hub name. Default: the parameter file's base model.",
    ),
]
TestSet = Annotated[
    Path,
    typer.Option("--test_set_path", "--test_data_path", help="Processed questions with 'id' (JSON or JSON Lines)."),
]
Version = Annotated[str, typer.Option("--expr_version", help="Name of this experiment: names the output file.")]
Output = Annotated[
    Path | None, typer.Option("--output_path", help="Predictions. Default: predictions_<expr_version>.jsonl.")
]


@app.command()
def databases(
    folder: Annotated[Path, typer.Option("--folder", help="Receives the databases and their db_conn.json.")],
    names: Annotated[list[str] | None, typer.Option("--name", help="Only these (may be repeated).")] = None,
    engine: Annotated[
        Literal["sqlite", "duckdb", "postgresql"], typer.Option("--engine", help="postgresql: a server from a wheel.")
    ] = "sqlite",
) -> None:
    """Build the embedded sample databases.

    Example: askguru databases --folder runs/tiny/databases
    """
    from askguru_lib.databases.samples import NAMES, build_all

    typer.echo(build_all(folder, tuple(names) if names else NAMES, engine))


@app.command()
def process(
    raw_data_path: Annotated[
        Path,
        typer.Option("--raw_data_path", help="Questions with their SQL (raw format), or Spider's or BIRD's folder."),
    ],
    processed_data_dir: Annotated[Path, typer.Option("--processed_data_dir", help="Receives processed and rejected.")],
    db_conn_config: Annotated[
        Path | None, typer.Option("--db_conn_config", help="db_conn.json. Spider and BIRD bring their databases.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of Spider or BIRD: dev, train or test.")] = "dev",
    config: Config = None,
    resume: Annotated[bool, typer.Option("--resume/--no_resume", help="Go on where a killed call stopped.")] = True,
) -> None:
    """Run every gold query on its database; keep what can be trusted, list what cannot.

    Example: askguru process --raw_data_path raw.json --db_conn_config db_conn.json --processed_data_dir processed/

    Example: askguru process --raw_data_path bird/dev --processed_data_dir processed/
    """
    from askguru_lib.data.processing import process_data

    settings = _config(config)
    report = process_data(
        raw_data_path, db_conn_config, processed_data_dir, config=settings, resume=resume, split=split
    )
    typer.echo(f"{report.processed}: {_counted(report.counts)}")
    if report.reasons:
        typer.echo(f"{report.rejected}: {_counted(report.reasons)}")
    for warning in report.warnings:
        typer.echo(f"note: {warning}", err=True)


@app.command()
def assemble(
    dataset_config_path: Annotated[Path, typer.Option("--dataset_config_path", help="datasets.json: what goes in.")],
    save_path: Annotated[
        Path, typer.Option("--save_path", help="Folder for train.jsonl, val.jsonl and data_card.json, or a .json file.")
    ],
    db_conn_config: Annotated[
        Path | None, typer.Option("--db_conn_config", help="Prove every rewritten query on its database.")
    ] = None,
    config: Config = None,
) -> None:
    """Mix processed data into a training set: tasks, augmentation, leakage check.

    Example: askguru assemble --dataset_config_path datasets.json --save_path training/
    """
    import shutil
    from contextlib import nullcontext

    from askguru_lib.data.assembly import assemble_dataset
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.databases.executor import Executor

    settings = _config(config)
    is_file = save_path.suffix in (".json", ".jsonl")
    folder = save_path.parent if is_file else save_path
    runner = Executor.from_config(load_connections(db_conn_config), settings.execution) if db_conn_config else None
    with runner or nullcontext():
        report = assemble_dataset(dataset_config_path, folder, config=settings, executor=runner)
    if is_file and save_path != report.train:
        shutil.copyfile(report.train, save_path)
    typer.echo(f"{save_path if is_file else report.train}: {_counted(report.counts)}")
    if report.set_aside:
        typer.echo(f"set aside: {_counted(report.set_aside)}")
    for shortage in report.shortages:
        typer.echo(f"short: {shortage}", err=True)


@app.command()
def train(
    config: Config = None,
    train_path: Annotated[Path | None, typer.Option(help="Default: runs/<profile>/training/train.jsonl.")] = None,
    validation_path: Annotated[Path | None, typer.Option(help="Default: val.jsonl beside the training set.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Default: runs/<profile>/model.")] = None,
    db_conn_config: Annotated[
        Path | None, typer.Option("--db_conn_config", help="Only for training.execution_eval_samples.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--no_resume", help="Go on from the last checkpoint.")] = True,
) -> None:
    """Fine-tune the base model with LoRA; writes an adapter, a log and checkpoints.

    Example: askguru train --config params/tiny.yaml
    """
    from askguru_lib.config import project_root
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.training import sft

    settings = _config(config)
    run = project_root() / "runs" / settings.profile
    source = train_path or run / "training" / "train.jsonl"
    validation = validation_path or source.with_name("val.jsonl")
    result = sft.train(
        settings,
        source,
        validation if validation_path or validation.is_file() else None,
        output_dir or run / "model",
        resume=resume,
        connections=load_connections(db_conn_config) if db_conn_config else None,
    )
    typer.echo(f"{result.adapter}: {_counted(result.metrics)}")


@app.command()
def merge(
    adapter: Annotated[Path, typer.Option("--adapter", help="Adapter folder that `train` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Receives a plain model.")],
    base: Annotated[str | None, typer.Option("--base", help="Default: the base that the adapter names.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Type of the merged weights.")
    ] = "float32",
) -> None:
    """Add an adapter into its base model, for serving without PEFT.

    Example: askguru merge --adapter runs/tiny/model/adapter --out runs/tiny/model/merged
    """
    from askguru_lib.training.sft import merge_adapter

    typer.echo(merge_adapter(base or _base_of(adapter), adapter, out, dtype=dtype))


@app.command()
def infer(
    test_set_path: TestSet,
    expr_version: Version = "v1",
    model_name_or_path: Model = None,
    output_path: Output = None,
    db_conn_config: Annotated[
        Path | None, typer.Option("--db_conn_config", help="db_conn.json; --refine needs it: queries are run.")
    ] = None,
    refine: Annotated[
        bool,
        typer.Option("--refine/--no_refine", help="Run each query; on an error, ask again with the engine's words."),
    ] = False,
    config: Config = None,
) -> None:
    """Answer every question of a test set with one query each; a killed call goes on where it stopped.

    Example: askguru infer --model_name_or_path runs/tiny/model/adapter --test_set_path test.jsonl --expr_version lora

    Example: askguru infer --test_set_path test.jsonl --refine --db_conn_config db_conn.json
    """
    from askguru_lib.errors import ConfigError
    from askguru_lib.inference.generation import answer
    from askguru_lib.inference.pipeline import answer_and_refine

    if refine and db_conn_config is None:
        raise ConfigError("queries are run to be refined", where="--refine", hint="give --db_conn_config")
    settings = _config(config)
    test_set = _test_set(test_set_path, settings.inference.limit)
    path = output_path or Path(f"predictions_{expr_version}.jsonl")
    generator = _generator(model_name_or_path, settings)
    if refine and db_conn_config:
        with _executor(db_conn_config, settings) as executor:
            answered = answer_and_refine(test_set, generator, executor, path, desc=expr_version)
        outcomes = Counter(line["outcome"] for line in answered)
        typer.echo(f"{path}: {len(answered)} predictions, {_counted(dict(outcomes))}")
        return
    answered = answer(test_set, generator, path, settings, desc=expr_version)
    typer.echo(f"{path}: {len(answered)} predictions")


@app.command("multi-infer")
def multi_infer(
    test_set_path: TestSet,
    db_conn_config: Connections,
    expr_version: Version = "multi",
    model_name_or_path: Model = None,
    num_candidates: Annotated[int | None, typer.Option("--num_candidates", min=1, help="Queries per question.")] = None,
    generation_method: Annotated[
        Literal["beam", "sampling", "hybrid"] | None,
        typer.Option("--generation_method", help="hybrid: the likeliest by beam search, the rest sampled."),
    ] = None,
    use_critic: Annotated[
        Literal["true", "false"] | None, typer.Option("--use_critic", help="false: majority vote on the results.")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine/--no_refine", help="Where no candidate runs, repair the likeliest one.")
    ] = True,
    output_path: Output = None,
    config: Config = None,
) -> None:
    """Write several queries per question, run them, and choose by a critic or by majority vote.

    A killed call goes on where it stopped: the candidates lie beside the predictions.

    Example: askguru multi-infer --model_name_or_path runs/tiny/model/adapter --test_set_path test.jsonl
    --db_conn_config db_conn.json --num_candidates 5 --generation_method hybrid --use_critic true
    """
    from askguru_lib.inference.pipeline import answer_and_choose

    critic = None if use_critic is None else use_critic == "true"
    over = {"num_candidates": num_candidates, "generation_method": generation_method, "use_critic": critic}
    settings = _config(config, {"inference": {k: v for k, v in over.items() if v is not None}})
    test_set = _test_set(test_set_path, settings.inference.limit)
    path = output_path or Path(f"predictions_{expr_version}.jsonl")
    generator = _generator(model_name_or_path, settings)
    with _executor(db_conn_config, settings) as executor:
        chosen = answer_and_choose(test_set, generator, executor, path, repair=refine, desc=expr_version)
    methods = Counter(line["method"] for line in chosen)
    typer.echo(f"{path}: {len(chosen)} predictions, {_counted(dict(methods))}")


@app.command("eval")
def evaluate(
    pred_sql_path: Annotated[
        Path, typer.Option("--pred_sql_path", help="Predictions: ours, BIRD's JSON, or Spider's text (.sql, .txt).")
    ],
    test_sql_path: Annotated[Path, typer.Option("--test_sql_path", help="The test set with its gold SQL.")],
    db_conn_config: Connections,
    report_path: Annotated[
        Path | None, typer.Option("--report_path", help="Write numbers and items as JSON, and a figure beside it.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another report on the same test set: is the difference real?")
    ] = None,
    suite_dir: Annotated[
        Path | None,
        typer.Option("--suite_dir", help="Also test-suite accuracy: folder with <db>/*.sqlite, as Spider's."),
    ] = None,
    r_ves: Annotated[int, typer.Option("--r_ves", min=0, help="Also R-VES, from this many runs (BIRD: 100).")] = 0,
    results_path: Annotated[
        Path | None,
        typer.Option("--results_path", help="Store of results. Default: results.sqlite beside db_conn.json."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no_resume", help="Take over stored results: of gold, and of a killed call.")
    ] = True,
    config: Config = None,
) -> None:
    """Run predictions and gold on the databases: execution accuracy with its interval.

    Every result is stored as it comes, so a killed call goes on where it was, and gold is not run again for the next
    file of predictions. A result belongs to a database's file as it is; of servers nothing is kept after the call.

    Example: askguru eval --pred_sql_path predictions_v1.jsonl --test_sql_path test.jsonl --db_conn_config db_conn.json

    Example: askguru eval ... --report_path v2.json --compare v1.json
    """
    from contextlib import nullcontext

    from askguru_lib.data.files import file_hash
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.databases.executor import Executor
    from askguru_lib.databases.result_store import ResultStore
    from askguru_lib.evaluation import efficiency
    from askguru_lib.evaluation.evaluate import Evaluation
    from askguru_lib.evaluation.evaluate import compare as difference
    from askguru_lib.evaluation.evaluate import evaluate as score
    from askguru_lib.evaluation.submissions import read_predictions
    from askguru_lib.evaluation.suites import suite_accuracy

    settings = _config(config)
    other = Evaluation.load(compare) if compare else None
    test_set = _test_set(test_sql_path)
    predictions = read_predictions(pred_sql_path, test_set)
    scope = file_hash(pred_sql_path) + file_hash(test_sql_path)
    path = results_path or db_conn_config.with_name("results.sqlite")
    more: dict[str, Any] = {}
    with (
        ResultStore(path, scope) if resume else nullcontext() as store,
        Executor.from_config(load_connections(db_conn_config), settings.execution, store) as executor,
    ):
        scores = score(predictions, test_set, executor, config=settings, desc="running")
        typer.echo(f"EX       {scores.ex!r}\nBIRD EX  {scores.bird_ex!r}\nvalid    {scores.valid_sql!r}")
        if scores.soft_f1 is not None:
            typer.echo(f"Soft-F1  {scores.soft_f1:.1%}")
        if suite_dir:
            found = suite_accuracy(scores, suite_dir, config=settings, desc="test suite")
            more["test_suite"] = {**found.accuracy.to_dict(), "passed": found.passed, "excluded": found.excluded}
            typer.echo(f"suite    {found.accuracy!r}")
            for name, message in found.excluded.items():
                typer.echo(f"excluded from the suite: gold of {name} ({message})", err=True)
        if r_ves:
            value, ratios = efficiency.r_ves(scores, executor, runs=r_ves, desc="timing")
            more["r_ves"] = {"value": value, "runs": r_ves, "time_ratios": ratios}
            typer.echo(f"R-VES    {value:.1f}")
        if store:
            store.forget_scope()
            if store.hits:
                typer.echo(f"{store.hits} results were taken over from {path}", err=True)
    for field in ("db_name", "difficulty", "features"):
        for group, row in scores.by(field).iterrows():
            typer.echo(
                f"  {field} {group}: EX {row['ex']:.1%} [{row['low']:.1%}, {row['high']:.1%}], n = {row['n']:.0f}"
            )
    if other:
        typer.echo(f"against {compare}: EX {difference(other, scores)!r}")
    for item in scores.excluded:
        typer.echo(f"excluded: gold of {item['id']} ({item['kind']}: {item['message']})", err=True)
    if report_path:
        from askguru_lib import plots

        typer.echo(scores.save(report_path, **more))
        figure = report_path.with_suffix(".png")
        plots.evaluation_bars(scores).savefig(figure, dpi=150, bbox_inches="tight")
        typer.echo(figure)


@app.command("bird-critic")
def bird_critic(
    items_path: Annotated[
        Path, typer.Option("--items_path", help="Items in the official JSON Lines format, with solutions and tests.")
    ],
    pred_path: Annotated[
        str,
        typer.Option(
            "--pred_path",
            help="JSON Lines of {instance_id, pred_sqls}; or 'solution' (must reach 100 %) or 'issue' (must get 0 %).",
        ),
    ],
    db_conn_path: Annotated[
        Path,
        typer.Option(
            "--db_conn_path", "--db_conn_config", help="db_conn.json: SQLite files, or PostgreSQL as administrator."
        ),
    ],
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Receives report.json and journal.jsonl.")],
    timeout_s: Annotated[float, typer.Option("--timeout_s", min=0.1, help="Seconds per statement and per test.")] = 60,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Items judged at a time.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume/--no_resume", help="Take over the verdicts of a killed or an earlier call.")
    ] = True,
) -> None:
    """Judge repairs of user issues by the items' own tests, each on a fresh copy of its database.

    Predictions may write; what they break is a copy. The tests are Python code from the items' file, and they are run:
    use only items that you trust. An item whose solution fails or whose issue passes is named and judges nobody.

    Example: askguru bird-critic --items_path askguru_lib/databases/samples/bird_critic/sqlite.jsonl
    --pred_path solution --db_conn_path runs/tiny/databases/db_conn.json --output_dir critic/
    """
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.evaluation import bird_critic as critic

    items = critic.read_items(items_path)
    given = pred_path in critic.BASELINES
    predictions = critic.baseline(items, pred_path) if given else critic.read_predictions(pred_path, items)
    report = critic.score(
        items,
        predictions,
        load_connections(db_conn_path),
        timeout_s=timeout_s,
        workers=workers,
        journal=output_dir / "journal.jsonl",
        resume=resume,
        desc="judging",
    )
    typer.echo(f"success  {report.success_rate!r}")
    for category, row in report.by_category().iterrows():
        typer.echo(f"  {category}: {row['rate']:.1%} [{row['low']:.1%}, {row['high']:.1%}], n = {row['n']:.0f}")
    for item in report.items:
        if item["status"] != "pass":
            typer.echo(f"{item['instance_id']}: {item['status']}: {item['message']}")
    for item in report.defective:
        typer.echo(f"defective: {item['instance_id']}: {item['reason']}", err=True)
    typer.echo(report.save(output_dir / "report.json"))


@app.command()
def params(
    name: Annotated[str | None, typer.Argument(help="Only parameters whose name contains this.")] = None,
) -> None:
    """List every parameter of params/*.yaml with its default and its meaning.

    Example: askguru params training
    """
    for full, default, meaning in _parameters():
        if name is None or name in full:
            typer.echo(f"{full} = {default}" + (f"\n    {meaning}" if meaning else ""))


def _parameters() -> list[tuple[str, str, str]]:
    """Dotted name, default as YAML writes it, and description of every parameter."""
    import json

    from pydantic import BaseModel

    from askguru_lib.config import RunConfig

    def walk(model: type[BaseModel], defaults: dict[str, Any], prefix: str) -> list[tuple[str, str, str]]:
        rows: list[tuple[str, str, str]] = []
        for field, info in model.model_fields.items():
            key = info.alias or field
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                rows += walk(info.annotation, defaults[key], f"{prefix}{key}.")
            else:
                rows.append((prefix + key, json.dumps(defaults[key]), info.description or ""))
        return rows

    return walk(RunConfig, RunConfig().dump(), "")


def _config(path: Path | None, overrides: dict[str, Any] | None = None) -> RunConfig:
    from askguru_lib.config import RunConfig, project_root

    return RunConfig.load(path or project_root() / "params" / "tiny.yaml", overrides)


def _executor(connections: Path, config: RunConfig) -> Executor:
    from askguru_lib.databases.connection import load_connections
    from askguru_lib.databases.executor import Executor

    return Executor.from_config(load_connections(connections), config.execution)


def _counted(counts: dict[str, Any]) -> str:
    def show(value: Any) -> str:
        if isinstance(value, dict):
            return f"({_counted(value)})"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name.replace('_', ' ')} {show(value)}" for name, value in counts.items())


def _test_set(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Processed records; one without ``id`` is called by its place in the raw file."""
    from askguru_lib.data.files import read_records

    records = read_records(path)[:limit]
    return [{"id": str(record.get("idx", i)), **record} for i, record in enumerate(records)]


def _base_of(adapter: Path) -> str:
    from askguru_lib.data.files import read_json
    from askguru_lib.errors import MissingArtifactError

    note = adapter / "base.json"  # as training leaves it, also beside a fully fine-tuned model
    if note.is_file():
        return read_json(note)["name_or_path"]
    settings = adapter / "adapter_config.json"
    if not settings.is_file():
        raise MissingArtifactError("no adapter there", where=str(adapter), hint="train one first: askguru train")
    return read_json(settings)["base_model_name_or_path"]


def _generator(name: str | None, config: RunConfig) -> Generator:
    """A generator of a base model, a merged model or, when the folder holds one, an adapter on its base."""
    from askguru_lib.inference.generation import Generator, load_model

    source = name or config.model.name_or_path
    if (Path(source) / "adapter_config.json").is_file():
        model, tokenizer = load_model(_base_of(Path(source)), adapter=source, config=config)
    else:
        model, tokenizer = load_model(source, config=config)
    return Generator(model, tokenizer, config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: an error that askGuru raises on purpose is a message and an exit code, never a traceback."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="askguru")
    except AskGuruError as e:
        typer.echo(f"askguru: {e}", err=True)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
