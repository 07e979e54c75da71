"""UCF_CC_50: fifty images of very dense crowds, judged by five-fold cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_files, find_images
from nni_count.data.readers.matlab import load_points
from nni_count.data.readers.text import read_lines
from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError
from nni_count.runs.files import write_text

FOLDS = 5


class UCFCC50(Dataset):
    """``n.jpg`` with ``n_ann.mat``, key ``annPoints`` (Idrees et al., CVPR 2013).

    Both conventions of the field are there: folds of ten images in the order of their numbers, or drawn by a seed.

    Args:
        fold: whose images are the test part, 1 to 5; the others are for training.
        fold_seed: draws the folds; None takes the images in order.
        folds: file with the folds, a line of image names each. It is read where it exists; with ``fold_seed`` it is
            written where it does not.
    """

    layout = "1.jpg, 1_ann.mat …"
    splits = ("train", "test")

    def __init__(
        self,
        root: str | Path,
        *,
        fold: int = 1,
        fold_seed: int | None = None,
        folds: str | Path | None = None,
        **common: Any,
    ):
        super().__init__(root, **common)
        if fold not in range(1, FOLDS + 1):
            raise SettingError(f"data.fold: {fold!r}; choose 1 to {FOLDS}")
        if fold_seed is not None and fold_seed < 0:
            raise SettingError(f"data.fold_seed: {fold_seed!r}; give a whole number from 0")
        self.fold = fold
        self.fold_seed = fold_seed
        self.folds = None if folds is None else Path(folds)

    @property
    def name(self) -> str:
        order = self.folds or ("in order" if self.fold_seed is None else f"of seed {self.fold_seed}")
        return f"UCF_CC_50 fold {self.fold} ({order})"

    @staticmethod
    def recognises(root: Path) -> bool:
        return any(path.name.removesuffix("_ann.mat").isdigit() for path in root.glob("*_ann.mat"))

    def read(self, split: str) -> list[Sample]:
        images, points = find_images(self.root), find_files(self.root, ".mat", ending="_ann")
        names = self.check_pairs(images, points, self.root, self.root)
        test = set(self._folds(names)[self.fold - 1])
        return self.gather(
            [name for name in names if (name in test) == (split == "test")],
            lambda name: self.sample(name, images[name], load_points(points[name], "annPoints")),
        )

    def _folds(self, names: list[str]) -> list[list[str]]:
        order = names
        if self.fold_seed is not None:
            order = [names[index] for index in np.random.default_rng(self.fold_seed).permutation(len(names))]
        drawn = [list(map(str, fold)) for fold in np.array_split(np.array(order), FOLDS)]
        if self.folds is None:
            return drawn
        if self.folds.exists():
            folds = [line.split() for _, line in read_lines(self.folds) if not line.startswith("# UCF_CC_50")]  # of 0.1
            if len(folds) != FOLDS or sorted(name for fold in folds for name in fold) != sorted(names):
                raise DataError(f"{self.folds}: expected {FOLDS} lines with every image of {self.root} once; mend it")
            if self.fold_seed is not None and list(map(set, folds)) != list(map(set, drawn)):
                raise SettingError(f"data.fold_seed: {self.folds} has other folds; give one of folds and fold_seed")
            return folds
        if self.fold_seed is None:
            raise DataError(f"{self.folds}: no such file; give data.fold_seed to draw the folds and write it")
        write_text(self.folds, "".join(f"{' '.join(fold)}\n" for fold in drawn))
        return drawn
