"""Synthetic crowds as a data set: ``--data synthetic``."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.data.synthetic import synthetic_crowds

TEST_START = 1_000_000  # far beyond any training image


class SyntheticCrowds(Dataset):
    """Synthetic crowds; the test images are others than the training images, whatever their number.

    Args:
        train: number of training images.
        test: number of test images.
        size: side of the images in pixels.
        seed: of all images.
    """

    layout = "made on the fly"

    def __init__(self, *, train: int = 200, test: int = 60, size: int = 256, seed: int = 0):
        super().__init__("synthetic")
        self.numbers = {"train": train, "test": test}
        self.size = size
        self.seed = seed

    @property
    def name(self) -> str:
        return "synthetic crowds"

    @staticmethod
    def recognises(root: Path) -> bool:
        return False  # it has no files; it is asked for by name

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.numbers)

    def read(self, split: str) -> list[Sample]:
        start = TEST_START if split == "test" else 0
        return synthetic_crowds(self.numbers[split], seed=self.seed, start=start, size=(self.size, self.size))
