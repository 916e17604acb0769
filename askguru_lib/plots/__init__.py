"""The course's figures: small functions from a table to a matplotlib ``Figure``.

Every figure stands on its own white ground, so that it reads in a light and in a dark page, and tells its series apart
by hatching, marker and line style as well as by colour, so that it prints. No function shows its figure: end a cell
with the call and the notebook displays it once.
"""

from askguru_lib.plots.data import (
    column_profile,
    count_grid,
    er_diagram,
    length_histogram,
    loss_mask,
    mixture_bars,
    token_bars,
)
from askguru_lib.plots.results import (
    bars_with_intervals,
    error_taxonomy,
    evaluation_bars,
    ladder,
    latency,
    loss_curve,
    pass_at_k,
)
from askguru_lib.plots.style import use_style

__all__ = [
    "bars_with_intervals",
    "column_profile",
    "count_grid",
    "er_diagram",
    "error_taxonomy",
    "evaluation_bars",
    "ladder",
    "latency",
    "length_histogram",
    "loss_curve",
    "loss_mask",
    "mixture_bars",
    "pass_at_k",
    "token_bars",
    "use_style",
]
