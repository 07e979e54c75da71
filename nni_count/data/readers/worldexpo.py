"""WorldExpo'10: scenes of surveillance cameras, judged scene by scene inside a region of interest."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import by_name, find_images
from nni_count.data.readers.matlab import load_mat, load_points
from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError


class WorldExpo(Dataset):
    """Frames with a ``.mat`` each and a region of interest a scene (Zhang et al., CVPR 2015).

    ``train_frame/*.jpg`` and ``test_frame/<scene>/*.jpg``; ``{train,test}_label/<scene>/<frame>.mat`` with
    ``point_position``; ``roi.mat`` with the corners of the region. The protocol is the MAE inside the region for each
    of the test scenes, then their mean: samples carry their scene as ``group`` and the region as ``roi``.

    MATLAB's first pixel has its centre at 1, ours at 0.5, so half a pixel is taken from every coordinate.

    Args:
        scene: only this scene, where a part has it; the other part stays whole.
    """

    layout = "{train,test}_frame/ with {train,test}_label/SCENE/{*.mat,roi.mat}"

    def __init__(self, root: str | Path, *, scene: str | int | None = None, **common: Any):
        super().__init__(root, **common)
        self.scene = None if scene is None else str(scene)
        scenes = sorted(folder.name for part in ("train", "test") for folder in self.root.glob(f"{part}_label/*/"))
        if self.scene is not None and self.scene not in scenes:
            raise SettingError(f"data.scene: {self.scene!r} is unknown; {self.root} has {', '.join(scenes)}")

    @property
    def name(self) -> str:
        return super().name + (f" scene {self.scene}" if self.scene else "")

    @staticmethod
    def recognises(root: Path) -> bool:
        return any((root / f"{part}_label").is_dir() for part in ("train", "test"))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(part for part in ("train", "test") if (self.root / f"{part}_label").is_dir())

    def read(self, split: str) -> list[Sample]:
        frames, labels = self.root / f"{split}_frame", self.root / f"{split}_label"
        points = by_name((path.stem, path) for path in sorted(labels.glob("*/*.mat")) if path.stem != "roi")
        images = find_images(frames, *sorted(path for path in frames.glob("*/") if path.is_dir()))
        names = self.check_pairs(images, points, frames, labels)
        if self.scene is not None and (labels / self.scene).is_dir():
            names = [name for name in names if points[name].parent.name == self.scene]
        corners = cache(_corners)

        def make(name: str) -> Sample:
            path = points[name]
            found = load_points(path, "point_position") - 0.5
            return self.sample(name, images[name], found, roi=corners(path.parent / "roi.mat"), group=path.parent.name)

        return self.gather(names, make)


def _corners(path: Path) -> np.ndarray:
    """The region's corners, ``(M, 2)``."""
    x, y = (load_mat(path, f"maskVertices{axis}Coordinates").ravel() for axis in "XY")
    if len(x) < 3 or len(x) != len(y) or {x.dtype.kind, y.dtype.kind} - set("uif"):
        raise DataError(f"{path}: {len(x)} and {len(y)} coordinates are no polygon; restore the original file")
    corners = np.stack([x, y], 1).astype(np.float64) - 0.5
    if not np.isfinite(corners).all():
        raise DataError(f"{path}: a corner is NaN or infinite; restore the original file")
    return corners
