"""Two more tasks: AMSNet, searched and retrained, beside a U-Net of as many parameters that was trained for as long.

Run from the project's folder: python -m examples.beside_unet --out runs/beside_unet [--minutes 6] [--seed 0]

It goes on where it was interrupted, and prints the table of what is finished at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from examples.classes.scenes import NutsAndBolts
from examples.classes.task import CountingClasses
from examples.perspective.scenes import Crowds
from examples.perspective.task import Perspective
from examples.stages import duration, evaluated, retrained, searched
from nni_count.cost import Cost
from nni_count.data.crops import Augmentation
from nni_count.data.dataset import Dataset
from nni_count.model import load_model
from nni_count.networks import create
from nni_count.task import Task
from search_spaces import AMSNetSpace
from strategies import PartialChannel

MAP_STRIDE = 4
FLOPS = 4e3  # a pixel of the image
#: name → data, task, side of its images in pixels, the stem's stride in retraining, how crops are drawn, figures shown
TASKS: dict[str, tuple[type[Dataset], Task, int, int, Augmentation, tuple[str, ...]]] = {
    "classes": (
        NutsAndBolts,
        CountingClasses(),
        192,
        2,
        Augmentation(rotation=0, quarter_turns=True),
        ("mae", "mae_nuts", "mae_bolts", "mae_total", "constant_mae"),
    ),
    "perspective": (
        Crowds,
        Perspective(),
        256,
        4,  # a smooth map, of which the whole image tells
        Augmentation(rotation=0, scale=(0.8, 1.25)),
        ("relative_error", "rmse", "within_1.25"),
    ),
}


def run(name: str, out: Path, minutes: float, seed: int) -> None:
    kind, task, side, stem, augmentation, _ = TASKS[name]
    data = kind()
    common: dict[str, Any] = {"data": data, "task": task, "augmentation": augmentation, "seed": seed}
    architecture = searched(
        out / "search",
        space=AMSNetSpace(cells=6, width=64, map_stride=MAP_STRIDE, stem_stride=2),
        strategy=PartialChannel(warmup_epochs=1, arc_learning_rate=1e-2),
        cost=Cost("flops", FLOPS * side**2, image_size=(side, side)),
        max_epochs=4,
        limit_train_batches=15,
        crop_size=96,
        batch_size=4,
        **common,
    )
    training: dict[str, Any] = {
        "max_time": duration(minutes),
        "crop_size": side,  # parts of an image show more of its border, to which a count is sensitive
        "batch_size": 2,
        "learning_rate": 4e-3,
        "average_decay": 0.99,
        "frozen_norms": 0.4,
        "loss": "mse",  # for both; the searched pyramid had more errors on validation images
        **common,
    }
    ours = retrained(out / "amsnet", architecture=architecture, network_settings={"stem_stride": stem}, **training)
    same = unet_settings(load_model(ours).parameters, task.out_channels)
    theirs = retrained(out / "unet", network="unet", network_settings=same, **training)
    for network, model in (("amsnet", ours), ("unet", theirs)):
        evaluated(out / f"{network}_test", model=model, data=data)


def unet_settings(parameters: int, out_channels: int) -> dict[str, Any]:
    """Those of the U-Net, of the published five levels or of four, whose number of parameters is nearest."""

    def miss(settings: dict[str, Any]) -> int:
        network = create("unet", **settings, out_channels=out_channels)
        return abs(sum(parameter.numel() for parameter in network.parameters()) - parameters)

    some = [{"width": width, "levels": levels, "map_stride": MAP_STRIDE} for levels in (4, 5) for width in range(1, 17)]
    return min(some, key=miss)


def table(out: Path) -> str:
    """Those runs that have their evaluation, as Markdown."""
    lines = []
    for name, (*_, figures) in TASKS.items():
        columns = (name, "parameters", "steps", "minutes", *figures)
        lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for network in ("amsnet", "unet"):
            path = out / name / f"{network}_test" / "evaluation.json"
            if path.is_file():
                report = json.loads(path.read_text())
                trained = f"{report['model']['steps']} | {report['model']['seconds'] / 60:.1f}"
                values = " | ".join(f"{report[figure]:.3g}" for figure in figures)
                lines.append(f"| {network} | {report['parameters']:,} | {trained} | {values} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help=" or ".join(TASKS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6, help="of training, for each network")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.tasks:
        run(name, arguments.out / name, arguments.minutes, arguments.seed)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
