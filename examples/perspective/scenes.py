"""Synthetic crowds with their perspective: at every pixel of the ground, how many pixels a metre has there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.data.synthetic import CrowdStream

HEAD = 0.18  # metres that a head is wide
TEST_START = 1_000_000  # far beyond any training image


class Crowds(Dataset):
    """Images of synthetic crowds. Their map, in pixels a metre, is that of a person whose head is seen at the pixel; 0
    above the farthest heads, where no ground is.

    Args:
        train: number of training images.
        test: number of test images, which are others.
        seed: of all images.
    """

    layout = "made on the fly"
    splits = ("train", "test")

    def __init__(self, train: int = 300, test: int = 100, seed: int = 0):
        super().__init__("synthetic crowds in perspective")
        self.numbers = {"train": train, "test": test}
        self.stream = CrowdStream(seed)

    @property
    def name(self) -> str:
        return str(self.root)

    @staticmethod
    def recognises(root: Path) -> bool:
        return False

    def read(self, split: str) -> list[Sample]:
        first = TEST_START if split == "test" else 0
        numbers = range(first, first + self.numbers[split])
        return [replace(self.stream[number], read_map=partial(perspective, self.stream, number)) for number in numbers]


def perspective(stream: CrowdStream, number: int) -> np.ndarray:
    """Pixels a metre in an image of a stream: ``(1, H, W)`` float32."""
    scene = stream.scene(number)
    height, width = scene.size
    rows = np.arange(height) + 0.5
    scale = np.where(rows < scene.top, 0, 2 * (rows - scene.horizon) * scene.growth / HEAD)
    return np.broadcast_to(scale[None, :, None], (1, height, width)).astype(np.float32)
