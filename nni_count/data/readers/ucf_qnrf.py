"""UCF-QNRF: large images of dense crowds; ``max_side`` brings them to a size that can be handled."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_files, find_images
from nni_count.data.readers.matlab import load_points
from nni_count.data.sample import Sample

FOLDERS = {"train": "Train", "test": "Test"}


class UCFQNRF(Dataset):
    """``{Train,Test}/img_0001.jpg`` with ``img_0001_ann.mat``, key ``annPoints`` (Idrees et al., ECCV 2018)."""

    layout = "{Train,Test}/img_*.jpg with img_*_ann.mat"

    @staticmethod
    def recognises(root: Path) -> bool:
        return any(any((root / folder).glob("*_ann.mat")) for folder in FOLDERS.values())

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split, folder in FOLDERS.items() if (self.root / folder).is_dir())

    def read(self, split: str) -> list[Sample]:
        folder = self.root / FOLDERS[split]
        images, points = find_images(folder), find_files(folder, ".mat", ending="_ann")
        return self.gather(
            self.check_pairs(images, points, folder, folder),
            lambda name: self.sample(name, images[name], load_points(points[name], "annPoints")),
        )
