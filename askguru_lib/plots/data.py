"""Figures of what goes in: databases, prompts, training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.plots.er_layout import draw_er
from askguru_lib.plots.style import (
    COLOURS,
    FAINT,
    HATCHES,
    INK,
    QUIET,
    WIDTH,
    figure,
    figures,
    grouped_bars,
    line,
    need,
    rows_only,
    use_style,
)

_UNDRAWABLE = str.maketrans({"【": "⟦", "】": "⟧", " ": "·", "\t": "⇥", "\r": "", "\n": "↵"})


def er_diagram(mschema: MSchema) -> Figure:
    """The tables with their key columns, and an arrow from every foreign key to the table it points to.

    Tables that others refer to stand on the left, those that refer to them on the right.
    """
    use_style()
    width, height, draw = draw_er(mschema)
    fig, ax = figure((width, height))
    draw(ax)
    return fig


def column_profile(frame: pd.DataFrame) -> Figure:
    """How full and how varied every column is.

    Args:
        frame: one row per column: ``column``, ``rows``, ``nulls``, ``distinct``, and if there are any ``table``
            and ``category``.
    """
    need(frame, "column", "rows", "nulls", "distinct")
    use_style()
    names = frame["column"].astype(str)
    if "table" in frame and frame["table"].nunique() > 1:
        names = frame["table"].astype(str) + "." + names
    if "category" in frame:
        names = names + "  ·  " + frame["category"].astype(str)
    fig, (full, varied) = figures((WIDTH, 1.1 + 0.24 * len(frame)), 2, sharey=True)
    rows = frame["rows"].clip(lower=1)
    filled = 1 - frame["nulls"] / rows
    at = np.arange(len(frame))
    full.barh(at, filled, color=COLOURS[0], height=0.7)
    with mpl.rc_context({"hatch.color": QUIET}):
        full.barh(at, 1 - filled, left=filled, color="white", edgecolor=QUIET, hatch="////", height=0.7, linewidth=0.6)
    full.set(xlim=(0, 1), title="filled (hatched: NULL)", yticks=at, yticklabels=names)
    full.xaxis.set_major_formatter(PercentFormatter(1))
    bars = varied.barh(at, frame["distinct"].clip(lower=1), color=COLOURS[2], height=0.7)
    varied.bar_label(bars, [f"{v:,}" for v in frame["distinct"]], padding=3, fontsize=8)
    varied.set(xscale="log", title="distinct values (log scale)", xlim=(0.8, 6 * float(frame["distinct"].max() or 1)))
    full.set_ylim(len(frame) - 0.4, -0.6)
    rows_only(full, varied)
    return fig


def count_grid(frame: pd.DataFrame) -> Figure:
    """Counts by row and column as a grid; the darker, the more. Zeros are left empty.

    Args:
        frame: counts, its index names the rows and its columns the columns.
    """
    use_style()
    counts = frame.to_numpy(dtype=float)
    fig, ax = figure((WIDTH, 1.6 + 0.26 * len(frame)))
    shade = counts / max(counts.max(initial=0), 1)
    ax.imshow(shade, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shade[row, column] > 0.75 else INK
            ax.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(len(frame.columns)), [str(c) for c in frame.columns], rotation=40, ha="right")
    ax.set_yticks(range(len(frame)), [str(i) for i in frame.index])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return fig


def token_bars(df: pd.DataFrame, *, stacked: bool = False, limit: int | None = None) -> Figure:
    """Tokens of different texts.

    Args:
        df: one row per thing measured (the index names it), one column per series, values in tokens.
        stacked: the columns are parts of one text, so lay them end to end.
        limit: draw the longest length a model reads.
    """
    use_style()
    thickness = 1 if stacked else df.shape[1]
    fig, ax = figure((WIDTH, 1.2 + 0.36 * len(df) * max(1.0, 0.7 * thickness)))
    grouped_bars(ax, df, stacked=stacked, text=lambda v: f"{v:,.0f}")
    ax.set(xlabel="tokens")
    if limit is not None:
        ax.set_xlim(0, 1.2 * max(limit, float(df.sum(axis=1).max() if stacked else df.max().max())))
        line(ax, limit, f"limit {limit:,}")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return fig


def loss_mask(
    tokens: Sequence[str], mask: Sequence[bool | int], *, head: int = 90, tail: int = 150, columns: int = 92
) -> Figure:
    """The sequence a model is trained on, token by token; filled and bold what it is scored on.

    Args:
        tokens: decoded tokens; spaces are drawn as ``·``, line breaks as ``↵``, lenticular brackets as ``⟦⟧``.
        mask: true where the token counts in the loss, one per token.
        head: tokens shown from the beginning; a longer middle that is not scored is left out and counted.
        tail: tokens shown from the end.
        columns: characters per line.
    """
    if len(tokens) != len(mask):
        raise ValueError(f"{len(tokens)} tokens but {len(mask)} mask values")
    use_style()
    cells = [(str(t).translate(_UNDRAWABLE) or "∅", bool(m), str(t)) for t, m in zip(tokens, mask, strict=True)]
    cut = min(len(cells) - tail, next((i for i, c in enumerate(cells) if c[1]), len(cells)))
    if cut > head:
        cells[head:cut] = [(f" … {cut - head} more tokens … ", False, "\n")]
    placed, row, column = [], 0, 0
    for text, learned, raw in cells:
        if column and column + len(text) > columns and raw != "\n":
            row, column = row + 1, 0
        placed.append((row, column, text, learned))
        column += len(text)
        if raw.endswith("\n"):
            row, column = row + 1, 0
    rows = placed[-1][0] + 1 if placed else 1
    fig, ax = figure((columns * 0.083 + 0.1, 0.21 * rows + 0.5))
    ax.set(xlim=(0, columns + 1), ylim=(rows, 0))
    ax.axis("off")
    for row, column, text, learned in placed:
        style: dict[str, Any] = {"facecolor": "#cfe4f3", "edgecolor": COLOURS[0], "linewidth": 1.1, "zorder": 2}
        if not learned:
            style = {"facecolor": "white", "edgecolor": FAINT, "linewidth": 0.6}
        ax.add_patch(Rectangle((column + 0.04, row + 0.06), len(text) - 0.08, 0.88, **style))
        ax.text(
            column + len(text) / 2,
            row + 0.52,
            text,
            family="DejaVu Sans Mono",
            size=8.5,
            ha="center",
            va="center",
            color=INK if learned else QUIET,
            weight="bold" if learned else "normal",
            zorder=3,
            parse_math=False,
        )
    learned_n = sum(map(bool, mask))
    ax.set_title(f"{len(mask) - learned_n:,} tokens are read only   ·   {learned_n:,} (filled, bold) are learned")
    return fig


def length_histogram(lengths: Sequence[int], limit: int | None = None) -> Figure:
    """How long the samples are, in tokens, with median and 95th percentile; what lies beyond ``limit`` is hatched."""
    use_style()
    values = np.asarray(lengths, dtype=float)
    fig, ax = figure((WIDTH, 3.2))
    edges = np.histogram_bin_edges(values, bins=min(40, max(8, int(len(values) ** 0.5))))
    if limit is not None and edges[0] < limit < edges[-1]:
        edges = np.unique(np.append(edges, limit + 0.5))
    bins = [float(e) for e in edges]
    over = values > limit if limit is not None else np.zeros(len(values), dtype=bool)
    ax.hist(values[~over], bins, color=COLOURS[0], edgecolor="white", linewidth=0.5)
    if over.any():
        ax.hist(values[over], bins, color=COLOURS[5], hatch="///", edgecolor="white", linewidth=0.5)
    ax.margins(y=0.3)
    if len(values):
        median, high = np.percentile(values, [50, 95])
        line(ax, float(median), f"median {median:,.0f}", ":", align="right")
        line(ax, float(high), f"95th percentile {high:,.0f}", ":")
    if limit is not None:
        line(ax, limit, f"limit {limit:,}: {over.sum():,} of {len(values):,} beyond", height=0.89, align="auto")
    ax.set(xlabel="tokens per sample", ylabel="samples")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return fig


def mixture_bars(counts: Mapping[str, int], target: Mapping[str, float] | None = None) -> Figure:
    """How many samples each task has, its share, and where given the share that was asked for.

    Args:
        counts: samples per task.
        target: wished share per task, between 0 and 1; drawn as a diamond.
    """
    use_style()
    total = sum(counts.values()) or 1
    shares = pd.Series(counts, dtype=float) / total
    fig, ax = figure((WIDTH, 1.1 + 0.42 * len(shares)))
    at = np.arange(len(shares))
    for i, share in enumerate(shares):
        ax.barh(i, share, color=COLOURS[i % 6], hatch=HATCHES[i % 6], height=0.62)
    ends = [max(s, (target or {}).get(str(k), 0.0)) for k, s in shares.items()]
    for i, (count, share, end) in enumerate(zip(counts.values(), shares, ends, strict=True)):
        ax.text(end + 0.018, i, f"{count:,}  ({share:.1%})", va="center", fontsize=9)
    if target:
        wished = [target.get(str(k), np.nan) for k in shares.index]
        ax.plot(wished, at, "D", color="white", markeredgecolor=INK, markersize=7, linestyle="none", label="asked for")
        ax.legend(loc="lower right")
    ax.set(yticks=at, yticklabels=list(shares.index), xlim=(0, max([*ends, 0.01]) * 1.3), xlabel="share of the samples")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.invert_yaxis()
    rows_only(ax)
    return fig
