"""JHU-Crowd++: crowds in all weathers, with empty scenes."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_files, find_images
from nni_count.data.readers.text import read_points
from nni_count.data.sample import Sample

FOLDERS = ("train", "val", "test")


class JHUCrowd(Dataset):
    """``{train,val,test}/images/0001.jpg`` with ``gt/0001.txt``: x, y and more, a head a line (Sindagi et al., 2020).

    ``image_labels.txt`` (weather, scene) is not needed to count.
    """

    layout = "{train,val,test}/images/*.jpg with {train,val,test}/gt/*.txt"

    @staticmethod
    def recognises(root: Path) -> bool:
        return any((root / folder / "gt").is_dir() for folder in FOLDERS)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(folder for folder in FOLDERS if (self.root / folder / "gt").is_dir())

    def read(self, split: str) -> list[Sample]:
        image_folder, point_folder = self.root / split / "images", self.root / split / "gt"
        images, points = find_images(image_folder), find_files(point_folder, ".txt")
        return self.gather(
            self.check_pairs(images, points, image_folder, point_folder),
            lambda name: self.sample(name, images[name], read_points(points[name])),
        )
