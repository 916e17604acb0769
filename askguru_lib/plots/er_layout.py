"""Where the boxes and arrows of an entity-relationship picture go: a layered layout in inches.

The method is Sugiyama's (Sugiyama, Tagawa and Toda 1981): tables into layers by what they refer to, a stand-in for a
long arrow in every layer it crosses, each layer ordered by the mean position of its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path

from askguru_lib.databases.m_schema import MSchema

ROW, CHARACTER, GAP_X, GAP_Y, MARGIN = 0.205, 0.0755, 0.95, 0.32, 0.12
INK, QUIET, HEAD, LINE = "#1f2328", "#59636e", "#cfe4f3", "#0b5c9e"


@dataclass
class _Box:
    """A table, or (without rows) the stand-in for an arrow that passes its layer."""

    name: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    more: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    @property
    def rest(self) -> str:
        return _rest(self.more)

    @property
    def height(self) -> float:
        return ROW * (1.25 + len(self.rows) + bool(self.more)) if self.width else ROW

    def row_y(self, column: str) -> float:
        names = [name for _, name in self.rows]
        return self.y + ROW * (1.25 + names.index(column) + 0.5) if column in names else self.y + ROW * 0.62


def _rest(more: int) -> str:
    return f"+ {more} column" + "s" * (more != 1)


def draw_er(mschema: MSchema) -> tuple[float, float, Callable[[Axes], None]]:
    """Lay a database out.

    Returns:
        Width and height in inches, and a function that draws on axes of that size.
    """
    keys = [(t, c, rt, rc) for t, c, _, rt, rc in _known_keys(mschema)]
    boxes = {t: _box(mschema, t, {c for kt, c, *_ in keys if kt == t}) for t in mschema.tables}
    layer_of = _layers(list(boxes), {(t, rt) for t, _, rt, _ in keys if t != rt})
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values(), default=0) + 1)]
    for table, layer in layer_of.items():
        layers[layer].append(table)
    routes = []
    for n, (t, c, rt, rc) in enumerate(keys):
        step = 1 if layer_of[rt] > layer_of[t] else -1
        passed = [] if t == rt else list(range(layer_of[t] + step, layer_of[rt], step))
        stops = [f"\0{n}/{layer}" for layer in passed]
        for stop, layer in zip(stops, passed, strict=True):
            boxes[stop] = _Box(stop)
            layers[layer].append(stop)
        routes.append((t, c, stops, rt, rc))
    _order(layers, [(a, b) for t, _, stops, rt, _ in routes for a, b in _pairs([t, *stops, rt]) if a != b])
    width, height = _place(layers, boxes)

    def draw(ax: Axes) -> None:
        ax.set(xlim=(0, width), ylim=(height, 0))
        ax.set_aspect("equal")
        ax.axis("off")
        for table, column, stops, target, key in routes:
            _arrow(ax, boxes[table], column, [boxes[s] for s in stops], boxes[target], key)
        for name, box in boxes.items():
            if name in mschema.tables:
                _draw_box(ax, box)

    return width, height, draw


def _known_keys(mschema: MSchema) -> list[list[Any]]:
    """Keys to tables of another schema have no box to point to."""
    return [k for k in mschema.foreign_keys if k[0] in mschema.tables and k[3] in mschema.tables]


def _box(mschema: MSchema, table: str, foreign: set[str]) -> _Box:
    fields = mschema.tables[table]["fields"]
    tags = {c: " ".join(["PK"] * f["primary_key"] + ["FK"] * (c in foreign)) for c, f in fields.items()}
    rows = sorted(((tag, c) for c, tag in tags.items() if tag), key=lambda row: not row[0].startswith("PK"))
    more = len(fields) - len(rows)
    longest = max([len(table) + 1, *(len(c) + 6 for _, c in rows), len(_rest(more))])
    return _Box(table, rows, more, width=longest * CHARACTER + 0.2)


def _layers(tables: list[str], edges: set[tuple[str, str]]) -> dict[str, int]:
    """Referred tables left of those that refer to them; an edge that closes a circle is ignored."""
    parents = {t: sorted(b for a, b in edges if a == t) for t in tables}
    layer: dict[str, int] = {}
    open_: set[str] = set()

    def visit(table: str) -> int:
        if table not in layer:
            open_.add(table)
            layer[table] = 1 + max((visit(p) for p in parents[table] if p not in open_), default=-1)
            open_.discard(table)
        return layer[table]

    for table in tables:
        visit(table)
    for table in sorted(tables, key=lambda t: -layer[t]):  # then as close as possible to what refers to it
        after = [layer[a] for a, b in edges if b == table and layer[a] > layer[table]]
        layer[table] = max(layer[table], min(after, default=0) - 1)
    return layer


def _order(layers: list[list[str]], edges: list[tuple[str, str]]) -> None:
    neighbours: dict[str, list[str]] = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    for sweep in range(8):
        inwards = layers if sweep % 2 else layers[::-1]
        for layer in inwards:
            place = {n: (i + 0.5) / len(other) for other in layers for i, n in enumerate(other)}
            fixed = {n for n in place if n not in layer}
            mean = {}
            for n in layer:
                seen = [place[m] for m in neighbours.get(n, []) if m in fixed]
                mean[n] = sum(seen) / len(seen) if seen else place[n]
            layer.sort(key=lambda n, mean=mean: mean[n])  # type: ignore[misc]


def _place(layers: list[list[str]], boxes: dict[str, _Box]) -> tuple[float, float]:
    heights = [sum(boxes[n].height for n in layer) + GAP_Y * (len(layer) - 1) for layer in layers]
    total, x = max(heights, default=0.5), MARGIN
    for layer, height in zip(layers, heights, strict=True):
        widest = max((boxes[n].width for n in layer), default=0.0)
        y = MARGIN + (total - height) / 2
        for n in layer:
            box = boxes[n]
            box.x, box.y = x + (widest - box.width) / 2 * bool(box.width), y
            y += box.height + GAP_Y
            if not box.width:
                box.x, box.width = x, widest
                box.y += ROW / 2
        x += widest + GAP_X
    return max(x - GAP_X + MARGIN + 0.25, 1.0), max(total, 0.5) + 2 * MARGIN


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(names))


def _arrow(ax: Axes, box: _Box, column: str, stops: list[_Box], target: _Box, key: str) -> None:
    if box is target:
        right = box.x + box.width
        top, low = box.row_y(key), box.row_y(column)
        points = [(right, low), (right + 0.3, low), (right + 0.3, top), (right, top)]
    else:
        back = target.x > box.x
        x = box.x + box.width if back else box.x
        points = [(x, box.row_y(column))]
        for stop in stops:
            sides = (stop.x, stop.x + stop.width) if back else (stop.x + stop.width, stop.x)
            points += _bend(points[-1], (sides[0], stop.y)) + [(sides[1], stop.y)] * 3
        points += _bend(points[-1], (target.x if back else target.x + target.width, target.row_y(key)))
    path = Path(points, [Path.MOVETO] + [Path.CURVE4] * (len(points) - 1))
    ax.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=11, color=LINE, linewidth=1.2, zorder=1))
    ax.plot(*points[0], "o", color=LINE, markersize=4, zorder=4)


def _bend(a: tuple[float, float], b: tuple[float, float]) -> list[tuple[float, float]]:
    middle = (a[0] + b[0]) / 2
    return [(middle, a[1]), (middle, b[1]), b]


def _draw_box(ax: Axes, box: _Box) -> None:
    ax.add_patch(Rectangle((box.x, box.y), box.width, box.height, facecolor="white", edgecolor=INK, zorder=2))
    ax.add_patch(Rectangle((box.x, box.y), box.width, ROW * 1.25, facecolor=HEAD, edgecolor=INK, zorder=2))
    text: dict[str, Any] = {"family": "DejaVu Sans Mono", "size": 9, "va": "center", "zorder": 3, "parse_math": False}
    ax.text(box.x + 0.1, box.y + ROW * 0.63, box.name, color=INK, weight="bold", **text)
    for i, (tag, column) in enumerate(box.rows):
        y = box.y + ROW * (1.25 + i + 0.5)
        ax.text(box.x + 0.1, y, tag, color=QUIET, **{**text, "size": 7.5})
        ax.text(box.x + 0.1 + 5.6 * CHARACTER, y, column, color=INK, **text)
    if box.more:
        y = box.y + ROW * (1.25 + len(box.rows) + 0.45)
        ax.text(box.x + 0.1, y, box.rest, color=QUIET, style="italic", **{**text, "size": 8})
