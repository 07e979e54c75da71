"""Published figures, set beside what is measured, with what keeps the two from being compared.

All are from *NAS-Count: Counting-by-Density with Neural Architecture Search* (arXiv 2003.00217v2), tables 1 to 4, which
takes those of other methods from their papers. The later print (ECCV 2020) reports AMSNet a little better. They stand
in ``published.csv``, a row for each method and data set, the best last.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SHA, SHB, UCF_CC_50, UCF_QNRF, WORLDEXPO = "ShanghaiTech A", "ShanghaiTech B", "UCF_CC_50", "UCF-QNRF", "WorldExpo'10"

#: what the name that an evaluation reports looks like
_NAMES = {
    SHA: "ShanghaiTech (.*part[ _-]?|sh|)a(_final)?",
    SHB: "ShanghaiTech (.*part[ _-]?|sh|)b(_final)?",
    UCF_CC_50: "UCF_CC_50 .*",
    UCF_QNRF: "UCFQNRF .*",
    WORLDEXPO: "WorldExpo .*",
}


@dataclass(frozen=True)
class Published:
    """A row of a published table, on one data set. What was not published is None.

    Args:
        method: as the paper calls it.
        data: the data set.
        table: where it stands.
        network: its name in :mod:`nni_count.networks`, where it is there.
        mae: of the counts; of WorldExpo'10 the mean of the scenes' MAEs.
        rmse: the literature's "MSE".
        psnr: in dB; the protocol is not stated.
        ssim: the protocol is not stated.
        parameters: as published, so rounded.
        scenes: MAE of the scenes 104207, 200608, 200702, 202201 and 500717.
        parts: encoder, decoder and loss of a row of the ablation.
    """

    method: str
    data: str
    table: str
    network: str | None = None
    mae: float | None = None
    rmse: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    parameters: int | None = None
    scenes: tuple[float, ...] | None = None
    parts: tuple[str, str, str] | None = None


def dataset_of(name: str) -> str | None:
    """The published data set that a report's ``data`` names, e.g. ``ShanghaiTech part_A_final``; None for others."""
    return next((data for data, like in _NAMES.items() if re.fullmatch(like, name, re.IGNORECASE)), None)


#: what the cells of a column are; the others are text
_KINDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("mae", "rmse", "psnr", "ssim"), float),
    "parameters": int,
    "scenes": lambda text: tuple(map(float, text.split())),
    "parts": lambda text: tuple(text.split()),
}


@cache
def _published() -> list[Published]:
    with Path(__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        known = [{name: text for name, text in row.items() if text} for row in csv.DictReader(file)]
    return [Published(**{name: _KINDS.get(name, str)(text) for name, text in row.items()}) for row in known]


def rows(data: str) -> list[Published]:
    """All methods with a figure on a data set (:data:`SHA`, …), the best last; none for another name."""
    return [row for row in _published() if row.data == data and row.parts is None]


def ablation() -> list[Published]:
    """The rows of table 3, all on ShanghaiTech A."""
    return [row for row in _published() if row.parts is not None]


def counterpart(report: Mapping[str, Any]) -> Published | None:
    """The published row of the network that an evaluation's report (``evaluation.json``) is about, if there is one.

    A network of the ablation is found by encoder, decoder and loss; of the two AMSNets the one nearer in parameters.
    """
    network = report.get("network") or {}
    name, settings = network.get("name"), network.get("settings", {})
    data = dataset_of(str(report.get("data", "")))
    if data is None or name is None:
        return None
    if name == "ablation":
        losses = report.get("model", {}).get("loss") or {}
        parts = (settings.get("encoder"), settings.get("decoder"), next(iter(losses), None))
        return next((row for row in ablation() if row.data == data and row.parts == parts), None)
    found = [row for row in rows(data) if row.network == name]
    parameters = report.get("parameters") or 0
    return min(found, key=lambda row: abs((row.parameters or 0) - parameters), default=None)


def notes(report: Mapping[str, Any], row: Published) -> list[str]:
    """Where data, budget, size or protocol of a measured report and its published row differ, a line each."""
    model = report.get("model", {})
    found = []
    if report.get("split") != "test":
        found.append(f"data: measured on the {report.get('split')} part, published on the test part")
    trained_on = model.get("data")
    if trained_on and trained_on != report.get("data"):
        found.append(f"data: trained on {trained_on}, published: on the data set's own training images")
    if model.get("validation_images"):
        found.append(
            f"data: {model['validation_images']} of {model['validation_images'] + model.get('training_images', 0)} "
            "training images chose the weights; the paper does not say what did"
        )
    if row.data == UCF_CC_50:
        found.append("data: one fold of five measured, their mean published; the paper's folds are not stated")
    if model.get("seconds"):
        steps = f", {model['steps']:,} steps" if model.get("steps") else ""
        found.append(f"budget: trained {model['seconds'] / 60:.1f} min{steps}; published: length not stated")
    parameters = report.get("parameters")
    if row.parameters and parameters and abs(parameters - row.parameters) > 0.03 * row.parameters:
        found.append(f"size: {parameters:,} parameters, published {row.parameters / 1e6:.2f}M")
    protocol = report.get("protocol") or str(report.get("map_protocol", "")).partition(":")[0]
    if row.psnr is not None and report.get("psnr") is not None:
        found.append(f"protocol: PSNR and SSIM by {protocol or 'an unnamed one'}; the paper states none")
    return found
