"""A picture of an architecture: its cells and the pyramid of its loss."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from nni_count.architecture import Architecture, CellKind
from nni_count.ops import NONE, OPERATIONS, POOLINGS
from nni_count.runs.files import write_figure

if TYPE_CHECKING:  # matplotlib takes long to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#2d3748"

# cells are drawn in inches
ROW, COLUMN = 0.64, 1.5
CHIP, DROP = (1.0, 0.24), 0.27  # size of an operation's label, and how far it hangs below its source's line
LEFT = 0.95  # from the cell's left border to its first column
LEVEL = 3.2  # from a level of the pyramid to the next


def draw_cells(architecture: Architecture, path: str | Path) -> None:
    """Draw both cells and the pooling pyramid as a PNG, which appears whole or not at all.

    A cell reads like a circuit. Every node's output runs to the right along a row of its own; where an operation taps
    it there is a dot, and the results of a node's operations flow down into it. So no two labels ever meet, however
    many edges there are.
    """
    write_figure(path, _cells_figure(architecture), dpi=130)


def _cells_figure(architecture: Architecture) -> Figure:
    from matplotlib.figure import Figure

    kinds = architecture.kinds
    families = _families(architecture)
    widths = [LEFT + kind.nodes * COLUMN + 1.2 for kind in kinds]
    wanted = (sum(widths) + 0.2, LEVEL * len(architecture.pooling) + 2.3, sum(map(_legend_width, families)) + 2.6)
    rows = max(kind.computed.stop for kind in kinds)
    width, height = max(wanted), 3.26 + rows * ROW
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    for kind, left in zip(kinds, (0.3, widths[0] + 0.3), strict=True):
        _draw_cell(axes, kind, architecture, left, height - 0.35)
    _draw_pyramid(axes, architecture.pooling, 0.3, 2.25)
    _draw_legend(axes, families)
    return figure


def _families(architecture: Architecture) -> dict[str, str]:
    """Those of the operations that stand in the architecture, with their colours, in the order of the registry."""
    cells = [edges for kind in architecture.kinds for edges in architecture.cell(kind).values()]
    used = {name for edges in cells for name in edges.values()}
    return {operation.family: operation.colour for name, operation in OPERATIONS.items() if name in used}


def _words(name: str) -> str:
    """``sep_conv_3x3`` → ``sep conv 3×3``"""
    return re.sub(r"(\d)x(\d)", r"\1×\2", name).replace("_", " ")


def _line(axes: Axes, xs: Sequence[float], ys: Sequence[float], arrow: bool = False, **style: Any) -> None:
    axes.plot(xs, ys, **{"color": INK, "linewidth": 1.4, "solid_capstyle": "round", **style})
    if arrow:
        properties = {"arrowstyle": "-|>", "color": style.get("color", INK), "linewidth": 0, "shrinkA": 0, "shrinkB": 0}
        step = (np.sign(xs[-1] - xs[-2]) * 0.01, np.sign(ys[-1] - ys[-2]) * 0.01)
        start = (xs[-1] - step[0], ys[-1] - step[1])
        axes.annotate("", (xs[-1], ys[-1]), start, arrowprops={**properties, "mutation_scale": 11}, zorder=3)


def _box(axes: Axes, x: float, y: float, size: tuple[float, float], text: str, **style: Any) -> None:
    """A rounded box with text about ``(x, y)``."""
    from matplotlib.patches import FancyBboxPatch

    colour = style.pop("text_colour", "white")
    corner = (x - size[0] / 2, y - size[1] / 2)
    shape = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=shape, **{"linewidth": 1, "zorder": 4, **style}))
    fontsize = 8.5 * min(1, 13 * size[0] / max(1, len(text)))  # a long name is written smaller
    axes.text(x, y - 0.005, text, ha="center", va="center", fontsize=fontsize, color=colour, zorder=5)


def _operation(axes: Axes, x: float, y: float, name: str) -> None:
    colour = OPERATIONS[name].colour
    empty = name == NONE
    style = {"linestyle": "--", "text_colour": colour} if empty else {}
    _box(axes, x, y, CHIP, _words(name), facecolor="white" if empty else colour, edgecolor=colour, **style)


def _draw_cell(axes: Axes, kind: CellKind, architecture: Architecture, left: float, top: float) -> None:
    cell = architecture.cell(kind)
    axes.text(left, top, f"{kind.name.capitalize()} cell", fontsize=13, fontweight="bold", color=INK, va="center")
    inputs = len(kind.inputs)
    rows = [top - 0.5 - node * ROW for node in range(kind.computed.stop)]
    entry = {node: left + LEFT + (place + 1) * COLUMN - 0.1 for place, node in enumerate(kind.computed)}
    end = max(entry.values()) + 0.55
    starts = [left + 0.6] * inputs + [entry[node] for node in kind.computed]
    for node, (start, y) in enumerate(zip(starts, rows, strict=True)):
        taps = [entry[later] - COLUMN + 0.25 for later, edges in cell.items() if node in edges]
        if node in kind.computed:
            _line(axes, (start, end - 0.13), (y, y), arrow=True, zorder=1)
            axes.plot(start, y, "o", color=INK, markersize=23, markeredgecolor="white", zorder=6)
            axes.text(start, y - 0.005, str(node), ha="center", va="center", color="white", fontsize=9.5, zorder=7)
            continue
        if taps:
            _line(axes, (start, max(taps)), (y, y), zorder=1)
        _box(axes, start - 0.3, y, (0.6, 0.3), kind.inputs[node], facecolor="#e2e8f0", edgecolor=INK, text_colour=INK)
        if not taps:
            axes.text(start + 0.1, y, "not used", va="center", fontsize=8, fontstyle="italic", color="#8a8a8a")
    for node, edges in cell.items():
        x = entry[node]
        for source in sorted(edges):
            y, tap = rows[source], x - COLUMN + 0.25
            colour, dashes = OPERATIONS[edges[source]].colour, "--" if edges[source] == NONE else "-"
            chip = x - 0.12 - CHIP[0] / 2
            below = y - DROP
            _line(axes, (tap, tap, chip - CHIP[0] / 2), (y, below, below), arrow=True, color=colour, linestyle=dashes)
            _line(axes, (chip, x), (below, below), color=colour, linestyle=dashes)
            axes.plot(tap, y, "o", color=INK, markersize=4, zorder=3)
            _operation(axes, chip, below, edges[source])
        alive = [source for source in edges if edges[source] != NONE]
        for sources, dashes in ((list(edges), "--"), (alive, "-")):
            if sources and (dashes == "-" or not alive or min(edges) < min(alive)):
                colour = INK if dashes == "-" else OPERATIONS[NONE].colour
                ys = (rows[min(sources)] - DROP, rows[node] + 0.17)
                _line(axes, (x, x), ys, color="white", linewidth=5, zorder=1.5)  # a bridge over the lines it crosses
                _line(axes, (x, x), ys, arrow=True, color=colour, linestyle=dashes, zorder=2)
    first, last = rows[inputs], rows[-1]
    size = (0.26, first - last + (0.4 if kind.nodes > 1 else 0.6))
    _box(axes, end, (first + last) / 2, size, "", facecolor="#e2e8f0", edgecolor=INK)
    text = "concat → output" if kind.nodes > 1 else "output"
    axes.text(end, (first + last) / 2, text, rotation=90, ha="center", va="center", fontsize=9, zorder=5)


def _draw_pyramid(axes: Axes, pooling: Sequence[str], left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    axes.text(left, top, "Scale pyramid pooling loss", fontsize=13, fontweight="bold", color=INK, va="center")
    axes.text(left + 2.8, top, "= sum of the levels; E estimate, G truth", fontsize=9, color=INK, va="center")
    middle = top - 0.72
    for level in range(len(pooling) + 1):
        side = 0.78 * 0.72**level
        x = left + 0.9 + level * LEVEL
        for offset, letter, colour in ((-side / 2 - 0.03, "E", "#bee3f8"), (side / 2 + 0.03, "G", "#fed7aa")):
            corner = (x + offset - side / 2, middle - side / 2)
            axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor=INK, zorder=3))
            axes.text(x + offset, middle, letter, ha="center", va="center", fontsize=9, color=INK, zorder=4)
        scale = "full size" if not level else f"1/{2**level} of each side"
        loss = rf"$\frac{{1}}{{N_{level}}}\,\Vert\varphi_{level}(E)-\varphi_{level}(G)\Vert^2$"
        axes.text(x, middle - 0.58, f"level {level}: {scale}", ha="center", va="center", fontsize=8.5, color=INK)
        axes.text(x, middle - 0.85, loss, ha="center", va="center", fontsize=10, color=INK)
        if level:
            start, stop = x - LEVEL + side / 0.72 + 0.1, x - side - 0.08
            _line(axes, (start, stop), (middle, middle), arrow=True, zorder=1)
            name = pooling[level - 1]
            colour = "#2b6cb0" if isinstance(POOLINGS[name](), nn.AvgPool2d) else "#9b2c2c"
            _box(axes, (start + stop) / 2, middle, (0.85, CHIP[1]), _words(name), facecolor=colour, edgecolor=colour)


def _draw_legend(axes: Axes, families: Mapping[str, str]) -> None:
    x, y = 0.3, 0.22
    for name, colour in families.items():
        dashes = "--" if name == OPERATIONS[NONE].family else "-"
        axes.plot((x, x + 0.35), (y, y), color=colour, linewidth=1.5 if dashes == "--" else 5, linestyle=dashes)
        axes.text(x + 0.45, y, name, va="center", fontsize=9, color=INK)
        x += _legend_width(name)
    axes.text(x + 0.2, y, "● the sum of what flows in", va="center", fontsize=9, color=INK)


def _legend_width(family: str) -> float:
    return 0.8 + 0.075 * len(family)
