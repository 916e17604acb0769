"""How every figure looks, and the pieces that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.rcsetup import cycler
from matplotlib.ticker import PercentFormatter

INK, QUIET, FAINT = "#1f2328", "#59636e", "#d0d7de"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's palette: apart for every kind of colour vision, and in grey."""
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
WIDTH = 7.4
PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}


def use_style() -> None:
    """Make the figures of this session look like the book's."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "font.family": "DejaVu Sans",
            "text.color": INK,
            "axes.facecolor": "white",
            "axes.labelcolor": INK,
            "axes.edgecolor": QUIET,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=COLOURS),
            "grid.color": FAINT,
            "grid.linewidth": 0.7,
            "xtick.color": INK,
            "ytick.color": INK,
            "hatch.color": "white",
            "hatch.linewidth": 1.0,
            "legend.frameon": False,
        }
    )


def figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    fig, axes = figures(size)
    return fig, axes[0]


def figures(size: tuple[float, float], across: int = 1, down: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    if down > 1:
        options["height_ratios"] = [3] + [1] * (down - 1)
    fig, axes = plt.subplots(down, across, figsize=size, squeeze=False, **options)
    plt.close(fig)  # pyplot forgets it, so that a notebook shows the returned figure and not a second one
    return fig, list(axes.flat)


def need(frame: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in frame]
    if missing:
        raise KeyError(f"the table lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")


def rows_only(*axes: Axes) -> None:
    for ax in axes:
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)


def grouped_bars(ax: Axes, table: pd.DataFrame, *, stacked: bool, text: Callable[[float], str]) -> None:
    at, offset = np.arange(len(table)), np.zeros(len(table))
    thickness = 0.62 if stacked else 0.76 / table.shape[1]
    for i, name in enumerate(table.columns):
        values = table[name].to_numpy(dtype=float)
        shift = 0.0 if stacked else (i - (table.shape[1] - 1) / 2) * thickness
        style: dict[str, Any] = {"color": COLOURS[i % 6], "hatch": HATCHES[i % 6], "label": str(name)}
        bars = ax.barh(at + shift, values, height=thickness, left=offset if stacked else 0, **style)
        if stacked:
            offset = offset + values
        else:
            ax.bar_label(bars, [text(v) for v in values], padding=3, fontsize=9)
    if stacked:
        for y, total in zip(at, offset, strict=True):
            ax.text(float(total), float(y), f" {text(total)}", va="center", fontsize=9, bbox=PLATE, zorder=4)
    ax.set(yticks=at, yticklabels=[str(v) for v in table.index])
    ax.margins(x=0.12)
    ax.invert_yaxis()
    rows_only(ax)
    if table.shape[1] > 1:
        ax.legend(
            handles=[Patch(facecolor=COLOURS[i % 6], hatch=HATCHES[i % 6], label=str(c)) for i, c in enumerate(table)],
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=min(4, table.shape[1]),
            borderaxespad=0.2,
        )


def interval_bars(ax: Axes, at: np.ndarray, df: pd.DataFrame, colours: Any, top: float | None = None) -> None:
    value, low, high = (df[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
    ax.barh(at, value, height=0.6, color=colours)
    error = np.clip(np.vstack([value - low, high - value]), 0, None)
    ax.errorbar(value, at, xerr=error, fmt="none", ecolor=INK, elinewidth=1.4, capsize=4)
    for y, v, h in zip(at, value, high, strict=True):
        ax.text(max(v, h) + 0.012, y, f"{v:.1%}", va="center", fontsize=9, bbox=PLATE, zorder=4)
    largest = top if top is not None else float(high.max(initial=0.05))
    ax.set_xlim(0, max(largest, 0.05) * 1.2 + 0.03)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    rows_only(ax)


def line(
    ax: Axes, x: float, text: str, dashes: str = "--", colour: str = INK, *, height: float = 0.98, align: str = "left"
) -> None:
    """A labelled vertical line.

    Args:
        ax: the axes; with ``align="auto"`` their horizontal limits must be set.
        x: where, in data units.
        text: the label, on a ground of its own.
        dashes: line style.
        colour: line colour.
        height: of the label, as a fraction of the axes.
        align: ``left`` or ``right`` edge of the label at the line; ``auto`` chooses the roomier side.
    """
    outline = [withStroke(linewidth=3.4, foreground="white")]  # seen on dark bars, too
    ax.axvline(x, color=colour, linestyle=dashes, linewidth=1.6, path_effects=outline)
    if align == "auto":
        left, right = ax.get_xlim()
        align = "right" if x - left > 0.5 * (right - left) else "left"
    ax.annotate(
        text,
        (x, height),
        (-4 if align == "right" else 4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=align,
        va="bottom" if height < 0.5 else "top",
        fontsize=8.5,
        color=INK,
        bbox=PLATE,
    )
