"""How models are applied: on what, in what precision, and in tiles of what size."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from nni_count.errors import SettingError
from nni_count.model import load_model
from nni_count.model.estimator import Estimator
from nni_count.model.exported import ExportedModel
from nni_count.networks.devices import IMITATED, find_device, imitates_bfloat16
from nni_count.runs.ranges import Range, check

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Inference:
    """On what a model estimates, in Lightning's words.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu`` …; a model that is given as such stays where it is.
        devices: how many of them: 1.
        precision: ``32-true``, or ``bf16-mixed``, which is faster where the processor has bfloat16; an exported model
            has its own.
        threads: of the processor that compute; as many as it sees fit where not given.
        tile: pixels a side of the tiles that larger images are estimated in, which overlap as far as the network sees,
            so that the maps are the same. Where it is not given, images are estimated whole as far as the memory
            allows, and TIFF images of more than 134 million pixels, which are read window by window, in tiles of 768.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    threads: Annotated[int, Range(1, 1024)] | None = None
    tile: Annotated[int, Range(64, 32768)] | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingError(f"precision: {self.precision!r} is unknown; choose {' or '.join(PRECISIONS)}")
        check(Inference, vars(self))

    def ready(self, model: str | Path | Estimator) -> Estimator:
        """A model as it is applied; one that is given stays as it is.

        Raises:
            SettingError: there is no such device, or the precision is not that of an exported model.
            ModelError: as of :func:`nni_count.load_model`.
        """
        device = find_device(self.accelerator, self.devices)
        made = copy.copy(model) if isinstance(model, Estimator) else load_model(model, device, self.threads)
        if isinstance(model, Estimator) and self.threads:
            torch.set_num_threads(self.threads)
        made.tile = self.tile or made.tile
        if self.precision == "bf16-mixed":
            if isinstance(made, ExportedModel):
                raise SettingError(f"precision: {made.file} has its own; leave it out, or give the model.safetensors")
            if device.type == "cpu" and imitates_bfloat16():
                warnings.warn(IMITATED, stacklevel=3)
            made.bfloat16 = True
        return made
