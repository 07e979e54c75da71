"""Dot images: microscopy whose cells are marked in a second image, as the VGG cells are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import by_name, find_images, is_image
from nni_count.data.marks import read_marks
from nni_count.data.sample import Sample
from nni_count.errors import SettingError

#: the word in a name, with what stands between it and the others, that tells marks, and one that may tell images
MARK, WORD = (re.compile(f"(?i)[_ -]?{word}$|[_ -]{word}(?=[_ -])|^{word}[_ -]") for word in ("dots", "cells?"))


class DotImages(Dataset):
    """``001cell.png`` with ``001dots.png``, or ``NAME.png`` with ``NAME_dots.png``; ``dots`` may stand within the name.

    Marks may be single pixels, as in the VGG cells (Lempitsky and Zisserman, NIPS 2010), where every pixel that is not
    black is a cell; a mask; or a number for each cell (:func:`nni_count.data.marks.read_marks`).

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
        names = [path.stem for path in root.iterdir() if is_image(path)]
        return bool({_key(n) for n in names if MARK.search(n)} & {_key(n) for n in names if not MARK.search(n)})

    def read(self, split: str) -> list[Sample]:
        images, dots = _paired(self.root)
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
        points, size = read_marks(dots)
        return self.sample(name, image, points, size=size)


def _paired(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The images and the marks of a folder by their names without what tells the one from the other."""
    found = find_images(root)
    images = by_name((_key(name), path) for name, path in found.items() if not MARK.search(name))
    return images, by_name((_key(name), path) for name, path in found.items() if MARK.search(name))


def _key(name: str) -> str:
    """A name without the words that tell marks and images apart."""
    return WORD.sub("", MARK.sub("", name))
