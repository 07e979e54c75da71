"""The picture of a verification: what candidates reached, against their parameters and the seconds they learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from nni_count.pictures.cells import INK
from nni_count.runs.files import write_figure


def draw_verification(rows: Sequence[Mapping[str, Any]], metric: str, path: str | Path) -> None:
    """Draw a metric against seconds of training, a line a candidate, and against parameters, a dot a candidate.

    Args:
        rows: a candidate after a round each, with ``candidate``, ``seconds`` (of all its rounds so far), ``parameters``
            and the metric.
        metric: its name, such as ``mae``.
        path: a PNG, which appears whole or not at all.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10.5, 4.5), facecolor="white", layout="constrained")
    curves, dots = figure.subplots(1, 2, sharey=True)
    ordered = sorted(rows, key=lambda row: int(row["candidate"]))  # the sort keeps the order of the rounds
    for candidate, group in groupby(ordered, key=lambda row: int(row["candidate"])):
        trained = list(group)
        seconds, values = ([float(row[name]) for row in trained] for name in ("seconds", metric))
        (line,) = curves.plot(seconds, values, "o-", alpha=0.8)
        name = "the search's own" if candidate == 0 else str(candidate)
        dots.plot(trained[-1]["parameters"], values[-1], "o", color=line.get_color())
        dots.annotate(name, (trained[-1]["parameters"], values[-1]), (4, 4), textcoords="offset points", fontsize=8)
    curves.set(xlabel="seconds of training", ylabel=f"validation {metric.upper()}")
    dots.set(xlabel="parameters")
    dots.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (curves, dots):
        axes.grid(alpha=0.3)
        axes.margins(0.12)
    figure.suptitle("candidates, trained for real; the better half of each round goes on", fontsize=10, color=INK)
    write_figure(path, figure)
