"""Pictures for people: the cells of an architecture, a density map over its photo, estimates beside the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from nni_count.architecture import EXTRACTION, FUSION, Architecture, CellKind
from nni_count.ops import NONE
from nni_count.runs.files import whole

if TYPE_CHECKING:  # matplotlib takes long to import, and an overlay does without it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: what an operation's name begins with → its family in the legend, and the colour
FAMILIES = {
    "conv": ("1×1 convolution", "#6b46c1"),
    "dil": ("dilated", "#2b6cb0"),
    "sep": ("depth-wise separable", "#c05621"),
    "skip": ("skip", "#2f855a"),
    "none": ("none (contributes nothing)", "#8a8a8a"),
}
INPUTS = {EXTRACTION.name: ("l−2", "l−1"), FUSION.name: ("tap 1", "tap 2", "tap 3")}
INK = "#2d3748"

# cells are drawn in inches
ROW, COLUMN = 0.64, 1.5
CHIP, DROP = (1.0, 0.24), 0.27  # size of an operation's label, and how far it hangs below its source's line
LEFT = 0.95  # from the cell's left border to its first column


def draw_cells(architecture: Architecture, path: str | Path) -> None:
    """Draw both cells and the pooling pyramid as a PNG, which appears whole or not at all.

    A cell reads like a circuit. Every node's output runs to the right along a row of its own; where an operation taps
    it there is a dot, and the results of a node's operations flow down into it. So no two labels ever meet, however
    many edges there are.
    """
    with whole(path) as temporary:
        _cells_figure(architecture).savefig(temporary, format="png", dpi=130)


def _cells_figure(architecture: Architecture) -> Figure:
    from matplotlib.figure import Figure

    widths = [LEFT + kind.nodes * COLUMN + 1.0 for kind in (EXTRACTION, FUSION)]
    width, height = sum(widths) + 0.6, 7.1
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _draw_cell(axes, EXTRACTION, architecture, 0.3, height - 0.35)
    _draw_cell(axes, FUSION, architecture, 0.5 + widths[0], height - 0.35)
    _draw_pyramid(axes, architecture.pooling, 0.3, 2.25)
    _draw_legend(axes, architecture)
    return figure


def _family(operation: str) -> tuple[str, str]:
    return FAMILIES.get(operation.partition("_")[0], ("other", INK))


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
    axes.text(x, y - 0.005, text, ha="center", va="center", fontsize=8.5, color=colour, zorder=5)


def _operation(axes: Axes, x: float, y: float, name: str) -> None:
    colour = _family(name)[1]
    empty = name == NONE
    style = {"linestyle": "--", "text_colour": colour} if empty else {}
    _box(axes, x, y, CHIP, _words(name), facecolor="white" if empty else colour, edgecolor=colour, **style)


def _draw_cell(axes: Axes, kind: CellKind, architecture: Architecture, left: float, top: float) -> None:
    cell = architecture.cell(kind)
    axes.text(left, top, f"{kind.name.capitalize()} cell", fontsize=13, fontweight="bold", color=INK, va="center")
    rows = [top - 0.5 - node * ROW for node in range(kind.inputs + kind.nodes)]
    entry = {node: left + LEFT + (place + 1) * COLUMN - 0.1 for place, node in enumerate(kind.computed)}
    end = max(entry.values()) + 0.55
    starts = [left + 0.6] * kind.inputs + [entry[node] for node in kind.computed]
    for node, (start, y) in enumerate(zip(starts, rows, strict=True)):
        taps = [entry[later] - COLUMN + 0.25 for later, edges in cell.items() if node in edges]
        if node in kind.computed:
            _line(axes, (start, end - 0.13), (y, y), arrow=True, zorder=1)
            axes.add_patch(_circle(start, y))
            axes.text(start, y - 0.005, str(node), ha="center", va="center", color="white", fontsize=9.5, zorder=7)
            continue
        if taps:
            _line(axes, (start, max(taps)), (y, y), zorder=1)
        name = INPUTS[kind.name][node]
        _box(axes, start - 0.3, y, (0.6, 0.3), name, facecolor="#e2e8f0", edgecolor=INK, text_colour=INK)
        if not taps:
            axes.text(start + 0.1, y, "not used", va="center", fontsize=8, fontstyle="italic", color="#8a8a8a")
    for node, edges in cell.items():
        x = entry[node]
        for source in sorted(edges):
            y, tap = rows[source], x - COLUMN + 0.25
            colour, dashes = _family(edges[source])[1], "--" if edges[source] == NONE else "-"
            chip = x - 0.12 - CHIP[0] / 2
            below = y - DROP
            _line(axes, (tap, tap, chip - CHIP[0] / 2), (y, below, below), arrow=True, color=colour, linestyle=dashes)
            _line(axes, (chip, x), (below, below), color=colour, linestyle=dashes)
            axes.plot(tap, y, "o", color=INK, markersize=4, zorder=3)
            _operation(axes, chip, below, edges[source])
        alive = [source for source in edges if edges[source] != NONE]
        for sources, dashes in ((list(edges), "--"), (alive, "-")):
            if sources and (dashes == "-" or not alive or min(edges) < min(alive)):
                colour = INK if dashes == "-" else FAMILIES[NONE][1]
                ys = (rows[min(sources)] - DROP, rows[node] + 0.17)
                _line(axes, (x, x), ys, color="white", linewidth=5, zorder=1.5)  # a bridge over the lines it crosses
                _line(axes, (x, x), ys, arrow=True, color=colour, linestyle=dashes, zorder=2)
    first, last = rows[kind.inputs], rows[-1]
    size = (0.26, first - last + 0.4)
    _box(axes, end, (first + last) / 2, size, "", facecolor="#e2e8f0", edgecolor=INK)
    axes.text(end, (first + last) / 2, "concat → output", rotation=90, ha="center", va="center", fontsize=9, zorder=5)


def _circle(x: float, y: float) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, y), 0.16, facecolor=INK, edgecolor="white", zorder=6)


def _draw_pyramid(axes: Axes, pooling: Sequence[str], left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    axes.text(left, top, "Scale pyramid pooling loss", fontsize=13, fontweight="bold", color=INK, va="center")
    axes.text(left + 2.8, top, "= sum of the levels; E estimate, G truth", fontsize=9, color=INK, va="center")
    middle, step = top - 0.72, 3.2
    for level in range(len(pooling) + 1):
        side = 0.78 * 0.72**level
        x = left + 0.9 + level * step
        for offset, letter, colour in ((-side / 2 - 0.03, "E", "#bee3f8"), (side / 2 + 0.03, "G", "#fed7aa")):
            corner = (x + offset - side / 2, middle - side / 2)
            axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor=INK, zorder=3))
            axes.text(x + offset, middle, letter, ha="center", va="center", fontsize=9, color=INK, zorder=4)
        scale = "full size" if not level else f"1/{2**level} of each side"
        loss = rf"$\frac{{1}}{{N_{level}}}\,\Vert\varphi_{level}(E)-\varphi_{level}(G)\Vert^2$"
        axes.text(x, middle - 0.58, f"level {level}: {scale}", ha="center", va="center", fontsize=8.5, color=INK)
        axes.text(x, middle - 0.85, loss, ha="center", va="center", fontsize=10, color=INK)
        if level:
            start, stop = x - step + side / 0.72 + 0.1, x - side - 0.08
            _line(axes, (start, stop), (middle, middle), arrow=True, zorder=1)
            name = pooling[level - 1]
            colour = "#2b6cb0" if name.startswith("avg") else "#9b2c2c"
            _box(axes, (start + stop) / 2, middle, (0.85, CHIP[1]), _words(name), facecolor=colour, edgecolor=colour)


def _draw_legend(axes: Axes, architecture: Architecture) -> None:
    edges = [edges for kind in (EXTRACTION, FUSION) for edges in architecture.cell(kind).values()]
    used = {_family(operation) for names in edges for operation in names.values()}
    families = [*FAMILIES.values(), *sorted(used - set(FAMILIES.values()))]
    x, y = 0.3, 0.22
    for name, colour in families:
        dashes = "--" if colour == FAMILIES[NONE][1] else "-"
        axes.plot((x, x + 0.35), (y, y), color=colour, linewidth=1.5 if dashes == "--" else 5, linestyle=dashes)
        axes.text(x + 0.45, y, name, va="center", fontsize=9, color=INK)
        x += 0.8 + 0.075 * len(name)
    axes.text(x + 0.2, y, "● the sum of what flows in", va="center", fontsize=9, color=INK)


def overlay(image: np.ndarray, density: np.ndarray, count: float) -> np.ndarray:
    """A photo with its density as a heat map, and the count in the corner where the fewest people are.

    The hottest place has the strongest colour; a map that holds less than one person is fainter in proportion, so that
    an empty street stays empty. Where the density is zero, negative or not a number, the photo shows unchanged.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; it is left as it is.
        density: people per pixel, ``(H, W)`` or smaller.
        count: what the caption says.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    positive = np.clip(np.nan_to_num(np.asarray(density, np.float32), posinf=0), 0, None)
    heat = cv2.resize(positive, (width, height), interpolation=cv2.INTER_LINEAR)
    heat = heat * (min(1.0, float(heat.sum())) / max(float(heat.max()), 1e-12))
    shade = np.round(50 + heat * 205).astype(np.uint8)  # the map's darkest colours would read as shadows
    colours = cv2.applyColorMap(shade, cv2.COLORMAP_TURBO)[:, :, ::-1]
    strength = (0.75 * np.sqrt(heat))[:, :, None]
    result: np.ndarray = np.round(image * (1 - strength) + colours * strength).astype(np.uint8)
    _caption(result, f"count {count:.1f}", heat)
    return result


