"""Commands that measure: eval, bird-critic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from askguru_lib.cli.app import app
from askguru_lib.cli.options import Config, Connections, load_config, read_test_set


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

    settings = load_config(config)
    other = Evaluation.load(compare) if compare else None
    test_set = read_test_set(test_sql_path)
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
