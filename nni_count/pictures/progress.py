"""The picture of a one-shot search: how far it has decided, how steady it is, how good what it would export is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nni_count.pictures.cells import INK
from nni_count.runs.files import write_figure


def draw_progress(epochs: Sequence[Mapping[str, float]], panels: Mapping[str, str], path: str | Path) -> None:
    """Draw figures over the epochs of a search, a panel each.

    Args:
        epochs: what is known after each.
        panels: name of a figure → its title; a figure that no epoch has is left out.
        path: a PNG, which appears whole or not at all.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    known = [name for name in panels if any(name in epoch for epoch in epochs)]
    figure = Figure(figsize=(3.6 * len(known), 3.2), facecolor="white", layout="constrained")
    for axes, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        points = [(number, epoch[name]) for number, epoch in enumerate(epochs, 1) if name in epoch]
        axes.plot(*zip(*points, strict=True), ".-", color=INK)
        axes.set(xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
        axes.set_title(panels[name], fontsize=10, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.3)
    write_figure(path, figure)
