"""Several models judged on the same images: what their seeds differ by, and which networks can be told apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nni_count.comparing.statistics import paired


def networks(reports: Sequence[Mapping[str, Any]], cells: Sequence[Any]) -> list[dict[str, Any]]:
    """Networks over their models: mean and deviation of the main metric, and each beside the first on the same images.

    Models that differ in the seed alone are of one network; a seed that comes again is another one's. The difference is
    the mean of the images' own, from the mean of a network's models each; its interval and p are over resampled images
    (:func:`nni_count.comparing.statistics.paired`).

    Args:
        reports: of the models' evaluations.
        cells: of each model.
    """
    groups, seeds = dict[tuple[str, int], list[Mapping[str, Any]]](), Counter[str]()
    for report, own in zip(reports, cells, strict=True):
        facts = report["model"]
        what = json.dumps([report["network"], str(own), facts.get("loss"), facts.get("teacher")])
        seeds[seed := f"{what}{facts.get('seed')}"] += 1
        groups.setdefault((what, seeds[seed]), []).append(report)
    images = [np.array([report["each"] for report in group], float).mean(0) for group in groups.values()]
    told = np.isfinite(images).all(0)
    beside = {f"{number}": values[told] for number, values in enumerate(images)}
    differences = paired(beside, beside.pop("0")) if told.sum() > 1 else {}
    rows: list[dict[str, Any]] = []
    for number, group in enumerate(groups.values()):
        name, figures = group[0]["network"]["name"], [report[report["main_metric"]] for report in group]
        same = sum(row["network"].partition(" ")[0] == name for row in rows)
        row = {"network": f"{name} {same + 1}" if same else name, "models": len(group), "mean": float(np.mean(figures))}
        row["deviation"] = float(np.std(figures, ddof=1)) if len(group) > 1 else None
        rows.append(row | (vars(differences[f"{number}"]) if f"{number}" in differences else {}))
    return rows


def table(rows: Sequence[Mapping[str, Any]], metric: str, images: int) -> str:
    """:func:`networks`, as a person reads it."""
    lines = [f"{metric.upper()} of each network's models on {images} images, mean ± deviation"]
    for row in rows:
        text = f"{row['network']:<16} {row['mean']:.2f}"
        text += f" of {row['models']}" if row["deviation"] is None else f" ± {row['deviation']:.2f} of {row['models']}"
        if "difference" in row:
            low, high = row["interval"]
            text += f"   {row['difference']:+.2f} beside {rows[0]['network']}, 95% in [{low:+.2f}, {high:+.2f}]"
            text += f", p = {row['p']:.2g}"
        lines.append(text)
    return "\n".join(lines)
