"""Published figures, set beside what is measured, with what keeps the two from being compared.

All are from *NAS-Count: Counting-by-Density with Neural Architecture Search* (arXiv 2003.00217v2), tables 1 to 4, which
takes those of other methods from their papers. The later print (ECCV 2020) reports AMSNet a little better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOURCE = "NAS-Count, arXiv 2003.00217v2"

SHA, SHB, UCF_CC_50, UCF_QNRF, WORLDEXPO = "ShanghaiTech A", "ShanghaiTech B", "UCF_CC_50", "UCF-QNRF", "WorldExpo'10"

#: what the name that an evaluation reports looks like
_NAMES = {
    SHA: "ShanghaiTech (.*part[ _-]?|sh|)a(_final)?",
    SHB: "ShanghaiTech (.*part[ _-]?|sh|)b(_final)?",
    UCF_CC_50: "UCF_CC_50 .*",
    UCF_QNRF: "UCFQNRF .*",
    WORLDEXPO: "WorldExpo .*",
}

#: method → its name in :mod:`nni_count.networks`
NETWORKS = {
    "MCNN": "mcnn",
    "Switch-CNN": "switch_cnn",
    "CSRNet": "csrnet",
    "SANet": "sanet",
    "TEDNet": "tednet",
    "CAN": "can",
    "AMSNet": "amsnet",
    "AMSNet light": "amsnet",
}

#: method → MAE and RMSE of each data set, in the order of the names above (table 1)
_ERRORS: dict[str, tuple[tuple[float, float], ...]] = {
    "Zhang et al.": ((181.8, 277.7), (32.0, 49.8), (467.0, 498.5)),
    "MCNN": ((110.2, 173.2), (26.4, 41.3), (377.6, 509.1), (277, 426)),
    "CP-CNN": ((73.6, 106.4), (20.1, 30.1), (295.8, 320.9)),
    "CSRNet": ((68.2, 115.0), (10.6, 16.0), (266.1, 397.5)),
    "SANet": ((67.0, 104.5), (8.4, 13.6), (258.4, 334.9)),
    "TEDNet": ((64.2, 109.1), (8.2, 12.8), (249.4, 354.5), (113, 188)),
    "ANF": ((63.9, 99.4), (8.3, 13.2), (250.2, 340.0), (110, 174)),
    "PACNN+": ((62.4, 102.0), (7.6, 11.8), (241.7, 320.7)),
    "CAN": ((62.3, 100.0), (7.8, 12.2), (212.2, 243.7), (107, 183)),
    "AMSNet": ((58.0, 96.2), (7.1, 10.4), (208.6, 296.3), (103, 165)),
}

#: method → MAE, PSNR, SSIM and parameters on ShanghaiTech A (table 2)
_MAPS: dict[str, tuple[float, float | None, float | None, int]] = {
    "MCNN": (110.2, 21.4, 0.52, 130_000),
    "Switch-CNN": (90.4, None, None, 15_110_000),
    "CP-CNN": (73.6, 21.72, 0.72, 68_400_000),
    "CSRNet": (68.2, 23.79, 0.76, 16_260_000),
    "SANet": (67.0, None, None, 910_000),
    "TEDNet": (64.2, 25.88, 0.83, 1_630_000),
    "ANF": (63.9, 24.1, 0.78, 7_900_000),
    "AMSNet": (58.0, 26.96, 0.89, 3_790_000),
    "AMSNet light": (61.8, 25.93, 0.84, 1_510_000),
}

#: encoder, decoder and loss → MAE and PSNR on ShanghaiTech A (table 3)
_ABLATION: dict[tuple[str, str, str], tuple[float, float]] = {
    ("baseline", "baseline", "mse"): (69.1, 23.54),
    ("amsnet", "baseline", "mse"): (60.8, 25.52),
    ("baseline", "amsnet", "mse"): (63.2, 23.94),
    ("amsnet", "amsnet", "mse"): (59.4, 25.96),
    ("amsnet", "amsnet", "sal"): (58.7, 26.20),
    ("amsnet", "amsnet", "sppl"): (58.0, 26.96),
}

#: method → MAE of the scenes S1 to S5 and their mean (table 4)
_SCENES: dict[str, tuple[float, ...]] = {
    "MCNN": (3.4, 20.6, 12.9, 13.0, 8.1, 11.6),
    "SANet": (2.6, 13.2, 9.0, 13.3, 3.0, 8.2),
    "CAN": (2.9, 12.0, 10.0, 7.9, 4.3, 7.4),
    "ECAN": (2.4, 9.4, 8.8, 11.2, 4.0, 7.2),
    "TEDNet": (2.3, 10.1, 11.3, 13.8, 2.6, 8.0),
    "AT-CSRNet": (1.8, 13.7, 9.2, 10.4, 3.7, 7.8),
    "AMSNet": (1.6, 8.8, 10.8, 10.4, 2.5, 6.8),
}
#: scenes of WorldExpo'10 in the order S1 to S5
SCENES = ("104207", "200608", "200702", "202201", "500717")


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
        scenes: MAE by scene.
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


def rows(data: str) -> list[Published]:
    """All methods with a figure on a data set (:data:`SHA`, …), the best last; none for another name."""
    if data == WORLDEXPO:
        return [
            Published(method, data, "table 4", NETWORKS.get(method), mae=scenes[-1], scenes=scenes[:-1])
            for method, scenes in _SCENES.items()
        ]
    if data not in _NAMES:
        return []
    place = list(_NAMES).index(data)
    maps = _MAPS if data == SHA else {}
    found = []
    for method in dict.fromkeys((*_ERRORS, *maps)):
        errors = _ERRORS.get(method, ())[place : place + 1]
        mae, rmse = errors[0] if errors else (None, None)
        mae_again, psnr, ssim, parameters = maps.get(method, (None,) * 4)
        if errors or method in maps:
            tables = [name for name, there in (("table 1", errors), ("table 2", method in maps)) if there]
            figures = (mae or mae_again, rmse, psnr, ssim, parameters)
            found.append(Published(method, data, " and ".join(tables), NETWORKS.get(method), *figures))
    return sorted(found, key=lambda row: -(row.mae or 0))


def ablation() -> list[Published]:
    """The rows of table 3, all on ShanghaiTech A."""
    return [
        Published(ablation_name(*parts), SHA, "table 3", "ablation", mae, psnr=psnr, parts=parts)
        for parts, (mae, psnr) in _ABLATION.items()
    ]


def ablation_name(encoder: str, decoder: str, loss: str) -> str:
    """What a row of table 3 is called."""
    return f"{encoder} encoder + {decoder} decoder, {loss}"


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
        return next((row for row in ablation() if data == SHA and row.parts == parts), None)
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
