"""How much is computed: at the paper's size on a GPU, or the least that runs every line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def networks(cells: int, width: int, light: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → network and settings of what is timed on whole images; AMSNet's map is the paper's, at full size."""
    return {
        f"AMSNet M={cells}, C={width}": ("amsnet", {"cells": cells, "width": width, "map_stride": 1}),
        f"AMSNet M={cells}, C={light}": ("amsnet", {"cells": cells, "width": light, "map_stride": 1}),
        "AMSNet M=6, C=64, map stride 4": ("amsnet", {}),
        "CSRNet": ("csrnet", {}),
        "MCNN": ("mcnn", {}),
        "SANet": ("sanet", {}),
        "TEDNet": ("tednet", {}),
    }


@dataclass(frozen=True)
class Sizes:
    """Of the search step, of inference and of the retraining.

    Args:
        cells, width, crop, batch: M, C, side of the crops and crops a step of the search.
        warm_up, steps, seconds: runs that are left out, those that are timed, and when timing ends before.
        image: height and width of the images of inference.
        batches: images at once.
        networks: of inference.
        training_cells: M of the network that is retrained; C is an option of the command.
        training_crop, training_batch: of the retraining.
        epoch: steps between two starts of the loader; Lightning's epochs.
        training_seconds: None for all that is left but a quarter.
        validations: points of the learning curve, that at the end left out.
        workers: the most processes that prepare crops and judge maps.
    """

    cells: int = 6
    width: int = 256
    crop: int = 128
    batch: int = 8
    warm_up: int = 4
    steps: int = 30
    seconds: float = 7.0
    image: tuple[int, int] = (768, 1024)
    batches: tuple[int, ...] = (1, 8)
    networks: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=lambda: networks(8, 512, 256))
    training_cells: int = 8
    training_crop: int = 256
    training_batch: int = 16
    epoch: int = 400
    training_seconds: float | None = None
    validations: int = 8
    workers: int = 12


PAPER = Sizes()
SMALLEST = Sizes(
    width=64,  # the first cell's nodes have four channels, of which PartialChannel takes one
    crop=16,
    batch=1,
    warm_up=1,
    steps=1,
    seconds=0.5,
    image=(32, 32),
    batches=(1, 2),
    networks=networks(6, 64, 48),
    training_cells=6,
    training_crop=32,
    training_batch=2,
    epoch=4,
    training_seconds=3.0,
    validations=2,
    workers=1,
)