def _caption(image: np.ndarray, text: str, heat: np.ndarray) -> None:
    """Write in place, light on dark, a twenty-fifth of the image high as far as that is readable and fits."""
    height, width = image.shape[:2]
    font, unit = cv2.FONT_HERSHEY_SIMPLEX, 22.0  # height of a digit at scale 1, in pixels
    scale = max(min(height, width) / 25, 9) / unit
    (wide, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale = min(scale, 0.9 * width / max(wide, 1) * scale, 0.5 * height / unit)
    thickness = max(1, round(1.6 * scale))
    (wide, tall), _ = cv2.getTextSize(text, font, scale, thickness)
    margin = max(1, round(0.35 * tall))
    box_width, box_height = min(wide + 2 * margin, width), min(tall + 2 * margin, height)
    corners = [(x, y) for y in (0, height - box_height) for x in (0, width - box_width)]
    x, y = min(corners, key=lambda c: float(heat[c[1] : c[1] + box_height, c[0] : c[0] + box_width].sum()))
    image[y : y + box_height, x : x + box_width] //= 4
    cv2.putText(image, text, (x + margin, y + margin + tall), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def blend(image: np.ndarray, values: np.ndarray, caption: str = "") -> np.ndarray:
    """A photo under a map of values in colours, from the smallest to the largest of them, and a caption.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; it is left as it is.
        values: ``(H, W)`` or smaller.
        caption: in the corner where the values are smallest; none where it is empty.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(np.nan_to_num(np.asarray(values, np.float32)), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = (heat - heat.min()) / max(float(heat.max() - heat.min()), 1e-12)
    colours = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    result: np.ndarray = np.round(0.5 * image + 0.5 * colours).astype(np.uint8)
    if caption:
        _caption(result, caption, heat)
    return result


@dataclass(frozen=True)
class Estimate:
    """An image and the maps to show beside it, such as truth and estimate, each ``(h, w)`` with its title."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    panels: Sequence[tuple[str, np.ndarray]]
    label: str = ""  # such as "worst 1" or "median"


def draw_estimates(rows: Sequence[Estimate], path: str | Path, unit: str = "") -> None:
    """Draw a row an image: the image and its maps, those of a row on one colour scale, whose bar says the ``unit``.

    The PNG appears whole or not at all. Raises ValueError when there is no row.
    """
    from matplotlib.figure import Figure

    if not rows:
        raise ValueError("draw_estimates: no estimates; give at least one row")
    columns = 1 + max(len(row.panels) for row in rows)
    shapes = [min(max(row.image.shape[0] / row.image.shape[1], 0.3), 1.8) for row in rows]
    heights = [3.7 * shape + 0.45 for shape in shapes]
    figure = Figure(figsize=(4 * columns + 0.4, sum(heights)), facecolor="white", layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, axes in zip(rows, grid, strict=True):
        height, width = row.image.shape[:2]
        shrink = min(1, 700 / max(height, width))
        small = cv2.resize(row.image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        axes[0].imshow(small, extent=(0, width, height, 0))
        maps = [np.nan_to_num(values) for _, values in row.panels]
        top = max(1e-6, *(float(values.max()) for values in maps))
        for panel, values in zip(axes[1:], maps, strict=False):
            shown = panel.imshow(values, extent=(0, width, height, 0), vmin=0, vmax=top, cmap="turbo")
        figure.colorbar(shown, ax=axes[len(maps)], label=unit, fraction=0.05)
        heading = f"{row.label}: {row.name}" if row.label else row.name
        heading = heading if len(heading) <= 40 else f"{heading[:19]}…{heading[-20:]}"  # as long as the image is wide
        for panel, title in zip(axes, (heading, *(title for title, _ in row.panels)), strict=False):
            panel.set_title(title, fontsize=11, parse_math=False)
        for panel in axes:
            panel.set_axis_off()
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
