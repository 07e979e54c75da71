"""The picture of simulated searches: how far they stay behind the best architecture, trial after trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nni_count.pictures.cells import INK
from nni_count.runs.files import write_figure

Curve = tuple[np.ndarray, np.ndarray]


def draw_regret(sets: Mapping[str, tuple[Mapping[str, Curve], float]], path: str | Path) -> None:
    """Draw the regret of strategies against the trials, a panel a data set, as a PNG.

    Args:
        sets: data set → strategy → mean ``(T,)`` and interval ``(2, T)`` of its regret; and what a second seed changes
            in the error of the best architecture.
        path: appears whole or not at all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(sets), 4.6), facecolor="white", layout="constrained")
    for axes, (data, (curves, noise)) in zip(
        figure.subplots(1, len(sets), squeeze=False)[0], sets.items(), strict=True
    ):
        for name, (mean, (low, high)) in curves.items():
            trials = np.arange(1, len(mean) + 1)
            (line,) = axes.plot(trials, mean, label=name)
            axes.fill_between(trials, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.axhline(noise, color=INK, linewidth=0.8, linestyle=":", label="deviation between two seeds")
        axes.set(xlabel="trials", ylabel="regret (error)", ylim=(0, None))
        axes.set_title(data, fontsize=11, color=INK, loc="left")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle("mean over seeds with its 95% interval", fontsize=10, color=INK)
    write_figure(path, figure)
