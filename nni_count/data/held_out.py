"""A data set whose training images are cut in two, for figures on images that no choice was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.data.splits import split_off

SEED = 0  # one cut for all runs, whatever their seeds, so that their figures stand side by side


class HeldOut(Dataset):
    """The training images of a data set as ``train`` and ``validation``; its test part is out of reach.

    Args:
        dataset: whose training images are cut.
        fraction: the share that becomes the validation part.
    """

    layout = "made from another data set"
    splits = ("train", "validation")

    def __init__(self, dataset: Dataset, fraction: float):
        super().__init__(dataset.root)
        self.dataset = dataset
        self.fraction = fraction

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def identity(self) -> str:
        return self.dataset.identity

    @property
    def settings(self) -> dict[str, Any]:
        return self.dataset.settings

    @staticmethod
    def recognises(root: Path) -> bool:
        return False  # it has no files of its own

    def read(self, split: str) -> list[Sample]:
        return split_off(self.dataset.samples("train"), self.fraction, SEED)[split == "validation"]
