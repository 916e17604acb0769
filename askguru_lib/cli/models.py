"""Commands that train a model or ask it: train, merge, infer, multi-infer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from askguru_lib.cli.app import app
from askguru_lib.cli.options import (
    BaseUrl,
    Config,
    Connections,
    Constrained,
    Model,
    Output,
    TestSet,
    Version,
    counted,
    inference_overrides,
    load_config,
    load_generator,
    open_executor,
    read_test_set,
)


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

    settings = load_config(config)
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
    typer.echo(f"{result.adapter}: {counted(result.metrics)}")


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
    from askguru_lib.inference.origin import base_of
    from askguru_lib.training.sft import merge_adapter

    typer.echo(merge_adapter(base or base_of(adapter), adapter, out, dtype=dtype))


@app.command()
def infer(
    test_set_path: TestSet,
    expr_version: Version = "v1",
    model_name_or_path: Model = None,
    base_url: BaseUrl = None,
    constrained: Constrained = None,
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

    Example: askguru infer --base_url http://localhost:8000/v1 --model my-model --constrained false
    --test_set_path test.jsonl (the server: `vllm serve`, `transformers serve`; Ollama is at http://localhost:11434/v1)
    """
    from askguru_lib.errors import ConfigError
    from askguru_lib.inference.generation import answer
    from askguru_lib.inference.pipeline import answer_and_refine

    if refine and db_conn_config is None:
        raise ConfigError("queries are run to be refined", where="--refine", hint="give --db_conn_config")
    settings = load_config(config, inference_overrides(base_url=base_url, constrained=constrained))
    test_set = read_test_set(test_set_path, settings.inference.limit)
    path = output_path or Path(f"predictions_{expr_version}.jsonl")
    generator = load_generator(model_name_or_path, settings)
    if refine and db_conn_config:
        with open_executor(db_conn_config, settings) as executor:
            answered = answer_and_refine(test_set, generator, executor, path, desc=expr_version)
        outcomes = Counter(line["outcome"] for line in answered)
        typer.echo(f"{path}: {len(answered)} predictions, {counted(dict(outcomes))}")
        return
    answered = answer(test_set, generator, path, settings, desc=expr_version)
    typer.echo(f"{path}: {len(answered)} predictions")


@app.command("multi-infer")
def multi_infer(
    test_set_path: TestSet,
    db_conn_config: Connections,
    expr_version: Version = "multi",
    model_name_or_path: Model = None,
    base_url: BaseUrl = None,
    constrained: Constrained = None,
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

    Example: askguru multi-infer --base_url http://localhost:8000/v1 --model my-model --constrained false
    --generation_method sampling --test_set_path test.jsonl --db_conn_config db_conn.json
    """
    from askguru_lib.inference.pipeline import answer_and_choose

    over = inference_overrides(
        base_url=base_url, constrained=constrained, num_candidates=num_candidates,
        generation_method=generation_method, use_critic=use_critic,
    )  # fmt: skip
    settings = load_config(config, over)
    test_set = read_test_set(test_set_path, settings.inference.limit)
    path = output_path or Path(f"predictions_{expr_version}.jsonl")
    generator = load_generator(model_name_or_path, settings)
    with open_executor(db_conn_config, settings) as executor:
        chosen = answer_and_choose(test_set, generator, executor, path, repair=refine, desc=expr_version)
    methods = Counter(line["method"] for line in chosen)
    typer.echo(f"{path}: {len(chosen)} predictions, {counted(dict(methods))}")
