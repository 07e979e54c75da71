"""Synthetic images as data sets: ``--data synthetic`` for crowds and ``--data synthetic-cells`` for cells."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.data.synthetic import CellStream, CrowdStream
from nni_count.data.synthetic.stream import Stream
from nni_count.errors import SettingError
from nni_count.runs.describe import path_of

TEST_START = 1_000_000  # far beyond any training image


class SyntheticSet(Dataset):
    """Samples of a stream; the test images are others than the training images, whatever their number."""

    layout = "made on the fly"

    def __init__(self, name: str, stream: Stream, train: int, test: int):
        super().__init__(name)
        for part, number in (("training", train), ("test", test)):
            if not 0 <= number <= TEST_START:
                raise SettingError(f"{name}: {number} {part} images; choose a number up to {TEST_START}")
        self.stream = stream
        self.numbers = {"train": train, "test": test}

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def identity(self) -> str:
        return path_of(type(self))  # whatever its level

    @staticmethod
    def recognises(root: Path) -> bool:
        return False  # it has no files; it is asked for by name

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.numbers)

    def read(self, split: str) -> list[Sample]:
        return self.stream.take(self.numbers[split], start=TEST_START if split == "test" else 0)


class SyntheticCrowds(SyntheticSet):
    """Synthetic crowds.

    Args:
        train: number of training images.
        test: number of test images.
        size: side of the images in pixels; the level's where not given.
        seed: of all images.
        level: how hard they are: ``easy``, ``medium`` or ``hard``.
    """

    def __init__(
        self, *, train: int = 200, test: int = 60, size: int | None = None, seed: int = 0, level: str = "easy"
    ):
        stream = CrowdStream(seed, level, size=None if size is None else (size, size))
        super().__init__("synthetic crowds" if level == "easy" else f"{level} synthetic crowds", stream, train, test)
        self.asked_for = {"path": "synthetic", "train": train, "test": test, "size": size, "seed": seed, "level": level}


class SyntheticCells(SyntheticSet):
    """Synthetic cells of fluorescence microscopy, 256 × 256, 74 to 317 of them.

    Args:
        train: number of training images.
        test: number of test images.
        seed: of all images.
    """

    def __init__(self, *, train: int = 200, test: int = 100, seed: int = 0):
        super().__init__("synthetic cells", CellStream(seed), train, test)
        self.asked_for = {"path": "synthetic-cells", "train": train, "test": test, "seed": seed}
