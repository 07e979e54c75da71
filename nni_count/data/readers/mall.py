"""Mall: two thousand frames of one camera in a shopping centre."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_images
from nni_count.data.readers.matlab import load_mat
from nni_count.data.readers.text import understood
from nni_count.data.sample import Sample

TRAINING_FRAMES = 800


class Mall(Dataset):
    """``frames/seq_000001.jpg`` with all points in ``mall_gt.mat`` (Chen et al., BMVC 2012).

    The first 800 frames are for training, the others for testing. Whole frames are counted, as published figures do;
    the region of ``perspective_roi.mat`` is not applied.
    """

    layout = "frames/seq_*.jpg with mall_gt.mat"
    splits = ("train", "test")

    @staticmethod
    def recognises(root: Path) -> bool:
        return (root / "mall_gt.mat").is_file()

    def read(self, split: str) -> list[Sample]:
        path, folder = self.root / "mall_gt.mat", self.root / "frames"
        frames = load_mat(path, "frame").ravel()
        images = find_images(folder)
        points = {f"seq_{number:06d}": number for number in range(1, frames.size + 1)}
        names = self.check_pairs(images, points, folder, path)

        def make(name: str) -> Sample:
            with understood(path, f"points of {name}"):
                found = np.asarray(frames[points[name] - 1]["loc"][0, 0], np.float64).reshape(-1, 2)
            return self.sample(name, images[name], found)

        return self.gather([name for name in names if (points[name] <= TRAINING_FRAMES) == (split == "train")], make)
