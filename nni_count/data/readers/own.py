"""Own images and annotations: what their readers share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import find_images
from nni_count.data.sample import Sample
from nni_count.data.splits import split_off
from nni_count.errors import DataError, SettingError


class OwnData(Dataset):
    """Own data has no split of its own: a seeded share of the images is for testing, unless lists say which.

    Args:
        test_fraction: the share of the images that is for testing.
        split_seed: of the draw.
    """

    divides = True

    def __init__(self, root: str | Path, *, test_fraction: float = 0.2, split_seed: int = 0, **common: Any):
        super().__init__(root, **common)
        if not 0 < test_fraction < 1:
            raise SettingError(f"data.test_fraction: {test_fraction!r}; give a number between 0 and 1")
        if split_seed < 0:
            raise SettingError(f"data.split_seed: {split_seed!r}; give a whole number from 0")
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    @abstractmethod
    def read_all(self) -> list[Sample]:
        """Find all images and points."""

    def read(self, split: str) -> list[Sample]:
        if split == "all":
            return self.read_all()
        rest, test = split_off(self.part("all"), self.test_fraction, self.split_seed)
        return test if split == "test" else rest

    def everything(self) -> list[Sample]:
        return self.part("all")

    def image_folder(self) -> Path:
        """Where the images lie: ``images``, ``JPEGImages`` or the root."""
        return next((self.root / name for name in ("images", "JPEGImages") if (self.root / name).is_dir()), self.root)


class LabelledData(OwnData):
    """Annotations that name their images and what they show.

    Args:
        label: only what is labelled so is counted, else everything.
    """

    def __init__(self, root: str | Path, *, label: str | int | None = None, **common: Any):
        super().__init__(root, **common)
        self.label = None if label is None else str(label)
        self._labels: set[str] = set()
        self._named: set[Path] = set()

    def wanted(self, label: Any) -> bool:
        """Whether what is labelled so is counted."""
        self._labels.add(str(label))
        return self.label in (None, str(label))

    def part(self, part: str) -> list[Sample]:
        samples = super().part(part)
        if self.label is not None and self._labels and self.label not in self._labels:
            found = ", ".join(sorted(self._labels)[:20])
            raise SettingError(f"data.label: nothing in {self.root} is labelled {self.label!r}; found: {found}")
        return samples

    def check_name(self, name: str, source: Path) -> PurePosixPath:
        """The path of an image that an annotation names; one that leads out of the data set is refused."""
        path = PurePosixPath(str(name).replace("\\", "/"))
        if path.is_absolute() or PureWindowsPath(str(name)).drive or ".." in path.parts or "\0" in str(name):
            raise DataError(
                f"{source}: names the image {str(name)[:80]!r}, which may lie outside {self.root}; "
                "write a path inside it"
            )
        return path

    def listed(
        self,
        name: str,
        source: Path,
        folders: Iterable[Path],
        points: Sequence[Any],
        size: tuple[int, int] | None = None,
    ) -> Sample:
        """The sample of an image that an annotation names, in the first folder that has it; ``size`` as it says."""
        path = self.check_name(name, source)
        file = next((folder / path for folder in folders if os.path.isfile(folder / path)), None)
        if file is None:
            raise DataError(
                f"{source}: nothing for {str(path)[:80]} (points without an image); "
                "add the file or remove its annotation"
            )
        self._named.add(file)
        return self.sample(str(Path(name).with_suffix("")), file, np.array(points, float).reshape(-1, 2), size=size)

    def check_listed(self, source: Path) -> None:
        """Refuse images of which an annotation says nothing, beside those that were :meth:`listed`."""
        listed, self._named = self._named, set()
        found = {path for folder in {path.parent for path in listed} for path in find_images(folder).values()}
        self.check_pairs(
            [str(path.relative_to(self.root)) for path in found | listed],
            [str(path.relative_to(self.root)) for path in listed],
            self.root,
            source,
        )
