"""What the figures draw: heights, texts and marks, never pixels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from askguru_lib import plots
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.evaluation.metrics import Proportion


def texts(where: Axes | Figure) -> list[str]:
    """Every text inside, titles, tick labels and legends too."""
    where.get_figure(root=True).draw_without_rendering()
    return [t.get_text() for t in where.findobj(plt.Text) if t.get_text()]


def bars(ax: Axes) -> list[float]:
    return [p.get_width() for c in ax.containers if hasattr(c, "patches") for p in c.patches]


def yticks(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.get_yticklabels()]


@pytest.fixture
def shop() -> MSchema:
    schema = MSchema("shop")
    for table, columns in {
        "customers": ["id", "name"],
        "orders": ["id", "customer_id", "placed_on", "total"],
        "lines": ["order_id", "customer_id", "note"],
    }.items():
        schema.add_table(table)
        for column in columns:
            schema.add_field(table, column, "INTEGER", primary_key=column == "id")
    schema.add_foreign_key("orders", "customer_id", None, "customers", "id")
    schema.add_foreign_key("lines", "order_id", None, "orders", "id")
    schema.add_foreign_key("lines", "customer_id", None, "customers", "id")
    return schema


@pytest.fixture
def rungs() -> pd.DataFrame:
    values = [
        ("your database", "base", 0.1),
        ("your database", "+ LoRA", 0.5),
        ("your database", "oracle pass@5", 0.8),
        ("your database", "nearest neighbour", 0.3),
        ("unseen database", "base", 0.2),
    ]
    return pd.DataFrame(
        [{"set": s, "rung": r, "value": v, "low": v - 0.05, "high": v + 0.1, "n": 120} for s, r, v in values]
    )


def test_er_diagram_shows_tables_and_keys_and_counts_the_other_columns(shop: MSchema) -> None:
    shown = texts(plots.er_diagram(shop))
    assert {"customers", "orders", "lines", "customer_id", "order_id", "PK", "FK"} <= set(shown)
    assert "+ 2 columns" in shown  # of orders
    assert "placed_on" not in shown


def test_er_diagram_draws_one_arrow_per_foreign_key(shop: MSchema) -> None:
    shop.add_foreign_key("orders", "total", "other", "elsewhere", "id")
    arrows = plots.er_diagram(shop).findobj(FancyArrowPatch)
    assert len(arrows) == 3


def test_er_diagram_places_referred_tables_left_and_boxes_apart(shop: MSchema) -> None:
    ax = plots.er_diagram(shop).axes[0]
    titles = {t.get_text(): t.get_position()[0] for t in ax.texts}
    assert titles["customers"] < titles["orders"] < titles["lines"]
    boxes = [p.get_bbox() for p in ax.patches if isinstance(p, Rectangle) and p.get_facecolor()[:3] == (1, 1, 1)]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [("orders", "id", "orders", "id")],
        [("orders", "customer_id", "customers", "id"), ("customers", "id", "orders", "id")],
    ],
    ids=["no keys", "a table that refers to itself", "a circle"],
)
def test_er_diagram_of_unusual_keys(shop: MSchema, keys: list[tuple[str, str, str, str]]) -> None:
    shop.foreign_keys = [[t, c, None, rt, rc] for t, c, rt, rc in keys]
    assert len(plots.er_diagram(shop).findobj(FancyArrowPatch)) == len(keys)


def test_er_diagram_of_an_empty_database() -> None:
    assert texts(plots.er_diagram(MSchema("empty"))) == []


def test_column_profile_shows_shares_and_distinct_values() -> None:
    frame = pd.DataFrame(
        {"column": ["id", "note"], "category": ["Code", "Text"], "rows": 200, "nulls": [0, 50], "distinct": [200, 7]}
    )
    full, varied = plots.column_profile(frame).axes
    assert bars(full) == pytest.approx([1, 0.75, 0, 0.25])
    assert bars(varied) == [200, 7]
    assert yticks(full) == ["id  ·  Code", "note  ·  Text"]
    assert {"200", "7"} <= set(texts(varied))


def test_column_profile_names_the_table_when_there_are_several() -> None:
    frame = pd.DataFrame({"table": ["a", "b"], "column": "id", "rows": [3, 0], "nulls": 0, "distinct": [3, 0]})
    assert yticks(plots.column_profile(frame).axes[0]) == ["a.id", "b.id"]


def test_token_bars_side_by_side() -> None:
    table = pd.DataFrame({"M-Schema": [800, 900], "DDL": [1300, 1400]}, index=["library", "airline"])
    ax = plots.token_bars(table).axes[0]
    assert bars(ax) == [800, 900, 1300, 1400]
    assert yticks(ax) == ["library", "airline"]
    assert {"M-Schema", "DDL", "1,300"} <= set(texts(ax))


def test_token_bars_stacked_end_at_the_total_and_show_the_limit() -> None:
    table = pd.DataFrame({"schema": [800], "question": [30]}, index=["prompt"])
    ax = plots.token_bars(table, stacked=True, limit=1024).axes[0]
    ends = [p.get_x() + p.get_width() for c in ax.containers for p in c.patches]
    assert ends == [800, 830]
    assert {" 830", "limit 1,024"} <= set(texts(ax))
    assert ax.get_xlim()[1] > 1024


def test_series_differ_without_colour() -> None:
    table = pd.DataFrame({name: [1, 2] for name in "abcdef"})
    ax = plots.token_bars(table).axes[0]
    assert len({c.patches[0].get_hatch() for c in ax.containers if hasattr(c, "patches")}) == 6
    lines = plots.pass_at_k(pd.DataFrame({"method": list("ab"), "k": 1, "value": 0.5})).axes[0].lines
    assert lines[0].get_marker() != lines[1].get_marker()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_loss_mask_fills_exactly_the_learned_tokens() -> None:
    ax = plots.loss_mask(["<s>", "how many", "\n", "SELECT", " 1", "</s>"], [0, 0, 0, 1, 1, 1]).axes[0]
    bold = [t.get_text() for t in ax.texts if t.get_weight() == "bold"]
    quiet = [t.get_text() for t in ax.texts if t.get_weight() != "bold"]
    assert bold == ["SELECT", "·1", "</s>"]
    assert quiet == ["<s>", "how·many", "↵"]
    white = [p for p in ax.patches if p.get_facecolor()[:3] == (1, 1, 1)]
    assert (len(white), len(ax.patches)) == (3, 6)
    assert "3 tokens are read only" in ax.get_title(loc="left")


def test_loss_mask_leaves_out_a_long_middle_and_counts_it() -> None:
    tokens = [f"t{i}" for i in range(500)]
    mask = [0] * 490 + [1] * 10
    shown = [t.get_text() for t in plots.loss_mask(tokens, mask, head=20, tail=50).axes[0].texts]
    assert shown[19:22] == ["t19", " … 430 more tokens … ", "t450"]
    assert shown[-1] == "t499"


def test_loss_mask_never_leaves_out_a_learned_token() -> None:
    tokens, mask = [f"t{i}" for i in range(500)], [0] * 100 + [1] * 400
    texts_ = plots.loss_mask(tokens, mask, head=20, tail=50).axes[0].texts
    assert sum(t.get_weight() == "bold" for t in texts_) == 400


def test_loss_mask_refuses_a_mask_of_another_length() -> None:
    with pytest.raises(ValueError, match="2 tokens but 1 mask"):
        plots.loss_mask(["a", "b"], [1])


def test_length_histogram_counts_every_sample_and_those_beyond_the_limit() -> None:
    lengths = [*range(100, 300), 400, 401]
    ax = plots.length_histogram(lengths, limit=350).axes[0]
    heights = [[p.get_height() for p in c.patches] for c in ax.containers]
    assert [sum(h) for h in heights] == [200, 2]
    shown = texts(ax)
    assert "limit 350: 2 of 202 beyond" in shown
    assert f"median {np.median(lengths):,.0f}" in shown


def test_a_sample_as_long_as_the_limit_is_within_it() -> None:
    assert "limit 5: 1 of 3 beyond" in texts(plots.length_histogram([4, 5, 6], limit=5))


def test_length_histogram_without_samples() -> None:
    assert "tokens per sample" in texts(plots.length_histogram([]))


def test_mixture_bars_shows_counts_shares_and_what_was_asked_for() -> None:
    ax = plots.mixture_bars({"nl2sqlite": 70, "self_refine": 30}, {"nl2sqlite": 0.6, "self_refine": 0.4}).axes[0]
    assert bars(ax) == pytest.approx([0.7, 0.3])
    assert list(ax.lines[0].get_xdata()) == [0.6, 0.4]
    assert {"70  (70.0%)", "30  (30.0%)", "asked for"} <= set(texts(ax))


def test_loss_curve_draws_both_losses_through_their_gaps() -> None:
    log = pd.DataFrame(
        {"step": [1, 2, 2, 3], "loss": [3.0, 2.0, np.nan, 1.0], "eval_loss": [np.nan, np.nan, 2.5, np.nan]}
    )
    (ax,) = plots.loss_curve(log).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 2, 1], [2.5]]
    assert {"training", "validation", "2.500"} <= set(texts(ax))


def test_loss_curve_adds_the_learning_rate_where_the_log_has_one() -> None:
    log = pd.DataFrame({"step": [1, 2], "loss": [3.0, 2.0], "lr": [1e-3, 5e-4]})
    _, rate = plots.loss_curve(log).axes
    assert list(rate.lines[0].get_ydata()) == [1e-3, 5e-4]
    assert rate.get_ylabel() == "learning rate"


def test_loss_curve_has_a_panel_for_execution_accuracy() -> None:
    log = pd.DataFrame({"step": [1, 2], "loss": [3.0, 2.0], "lr": [1e-3, 5e-4], "eval_ex": [np.nan, 0.25]})
    _, accuracy, rate = plots.loss_curve(log).axes
    assert list(accuracy.lines[0].get_ydata()) == [0.25]
    assert accuracy.get_ylim() == (0, 1)
    assert rate.get_ylabel() == "learning rate"


def test_bars_with_intervals_draws_whiskers_from_low_to_high() -> None:
    df = pd.DataFrame(
        {"label": ["simple", "hard"], "value": [0.8, 0.25], "low": [0.7, 0.1], "high": [0.9, 0.5], "n": 40}
    )
    ax = plots.bars_with_intervals(df).axes[0]
    assert bars(ax) == [0.8, 0.25]
    whiskers = next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments()
    np.testing.assert_allclose([s[:, 0] for s in whiskers], [[0.7, 0.9], [0.1, 0.5]])
    assert yticks(ax) == ["simple  (n = 40)", "hard  (n = 40)"]
    assert {"80.0%", "25.0%"} <= set(texts(ax))


def test_bars_with_intervals_takes_proportions_by_name() -> None:
    ax = plots.bars_with_intervals({"a": Proportion(3, 4), "none asked": Proportion(0, 0)}).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a  (n = 4)", "none asked  (n = 0)"]
    assert ax.patches[0].get_width() == 0.75


def test_bars_with_intervals_takes_the_names_from_the_index_and_another_value() -> None:
    df = pd.DataFrame({"ex": [0.5], "low": [0.4], "high": [0.6]}, index=["library"])
    ax = plots.bars_with_intervals(df, value="ex").axes[0]
    assert (yticks(ax), bars(ax)) == (["library"], [0.5])


def test_ladder_has_one_panel_per_set_and_climbs(rungs: pd.DataFrame) -> None:
    mine, unseen = plots.ladder(rungs).axes
    assert bars(mine) == [0.1, 0.5]
    assert bars(unseen) == [0.2]
    assert yticks(mine) == ["base", "+ LoRA"]
    assert mine.get_ylim()[0] < mine.get_ylim()[1]  # the first rung at the bottom
    assert mine.get_title(loc="left") == "your database  (n = 120)"


def test_ladder_marks_the_oracle_and_the_control_instead_of_giving_them_a_rung(rungs: pd.DataFrame) -> None:
    mine, unseen = plots.ladder(rungs).axes
    assert {"oracle pass@5 80.0%", "nearest neighbour 30.0%"} <= set(texts(mine))
    upright = {line.get_xdata()[0]: line.get_linestyle() for line in mine.lines if len(set(line.get_xdata())) == 1}
    assert upright[0.8] != upright[0.3]
    assert not any("oracle" in t for t in texts(unseen))


def test_ladder_says_which_rung_was_not_run(rungs: pd.DataFrame) -> None:
    mine, unseen = plots.ladder(rungs).axes
    assert "not run" in texts(unseen)
    assert "not run" not in texts(mine)


def test_pass_at_k_sorts_by_k_and_shades_the_interval() -> None:
    df = pd.DataFrame({"method": "beam", "k": [3, 1, 2], "value": [0.7, 0.5, 0.6], "low": 0.4, "high": 0.8})
    ax = plots.pass_at_k(df).axes[0]
    assert list(ax.lines[0].get_ydata()) == [0.5, 0.6, 0.7]
    assert len(ax.collections) == 1


def test_error_taxonomy_puts_the_commonest_mistake_first() -> None:
    df = pd.DataFrame(
        {"kind": ["syntax", "wrong rows", "syntax"], "count": [2, 9, 1], "series": ["base", "base", "LoRA"]}
    )
    ax = plots.error_taxonomy(df).axes[0]
    assert yticks(ax) == ["wrong rows", "syntax"]
    assert sorted(bars(ax)) == [0, 1, 2, 9]
    assert {"base", "LoRA"} <= set(texts(ax))


def test_latency_writes_the_median_and_draws_every_measurement() -> None:
    df = pd.DataFrame({"label": ["greedy"] * 3 + ["five"], "seconds": [0.1, 0.2, 0.9, 1.5]})
    ax = plots.latency(df).axes[0]
    assert yticks(ax) == ["greedy", "five"]
    assert {"0.2 s", "1.5 s"} <= set(texts(ax))
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == ".") == 4


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="lacks high; it has value, low"):
        plots.bars_with_intervals(pd.DataFrame({"value": [1], "low": [0]}))


def test_figures_are_left_to_the_caller_to_show() -> None:
    """pyplot would show a figure that it knows a second time, beside the returned one."""
    plots.mixture_bars({"a": 1})
    assert plt.get_fignums() == []


def test_count_grid_prints_every_count_and_leaves_zeros_empty():
    frame = pd.DataFrame({"joins": [3, 0], "dates": [12, 7]}, index=["plant", "claims"])
    figure = plots.count_grid(frame)
    (ax,) = figure.axes
    placed = {tuple(int(v) for v in t.get_position()): t.get_text() for t in ax.texts}
    assert placed == {(0, 0): "3", (1, 0): "12", (1, 1): "7"}
    assert {"plant", "claims", "joins", "dates"} <= set(texts(figure))
