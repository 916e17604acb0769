"""Commands that make data: databases, process, assemble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from askguru_lib.cli.app import app
from askguru_lib.cli.options import Config, counted, load_config


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

    settings = load_config(config)
    report = process_data(
        raw_data_path, db_conn_config, processed_data_dir, config=settings, resume=resume, split=split
    )
    typer.echo(f"{report.processed}: {counted(report.counts)}")
    if report.reasons:
        typer.echo(f"{report.rejected}: {counted(report.reasons)}")
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

    settings = load_config(config)
    is_file = save_path.suffix in (".json", ".jsonl")
    folder = save_path.parent if is_file else save_path
    runner = Executor.from_config(load_connections(db_conn_config), settings.execution) if db_conn_config else None
    with runner or nullcontext():
        report = assemble_dataset(dataset_config_path, folder, config=settings, executor=runner)
    if is_file and save_path != report.train:
        shutil.copyfile(report.train, save_path)
    typer.echo(f"{save_path if is_file else report.train}: {counted(report.counts)}")
    if report.set_aside:
        typer.echo(f"set aside: {counted(report.set_aside)}")
    for shortage in report.shortages:
        typer.echo(f"short: {shortage}", err=True)
