"""NWPU-Crowd: five thousand images, some with nobody in them; the points of the test part are kept by its makers."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import Dataset
from nni_count.data.files import composed, find_files, find_images
from nni_count.data.readers.matlab import load_points
from nni_count.data.readers.text import read_lines
from nni_count.data.sample import Sample
from nni_count.errors import DataError

PARTS = ("train", "val", "test")


class NWPU(Dataset):
    """``images/0001.jpg`` (or ``images_part1`` … ``5``), ``mats/0001.mat``, key ``annPoints``, and lists of the parts.

    The lists are ``{train,val,test}.txt``, with the image's number first in a line (Wang et al., TPAMI 2020). A part
    without any points, as the test part is published, is left out.
    """

    layout = "images/*.jpg (or images_part*/) with mats/*.mat and {train,val,test}.txt"

    @staticmethod
    def recognises(root: Path) -> bool:
        return (root / "mats").is_dir() and any((root / f"{part}.txt").is_file() for part in PARTS)

    @property
    def splits(self) -> tuple[str, ...]:
        points = find_files(self.root / "mats", ".mat")
        return tuple(part for part in PARTS if any(name in points for name in self._names(part)))

    def _names(self, part: str) -> list[str]:
        path = self.root / f"{part}.txt"
        return [composed(line.split()[0]) for _, line in read_lines(path)] if path.is_file() else []

    def read(self, split: str) -> list[Sample]:
        folders = sorted(path for path in self.root.glob("images*") if path.is_dir())
        if not folders:
            raise DataError(f"{self.root}: has no folder images (or images_part1 …); restore it")
        images, points = find_images(*folders), find_files(self.root / "mats", ".mat")
        names, others = self._names(split), {part: set(self._names(part)) for part in PARTS}
        for name in names:
            if name not in images and name not in points:
                self.fault(DataError(f"{self.root / split}.txt: {name} has neither image nor points; restore both"))
            for part in PARTS[: PARTS.index(split)]:
                if name in others[part]:
                    self.fault(DataError(f"{self.root / split}.txt: {name} is in {part}.txt too; keep it in one"))
        names = self.check_pairs(
            [name for name in names if name in images],
            [name for name in names if name in points],
            folders[0],
            self.root / "mats",
        )
        return self.gather(names, lambda name: self.sample(name, images[name], load_points(points[name], "annPoints")))
