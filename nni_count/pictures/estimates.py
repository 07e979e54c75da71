"""A picture of estimates beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nni_count.runs.files import write_figure


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
        heading = heading.encode("utf-8", "backslashreplace").decode()  # a file's name may be no UTF-8
        heading = heading if len(heading) <= 40 else f"{heading[:19]}…{heading[-20:]}"  # as long as the image is wide
        for panel, title in zip(axes, (heading, *(title for title, _ in row.panels)), strict=False):
            panel.set_title(title, fontsize=11, parse_math=False)
        for panel in axes:
            panel.set_axis_off()
    write_figure(path, figure, dpi=100)
