"""A data set: samples by split. A reader is a small subclass that finds images and points."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from nni_count.data.sample import Sample, settle_points
from nni_count.errors import DataError, SettingError


class Dataset(ABC):
    """A counting data set in a folder.

    Args:
        root: the folder.
        outside: what becomes of points outside their image: ``clamp``, ``drop`` or ``keep``.
    """

    #: the files that make this layout, shown when a folder is not recognised
    layout: str

    def __init__(self, root: str | Path, *, outside: str = "clamp"):
        self.root = Path(root)
        self.outside = outside
        self._samples: dict[str, list[Sample]] = {}
        self._number_outside = 0

    @property
    def name(self) -> str:
        """What the data set is called in tables, e.g. ``ShanghaiTech part_A_final``."""
        return f"{type(self).__name__} {self.root.resolve().name}"

    @staticmethod
    @abstractmethod
    def recognises(root: Path) -> bool:
        """Whether the folder has this layout, judged by its files."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The parts that there are, such as ``train`` and ``test``."""

    @abstractmethod
    def read(self, split: str) -> list[Sample]:
        """Find images and points of a part; called once."""

    def samples(self, split: str) -> list[Sample]:
        """The samples of a part.

        Raises:
            SettingError: there is no such part.
            DataError: naming the file at fault.
        """
        if split not in self.splits:
            raise SettingError(f"{self.root}: has no split {split!r}; found: {', '.join(self.splits)}")
        if split not in self._samples:
            self._number_outside = 0
            self._samples[split] = self.read(split)
            if not self._samples[split]:
                raise DataError(f"{self.root}: the split {split!r} has no images; check the folder")
            if self._number_outside:
                done = {"clamp": "moved to the border", "drop": "left out", "keep": "kept"}[self.outside]
                warnings.warn(
                    f"{self.root} ({split}): {self._number_outside} points lie outside their image; {done} "
                    "(--data.outside clamp, drop or keep)",
                    stacklevel=2,
                )
        return self._samples[split]

    def sample(self, name: str, path: Path, points: np.ndarray, read: Callable[[], np.ndarray]) -> Sample:
        """A sample whose points are finite and lie where ``outside`` puts them; for readers."""
        if not np.isfinite(points).all():
            raise DataError(f"{path}: a point of {name} is NaN or infinite; mend the annotation")
        try:
            with Image.open(path) as image:  # reads the header only
                width, height = image.size
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(
                f"{path}: not a readable image (empty, truncated or of an unknown format); replace or remove it"
            ) from error
        points, number = settle_points(points, width, height, self.outside)
        self._number_outside += number
        return Sample(name, points, read, path)

    @staticmethod
    def check_pairs(images: Mapping[str, Path], points: Iterable[str], image_folder: Path, point_folder: Path) -> None:
        """Refuse images without points and points without an image."""
        points = set(points)
        for missing, what, where in (
            (sorted(set(images) - points), "image without points", point_folder),
            (sorted(points - set(images)), "points without an image", image_folder),
        ):
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise DataError(f"{where}: nothing for {missing[0]}{more} ({what}); add the file or remove its partner")
