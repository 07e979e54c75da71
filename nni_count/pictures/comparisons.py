"""Pictures of a comparison: accuracy against cost, and the found cells side by side."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nni_count.architecture import Architecture
from nni_count.pictures.cells import INK, draw_cells
from nni_count.runs.files import write_figure

COSTS = {"search_seconds": "search time in seconds", "parameters": "parameters"}


def draw_comparison(
    groups: Mapping[str, Sequence[Mapping[str, float]]], metric: str, path: str | Path, caption: str = ""
) -> None:
    """Draw a metric against search time and parameters: a point a run, the mean of a strategy as a cross of its spread.

    Args:
        groups: strategy → figures of its runs, with the metric, ``search_seconds`` and ``parameters``.
        metric: its name, such as ``mae``.
        path: a PNG, which appears whole or not at all.
        caption: stands below.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10.5, 4.9), facecolor="white", layout="constrained")
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    for axes, (cost, label) in zip(figure.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
        for number, (name, runs) in enumerate(groups.items()):
            x, y = (np.array([run[figure] for run in runs], float) for figure in (cost, metric))
            colour = colours[number % len(colours)]
            axes.plot(x, y, "o", color=colour, alpha=0.5, markersize=6)
            spread = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in (x, y)]
            axes.errorbar(x.mean(), y.mean(), spread[1], spread[0], color=colour, capsize=4)
            axes.plot(x.mean(), y.mean(), "D", color=colour, markersize=8, label=f"{name} ({len(runs)})")
        axes.set(xlabel=label, ylabel=f"validation {metric.upper()}" if cost == "search_seconds" else "")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        axes.margins(0.12)
    axes.legend(title="strategy (runs)", fontsize=9)
    figure.suptitle("dots: runs; diamonds: means with standard deviations", fontsize=10, color=INK)
    figure.supxlabel("\n".join(textwrap.wrap(caption, 150)), fontsize=7.5, color=INK)
    write_figure(path, figure)


def draw_side_by_side(architectures: Mapping[str, Architecture], path: str | Path) -> None:
    """Draw the cells of several architectures, two a row, each under its name, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for number, architecture in enumerate(architectures.values()):
            draw_cells(architecture, f"{folder}/{number}.png")
            pictures.append(imread(f"{folder}/{number}.png"))
    columns = min(2, len(pictures))
    rows = -(-len(pictures) // columns)
    shape = pictures[0].shape
    figure = Figure(
        figsize=(9 * columns, (9 * shape[0] / shape[1] + 0.4) * rows), facecolor="white", layout="constrained"
    )
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid:
        axes.set_axis_off()
    for axes, name, picture in zip(grid, architectures, pictures, strict=False):
        axes.imshow(picture)
        axes.set_title(name, fontsize=12, color=INK, loc="left")
    write_figure(path, figure)
