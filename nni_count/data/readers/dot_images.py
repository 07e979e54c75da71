"""Dot images: microscopy whose cells are marked in a second image, as the VGG cells are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_images
from nni_count.data.sample import Sample, read_image
from nni_count.errors import SettingError

ENDING = "dots"


class DotImages(Dataset):
    """``001cell.png`` with ``001dots.png``, or ``NAME.png`` with ``NAME_dots.png``.

    Where marks are single pixels, as in the VGG cells (Lempitsky and Zisserman, NIPS 2010), every pixel that is not
    black is a cell, touching ones too. Where half of the marks or more are larger than two pixels they are a mask:
    the centre of each connected component is a cell.

    The first half of the images in the order of their names is for training, the last half for testing: 100 each.

    Args:
        train_images: how many of the training images to take, drawn by ``train_seed``; the literature takes 32 or 50.
        train_seed: of that draw.
    """

    layout = "001cell.png, 001dots.png … (or NAME.png, NAME_dots.png)"
    splits = ("train", "test")

    def __init__(self, root: str | Path, *, train_images: int | None = None, train_seed: int = 0, **common: Any):
        super().__init__(root, **common)
        for name, value, least in (("train_images", train_images, 1), ("train_seed", train_seed, 0)):
            if value is not None and value < least:
                raise SettingError(f"data.{name}: {value!r}; give a whole number from {least}")
        self.train_images = train_images
        self.train_seed = train_seed

    @staticmethod
    def recognises(root: Path) -> bool:
        return any(root.glob(f"*{ENDING}.png"))

    def read(self, split: str) -> list[Sample]:
        found = find_images(self.root)
        dots = {name.removesuffix(ENDING).rstrip("_"): found[name] for name in found if name.endswith(ENDING)}
        images = {name.removesuffix("cell"): found[name] for name in found if not name.endswith(ENDING)}
        names = self.check_pairs(images, dots, self.root, self.root)
        half = len(names) // 2
        names = names[half:] if split == "test" else names[:half]
        if split == "train" and self.train_images is not None:
            if self.train_images > half:
                raise SettingError(f"data.train_images: {self.train_images}; {self.root} has {half} for training")
            drawn = np.random.default_rng(self.train_seed).permutation(half)[: self.train_images]
            names = [names[index] for index in sorted(drawn)]
        return self.gather(names, lambda name: self._sample(name, images[name], dots[name]))

    def _sample(self, name: str, image: Path, dots: Path) -> Sample:
        marks = read_image(dots).max(2) > 0
        return self.sample(name, image, _centres(marks), size=(marks.shape[1], marks.shape[0]))


def _centres(marks: np.ndarray) -> np.ndarray:
    """Points of marks ``(H, W)`` bool, in pixels."""
    _, _, facts, centres = cv2.connectedComponentsWithStats(marks.astype(np.uint8), connectivity=8)
    if len(facts) > 1 and np.median(facts[1:, cv2.CC_STAT_AREA]) > 2:
        return np.asarray(centres[1:] + 0.5)
    rows, columns = np.nonzero(marks)
    return np.stack([columns, rows], 1) + 0.5
