"""What rows are trained and judged on: crops, cut once a process."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.table.recipe import Recipe
from nni_count.data.pixels import normalise
from nni_count.data.sample import Sample
from nni_count.networks import Network
from nni_count.tasks.counting import Counting
from nni_count.training.crops import CropStream, Window
from nni_count.training.settings import Augmentation
from nni_count.training.settings import Crops as Settings

#: judged crops that go through at once
TOGETHER = 20
#: side of the squares in which densities are compared, in pixels
SQUARE = 16


class Crops:
    """A fixed bank of augmented crops: ``images (N, S, S, 3) uint8``, ``targets (N, 1, s, s)``."""

    def __init__(self, samples: list[Sample], task: Counting, augmentation: Augmentation, recipe: Recipe):
        stream = CropStream(
            samples,
            task,
            Settings(recipe.crop_size, augmentation=augmentation),
            stride=recipe.map_stride,
            seed=0,
            cache_bytes=1 << 28,
        )
        images, targets = zip(*(stream[place] for place in range(recipe.crops)), strict=True)
        self.images, self.targets = np.stack(images), torch.from_numpy(np.stack(targets))

    def batch(self, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """``(B, 3, S, S)`` in channels_last, and ``(B, 1, s, s)``."""
        return normalise(self.images[places]), self.targets[torch.from_numpy(places)]

    def order(self, seed: int, number: int) -> np.ndarray:
        """The places of ``number`` crops, pass after pass, each in a new order."""
        generator = np.random.default_rng((seed, 0x7AB1E))
        passes = [generator.permutation(len(self.images)) for _ in range(-(-number // len(self.images)))]
        return np.concatenate(passes)[:number]


class Judged:
    """Crops of the images that judge, the middle of each quarter of an image, and their ``truths (N,)``.

    They have the size of the training crops: in so small a network a border is never far, and a network that was
    trained on crops for a minute counts whole images with a bias that says little of its architecture.
    """

    def __init__(self, samples: list[Sample], task: Counting, recipe: Recipe):
        crops = [crop for sample in samples for crop in _quarters(sample, recipe.crop_size)]
        self.images = np.stack([crop.read() for crop in crops])
        self.truths = np.array([_inside(crop.points, recipe.crop_size) for crop in crops], float)
        shape = self.images.shape[1:3]
        self.local = np.concatenate([task.density(crop, shape, SQUARE).ravel() for crop in crops]).astype(float)

    @torch.inference_mode()
    def judge(self, network: Network, task: Counting) -> tuple[np.ndarray, float]:
        """What a network counts in each crop, ``(N,)``; and of the true densities of all their squares of ``SQUARE``
        pixels a side, the share of the variance that the estimated ones leave unexplained, 1 - r²;
        above 1 where r is negative.
        """
        side = SQUARE // network.map_stride
        found = []
        for some in np.array_split(self.images, -(-len(self.images) // TOGETHER)):
            density = task.estimate(network(normalise(some)), network.map_stride).double()
            found.append(F.avg_pool2d(density, side, divisor_override=1))
        local = torch.cat(found)
        with np.errstate(all="ignore"):
            r = np.nan_to_num(np.corrcoef(local.flatten().numpy(), self.local)[0, 1])  # none where all are alike
        return local.sum((1, 2, 3)).numpy(), float(1 - r * abs(r))


def _quarters(sample: Sample, size: int) -> list[Sample]:
    image = sample.read()
    tops, lefts = ([round(side * part - size / 2) for part in (0.25, 0.75)] for side in image.shape[:2])
    return [Window(left, top, size, size, 0.0).crop(sample, image) for top in tops for left in lefts]


def _inside(points: np.ndarray, size: int) -> int:
    return int(((points >= 0) & (points < size)).all(1).sum())
