"""Figures of what comes out: learning curves, accuracy, mistakes, speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from askguru_lib.evaluation.evaluate import Evaluation
from askguru_lib.evaluation.metrics import Proportion
from askguru_lib.plots.style import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    QUIET,
    WIDTH,
    figure,
    figures,
    grouped_bars,
    interval_bars,
    line,
    need,
    rows_only,
    use_style,
)


def loss_curve(log: pd.DataFrame) -> Figure:
    """Training and validation loss by step, and below execution accuracy and learning rate where the log has them.

    Args:
        log: columns ``step``, ``loss`` and if there are any ``eval_loss``, ``eval_ex`` and ``lr``; gaps are allowed.
    """
    need(log, "step", "loss")
    use_style()
    below = {"eval_ex": "accuracy", "lr": "learning rate"}
    below = {column: label for column, label in below.items() if column in log and log[column].notna().any()}
    fig, axes = figures((WIDTH, 3.4 + 0.8 * len(below)), 1, 1 + len(below), sharex=True)
    ax = axes[0]
    train = log[["step", "loss"]].dropna()
    ax.plot(train["step"], train["loss"], color=COLOURS[0], linewidth=1.6, label="training")
    if "eval_loss" in log and log["eval_loss"].notna().any():
        held = log[["step", "eval_loss"]].dropna()
        ax.plot(held["step"], held["eval_loss"], "s--", color=COLOURS[5], markersize=5, label="validation")
        step, last = held.iloc[-1]
        ax.annotate(f"{last:.3f}", (step, last), (0, 7), textcoords="offset points", ha="center")
    ax.set(ylabel="loss", ylim=(0, None))
    ax.legend()
    for ax, (column, label) in zip(axes[1:], below.items(), strict=True):
        known = log[["step", column]].dropna()
        ax.plot(known["step"], known[column], "o-" if column == "eval_ex" else "-", color=QUIET, linewidth=1.4)
        ax.set(ylabel=label, ylim=(0, 1 if column == "eval_ex" else None))
    if "lr" in below:
        axes[-1].ticklabel_format(axis="y", scilimits=(0, 0))
    axes[-1].set(xlabel="step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


def bars_with_intervals(
    data: pd.DataFrame | Mapping[str, Proportion], *, label: str = "label", value: str = "value"
) -> Figure:
    """Proportions with their confidence intervals as whiskers.

    Args:
        data: proportions by name; or a table with columns ``label`` (else the index names the bars), ``value``,
            ``low``, ``high`` between 0 and 1, and ``n``.
        label: the column that names the bars.
        value: the column that holds the proportion, for instance ``ex``.
    """
    df = data if isinstance(data, pd.DataFrame) else _table_of(data)
    need(df, value, "low", "high")
    use_style()
    fig, ax = figure((WIDTH, 1.1 + 0.42 * len(df)))
    names = [str(v) for v in df.get(label, df.index)]
    if "n" in df:
        names = [f"{name}  (n = {int(n):,})" for name, n in zip(names, df["n"], strict=True)]
    interval_bars(ax, np.arange(len(df)), df.assign(value=df[value]), COLOURS[0])
    ax.set(yticks=range(len(df)), yticklabels=names)
    ax.invert_yaxis()
    return fig


def _table_of(proportions: Mapping[str, Proportion]) -> pd.DataFrame:
    rows = [(name, p.value, p.low, p.high, p.n) for name, p in proportions.items()]
    return pd.DataFrame(rows, columns=["label", "value", "low", "high", "n"])


def ladder(df: pd.DataFrame) -> Figure:
    """The book's central figure: execution accuracy rung by rung, the test sets side by side.

    Args:
        df: columns ``set``, ``rung``, ``value``, ``low``, ``high``, ``n``; rungs in climbing order. A rung whose name
            contains *oracle* or *nearest* is no rung but a mark: what a perfect choice among the candidates would
            reach, and what copying the nearest training question's SQL reaches.
    """
    need(df, "set", "rung", "value", "low", "high", "n")
    use_style()
    marks = df["rung"].str.contains("oracle|nearest", case=False)
    rungs = list(df.loc[~marks, "rung"].unique())
    sets = list(df["set"].unique())
    fig, axes = figures((max(WIDTH, 2.4 + 3.1 * len(sets)), 1.7 + 0.46 * len(rungs)), len(sets), sharey=True)
    top = float(df["high"].max())
    shades = mpl.colormaps["Blues"](np.linspace(0.35, 0.85, max(len(rungs), 1)))
    for ax, name in zip(axes, sets, strict=True):
        mine = df[(df["set"] == name) & ~marks].set_index("rung")
        at = [i for i, rung in enumerate(rungs) if rung in mine.index]
        interval_bars(ax, np.array(at), mine.loc[[rungs[i] for i in at]], shades[at], top=top)
        for i, rung in enumerate(rungs):
            if rung not in mine.index:
                ax.text(0.01, i, "not run", va="center", style="italic", color=QUIET, fontsize=9)
        for _, mark in df[(df["set"] == name) & marks].iterrows():
            oracle = "oracle" in mark["rung"].lower()
            colour, dashes = (COLOURS[2], "--") if oracle else (COLOURS[5], ":")
            ax.axvspan(mark["low"], mark["high"], color=colour, alpha=0.12, linewidth=0, zorder=0)
            label = f"{mark['rung']} {mark['value']:.1%}"
            line(ax, mark["value"], label, dashes, colour, height=0.98 if oracle else 0.02, align="auto")
        sizes = df.loc[df["set"] == name, "n"].astype(int)
        size = f"{sizes.max():,}" if sizes.nunique() == 1 else f"{sizes.min():,} to {sizes.max():,}"
        ax.set(title=f"{name}  (n = {size})")
        ax.set(yticks=range(len(rungs)), yticklabels=rungs, ylim=(-1.0, len(rungs) - 0.1), xlabel="execution accuracy")
    return fig


def pass_at_k(df: pd.DataFrame) -> Figure:
    """How often one of the first *k* candidates is right.

    Args:
        df: columns ``method``, ``k``, ``value`` between 0 and 1, and if there are any ``low`` and ``high``.
    """
    need(df, "method", "k", "value")
    use_style()
    fig, ax = figure((WIDTH, 3.4))
    for i, (method, group) in enumerate(df.groupby("method", sort=False)):
        group = group.sort_values("k")
        style: dict[str, Any] = {"marker": MARKERS[i % 6], "linestyle": DASHES[i % 6], "color": COLOURS[i % 6]}
        ax.plot(group["k"], group["value"], label=str(method), linewidth=1.8, **style)
        if {"low", "high"} <= set(group):
            ax.fill_between(group["k"], group["low"], group["high"], color=COLOURS[i % 6], alpha=0.13, linewidth=0)
    ax.set(xlabel="k candidates", ylabel="pass@k", xticks=sorted(df["k"].unique()))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="best")
    return fig


def error_taxonomy(df: pd.DataFrame) -> Figure:
    """How often each kind of mistake was made, the commonest first.

    Args:
        df: columns ``kind`` and ``count``, and ``series`` where systems are compared.
    """
    need(df, "kind", "count")
    use_style()
    series = df["series"] if "series" in df else pd.Series("count", index=df.index)
    table = df.assign(series=series).pivot_table("count", "kind", "series", "sum", fill_value=0, sort=False)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    fig, ax = figure((WIDTH, 1.1 + 0.36 * len(table) * max(1.0, 0.7 * table.shape[1])))
    grouped_bars(ax, table, stacked=False, text=lambda v: f"{v:,.0f}")
    ax.set(xlabel="predictions")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


def latency(df: pd.DataFrame) -> Figure:
    """How long an answer takes: every measurement a dot, a box for the middle half, the median in figures.

    Args:
        df: columns ``label`` and ``seconds``, one row per measurement.
    """
    need(df, "label", "seconds")
    use_style()
    groups = [(str(name), g["seconds"].to_numpy(dtype=float)) for name, g in df.groupby("label", sort=False)]
    fig, ax = figure((WIDTH, 1.2 + 0.5 * len(groups)))
    ax.boxplot(
        [values for _, values in groups],
        positions=range(len(groups)),
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": "#cfe4f3", "edgecolor": COLOURS[0]},
        medianprops={"color": INK, "linewidth": 2},
    )
    for i, (_, values) in enumerate(groups):
        spread = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.34
        ax.plot(values, i + spread, ".", color=QUIET, markersize=3.5, alpha=0.6, linestyle="none")
        ax.text(np.median(values), i - 0.31, f"{np.median(values):.3g} s", ha="center", va="bottom", fontsize=8.5)
    ax.set(yticks=range(len(groups)), yticklabels=[name for name, _ in groups], xlabel="seconds per question")
    ax.set(xlim=(0, None), ylim=(len(groups) - 0.4, -0.7))
    rows_only(ax)
    return fig


def evaluation_bars(scores: Evaluation) -> Figure:
    """Execution accuracy of one evaluation by database, difficulty and SQL feature, with intervals."""
    shares = {"all": scores.ex}
    for field, title in (("db_name", "database"), ("difficulty", "difficulty"), ("features", "with")):
        for value, row in scores.by(field).iterrows():
            shares[f"{title}: {value}"] = Proportion(round(row["ex"] * row["n"]), int(row["n"]), scores.confidence)
    return bars_with_intervals(shares)
