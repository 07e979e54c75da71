"""Two more tasks: AMSNet, searched and retrained, beside a U-Net of as many parameters that was trained for as long.

Run from the project's folder: python -m examples.beside_unet --out runs/beside_unet [--minutes 30] [--seed 0]

It goes on where it was interrupted, and prints the table of what is finished at the end.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.classes.scenes import NutsAndBolts
from examples.perspective.scenes import Crowds
from examples.perspective.task import Perspective
from examples.stages import duration, evaluated, retrained, searched
from nni_count import Augmentation, Budget, Cost, Crops, Decoding, SearchBudget, Task, TrainingRecipe
from nni_count.data.dataset import Dataset
from nni_count.networks import create, number_of_parameters
from nni_count.tasks.classes import CountingClasses
from search_spaces import AMSNetSpace
from strategies import PartialChannel

MAP_STRIDE = 4
FLOPS = 4e3  # a pixel of the image


@dataclass(frozen=True)
class Example:
    """A task with its data, and how networks are trained for it.

    Args:
        data: where images come from.
        task: what is regressed.
        side: of the images in pixels.
        augmentation: how crops are drawn.
        edges_per_node: that the searched cells keep.
        network: AMSNet's settings in retraining.
        minutes: of training, for each network.
        figures: of the table.
    """

    data: type[Dataset]
    task: Task
    side: int
    augmentation: Augmentation
    edges_per_node: int
    network: dict[str, Any]
    minutes: float
    figures: tuple[str, ...]


EXAMPLES = {
    "classes": Example(
        data=NutsAndBolts,
        task=CountingClasses(classes=("nuts", "bolts"), sigma=3.0),
        side=192,
        augmentation=Augmentation(rotation=0, quarter_turns=True),
        edges_per_node=1,
        network={"width": 48, "stem_stride": 1},  # small things differ in details, which the full size keeps
        minutes=45,
        figures=("mae", "mae_nuts", "mae_bolts", "mae_total", "constant_mae"),
    ),
    "perspective": Example(
        data=Crowds,
        task=Perspective(),
        side=256,
        augmentation=Augmentation(rotation=0, scale=(0.8, 1.25)),
        edges_per_node=2,
        network={"stem_stride": 4},  # a smooth map, of which the whole image tells
        minutes=6,
        figures=("relative_error", "rmse", "within_1.25"),
    ),
}


def run(name: str, out: Path, minutes: float | None, seed: int) -> None:
    example = EXAMPLES[name]
    data, side = example.data(), example.side
    common: dict[str, Any] = {"data": data, "task": example.task, "seed": seed}
    architecture = searched(
        out / "search",
        space=AMSNetSpace(
            cells=6, width=64, map_stride=MAP_STRIDE, stem_stride=2, edges_per_node=example.edges_per_node
        ),
        strategy=PartialChannel(warmup_epochs=1, arc_learning_rate=1e-2),
        decoding=Decoding(cost=Cost("flops", FLOPS * side**2, image_size=(side, side))),
        budget=SearchBudget(max_epochs=4, limit_train_batches=15),
        crops=Crops(size=96, batch_size=4, augmentation=example.augmentation),
        **common,
    )
    channels = example.task.out_channels
    parameters = number_of_parameters(create("amsnet", architecture, **example.network, out_channels=channels))
    networks: dict[str, dict[str, Any]] = {
        "amsnet": {"architecture": architecture, "network": example.network},
        "unet": {"network": {"name": "unet", **unet_settings(parameters, channels)}},
    }
    for network, settings in networks.items():
        model = retrained(
            out / network,
            **settings,
            budget=Budget(max_time=duration(minutes or example.minutes)),
            # parts of an image show more of its border, to which a count is sensitive
            crops=Crops(size=side, batch_size=2, augmentation=example.augmentation),
            # the loss is that for both; the searched pyramid had more errors on validation images
            recipe=TrainingRecipe(learning_rate=4e-3, average_decay=0.99, frozen_norms=0.4, loss="mse"),
            **common,
        )
        evaluated(out / f"{network}_test", model=model, data=data)


def unet_settings(parameters: int, out_channels: int) -> dict[str, Any]:
    """Those of the U-Net, of the published five levels or of four, whose number of parameters is nearest."""

    def miss(settings: dict[str, Any]) -> int:
        return abs(number_of_parameters(create("unet", **settings, out_channels=out_channels)) - parameters)

    some = [{"width": width, "levels": levels, "map_stride": MAP_STRIDE} for levels in (4, 5) for width in range(1, 17)]
    return min(some, key=miss)


def table(out: Path) -> str:
    """Those runs that have their evaluation, as Markdown."""
    lines = ["| task | network | parameters | steps | minutes | test figures |", "|---|---|---|---|---|---|"]
    for name, example in EXAMPLES.items():
        for network in ("amsnet", "unet"):
            path = out / name / f"{network}_test" / "evaluation.json"
            if path.is_file():
                report = json.loads(path.read_text())
                trained = f"{report['model']['steps']:,} | {report['model']['seconds'] / 60:.1f}"
                figures = ", ".join(f"{figure} {report[figure]:.3g}" for figure in example.figures)
                lines.append(f"| {name} | {network} | {report['parameters']:,} | {trained} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(EXAMPLES), help=" or ".join(EXAMPLES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="of training, for each network; the example's own by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.tasks:
        run(name, arguments.out / name, arguments.minutes, arguments.seed)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
