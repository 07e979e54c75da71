"""ShanghaiTech parts A and B: ``train_data`` and ``test_data``, each with ``images`` and ``ground-truth``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_files, find_images
from nni_count.data.readers.matlab import as_points, bare, load_mat
from nni_count.data.sample import Sample
from nni_count.errors import DataError

FOLDERS = {"train": "train_data", "test": "test_data"}
POINT_FOLDERS = ("ground-truth", "ground_truth")


class ShanghaiTech(Dataset):
    """``{train,test}_data/images/IMG_n.jpg`` with ``ground-truth/GT_IMG_n.mat`` (or ``ground_truth``)."""

    layout = "{train,test}_data/images/*.jpg with {train,test}_data/ground-truth/GT_*.mat"

    @staticmethod
    def recognises(root: Path) -> bool:
        return any((root / folder / "images").is_dir() for folder in FOLDERS.values())

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split, folder in FOLDERS.items() if (self.root / folder / "images").is_dir())

    def read(self, split: str) -> list[Sample]:
        folder = self.root / FOLDERS[split]
        images = find_images(folder / "images")
        point_folder = next((folder / name for name in POINT_FOLDERS if (folder / name).is_dir()), None)
        if point_folder is None:
            raise DataError(f"{folder}: has no folder ground-truth (or ground_truth) with the points; restore it")
        points = find_files(point_folder, ".mat", prefix="GT_")
        return self.gather(
            self.check_pairs(images, points, folder / "images", point_folder),
            lambda name: self.sample(name, images[name], _points(points[name])),
        )


def _points(path: Path) -> np.ndarray:
    """``image_info`` holds ``location``, N×2 (x, y), in as many cells and structs as its writer chose."""
    found = bare(load_mat(path, "image_info"))
    if "location" not in (found.dtype.names or ()) or found.size != 1:
        raise DataError(f"{path}: image_info holds no location of points; restore the original file")
    return as_points(bare(found["location"]), path, "location")
