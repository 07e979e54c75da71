"""How good the architecture is that a search has found so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from nni_count.architecture import Architecture
from nni_count.data.pixels import normalise
from nni_count.data.sample import Sample
from nni_count.networks import Network
from nni_count.searching.frozen import frozen, recalibrate
from nni_count.searching.space import Space
from nni_count.tasks.judging import judge_image, main_figure
from nni_count.tasks.task import Task
from nni_count.training.batches import CropLoader, WholeImages
from nni_count.training.together import gather, share

CALIBRATION_BATCHES = 8


class Validation:
    """How good the strongest architecture is, with the weights of the space: the task's main metric on whole images.

    Args:
        task: judges maps.
        samples: images that it is judged on.
        calibration: crops on which the statistics of its batch norms are taken.
        cache_bytes: bound of the memory for decoded images.
    """

    def __init__(self, task: Task, samples: Sequence[Sample], calibration: CropLoader, cache_bytes: int):
        self.task = task
        self.images = WholeImages(samples, cache_bytes)
        self.calibration = calibration

    def figure(self, space: Space, architecture: Architecture, process: int = 0, processes: int = 1) -> float:
        """The main metric of an architecture, NaN where it has none; the space stays as it is. Each of several
        processes judges its share of the images, and all have the figure of one.
        """
        network = cast(Network, frozen(cast(torch.nn.Module, space), space.sample(architecture)))
        device = next(network.parameters()).device
        crops, size = self.calibration.dataset, cast(int, self.calibration.batch_size)
        recalibrate(
            network,
            (
                normalise(np.stack([crops[number * size + place][0] for place in range(size)])).to(device)
                for number in range(CALIBRATION_BATCHES)
            ),
        )
        network.eval()
        images, samples = self.images, self.images.samples
        mine = share(len(images), process, processes)
        rows = {index: judge_image(network, self.task, samples[index], images[index][0]) for index in mine}
        return main_figure(self.task, gather(rows, processes))
