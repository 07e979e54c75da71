"""Own images and annotations: what their readers share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.files import Images, as_seen, find_folder
from nni_count.data.sample import Sample
from nni_count.data.splits import divide
from nni_count.errors import DataError, SettingError

IMAGE_FOLDERS = ("images", "jpegimages", "imgs", "img")
SEVERAL = 3  # images, of which not all have their points in one corner
#: the label of what has none
UNNAMED = "unnamed"
#: a label, with x and y
Mark = tuple[str, Sequence[float] | np.ndarray]


def label_of(value: Any) -> str:
    """The label that a document tells, which may be the number 0; :data:`UNNAMED` where it tells none."""
    return UNNAMED if value is None else str(value).strip() or UNNAMED


class OwnData(Dataset):
    """Own data of which, unless files say otherwise, a seeded share of the images is for testing.

    A reader gives :meth:`read_all`; one that finds files of parts sets ``files`` and ``divides``, and gives
    :meth:`read_part`.

    Args:
        test_fraction: the share of the images that is for testing.
        split_seed: of the draw.
    """

    divides = True
    #: whether any folder of the kind could be meant, so that a layout of a name of its own is taken before
    general = False

    def __init__(self, root: str | Path, *, test_fraction: float = 0.2, split_seed: int = 0, **common: Any):
        super().__init__(root, **common)
        if not 0 < test_fraction < 1:
            raise SettingError(f"data.test_fraction: {test_fraction!r}; give a number between 0 and 1")
        if split_seed < 0:
            raise SettingError(f"data.split_seed: {split_seed!r}; give a whole number from 0")
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.files: dict[str, Path] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test") if self.divides else tuple(self.files)

    @abstractmethod
    def read_all(self) -> list[Sample]:
        """Find all images and points."""

    def read_part(self, path: Path) -> list[Sample]:
        """Find the images and points of a part that the set has of its own, by one of ``files``."""
        raise NotImplementedError

    def read(self, split: str) -> list[Sample]:
        if not self.divides:
            return self._in_pixels(self.read_part(self.files[split]))
        if split == "all":
            return self._in_pixels(self.read_all())
        found = self.part("all")
        if self.faults and len(found) < 2:
            return found if split == "train" else []  # that there are too few would say nothing new
        rest, test = divide(found, self.test_fraction, self.split_seed)
        return test if split == "test" else rest

    def _in_pixels(self, samples: list[Sample]) -> list[Sample]:
        """Refuse points that are shares of the width and height."""
        points = [sample.points for sample in samples if len(sample.points)]
        if len(points) >= SEVERAL and max(float(found.max()) for found in points) <= 1:
            what = f"all points of {len(points)} images lie within the first pixel, as shares of width and height would"
            self.fault(DataError(f"{self.root}: {what}; write them in pixels"))
        return samples

    def everything(self) -> list[Sample]:
        return self.part("all") if self.divides else super().everything()

    def image_folder(self) -> Path:
        """Where the images lie: ``images``, another of :data:`IMAGE_FOLDERS`, or the root."""
        return find_folder(self.root, *IMAGE_FOLDERS) or self.root


class LabelledData(OwnData):
    """Annotations that name their images and what they show.

    Args:
        label: only what is labelled so is counted, else everything.
    """

    everywhere = (*OwnData.everywhere, "label")

    def __init__(self, root: str | Path, *, label: str | int | None = None, **common: Any):
        super().__init__(root, **common)
        self.label = None if label is None else str(label)
        self._labels: set[str] = set()

    def wanted(self, label: Any) -> bool:
        """Whether what is labelled so is counted."""
        self._labels.add(str(label))
        return self.label is None or as_seen(self.label) == as_seen(str(label))

    def part(self, part: str) -> list[Sample]:
        samples = super().part(part)
        if self.label is not None and self._labels and not any(map(self.wanted, tuple(self._labels))):
            found = ", ".join(sorted(self._labels)[:20])
            raise SettingError(f"data.label: nothing in {self.root} is labelled {self.label!r}; found: {found}")
        return samples

    def labelled(self, name: str, path: Path, marks: Sequence[Mark], size: tuple[int, int] | None = None) -> Sample:
        """The sample of an image whose ``marks`` are labelled points; ``size`` as the annotation says it."""
        points = np.array([point for _, point in marks], float).reshape(-1, 2)
        labels = [label for label, _ in marks]
        return self.sample(name, path, points, size=size, labels=None if set(labels) == {UNNAMED} else labels)

    def check_own(self, named: str, name: str, images: Mapping[str, Path], source: Path) -> None:
        """Refuse a document that is called like one image, but names another one that is there."""
        other = as_seen(re.split(r"[/\\]", named)[-1])
        if other in {as_seen(path.name) for key, path in images.items() if key != name}:
            raise DataError(
                f"{source}: names the image {named[:80]!r}, but is called {name}; rename it or mend the name"
            )


class Document:
    """The images that one document names, each once.

    Args:
        dataset: it belongs to.
        path: of the document.
        homes: the folders in which the images are likely to lie, the likeliest first.
    """

    def __init__(self, dataset: LabelledData, path: Path, homes: Sequence[Path]):
        self.dataset, self.path, self.images = dataset, path, Images(dataset.root, homes)
        self.named: dict[Path, str] = {}

    def image(self, name: str) -> Path:
        """The image that the document calls so.

        Raises:
            DataError: there is none, or several, or it has been named before.
        """
        found = self.images.find(name)
        if not found:
            raise DataError(
                f"{self.path}: nothing for {name[:80]} (points without an image); add the file or remove its annotation"
            )
        if len(found) > 1:
            several = " and ".join(str(path.relative_to(self.dataset.root)) for path in found[:2])
            raise DataError(f"{self.path}: {name[:80]} fits {several}; write which")
        (path,) = found
        if path in self.named:
            raise DataError(
                f"{self.path}: {self.named[path]!r} and {name!r} are one image, {path.name}; keep one of them"
            )
        self.named[path] = name
        return path

    def sample(self, path: Path, marks: Sequence[Mark], size: tuple[int, int] | None = None) -> Sample:
        """The sample of an image; see :meth:`LabelledData.labelled`."""
        home = next(home for home in self.images.homes if path.is_relative_to(home))
        return self.dataset.labelled(str(path.relative_to(home).with_suffix("")), path, marks, size)

    def check_others(self) -> None:
        """Refuse images beside those that were named, of which the document says nothing."""
        folders = {path.parent for path in self.named or self.images.paths}
        beside = {str(path.relative_to(self.dataset.root)) for path in self.images.paths if path.parent in folders}
        named = [str(path.relative_to(self.dataset.root)) for path in self.named]
        self.dataset.check_pairs(beside, named, self.dataset.root, self.path)
