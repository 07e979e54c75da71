"""A data set: samples by split. A reader is a small subclass that finds images and points."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from nni_count.data.files import natural, unpaired
from nni_count.data.sample import Sample, prepare, unsettled, words_on
from nni_count.data.splits import pick, pick_parts, split_off
from nni_count.errors import DataError, SettingError
from nni_count.runs.describe import kept_arguments, path_of
from nni_count.runs.ranges import Range, check


class Dataset(ABC):
    """A counting data set in a folder.

    A reader gives ``recognises``, ``splits`` and ``read``. In ``read`` it finds its files, pairs them with
    :meth:`check_pairs` and makes its samples in :meth:`gather` with :meth:`sample`. So every fault of an image goes
    through :meth:`fault`: it is raised, or kept in :attr:`faults` while :meth:`collect` looks for all of them.

    Args:
        root: the folder.
        outside: what becomes of points outside their image: ``clamp``, ``drop`` or ``keep``.
        max_side: images larger than this, in pixels, are scaled down together with their points.
        train_list: a text file with one image a line (file name, or path from the root): the training part.
        test_list: likewise the test part. Images in the one are never in the other; where only one list is given,
            the other part is the data set's own without what is listed.
        leave_out: likewise images that belong to no part, such as the near-duplicates that ``doctor`` lists.
        frame: on what points were set, of photos that their camera marked as turned (EXIF): ``shown`` as viewers turn
            them, or ``stored``. Where it is not given, the size in the annotation tells, else it is ``stored``.
        white: the value that is white in images of 16 bits, such as 4095.
        page: of files that have several, from 1.
    """

    #: the files that make this layout, shown when a folder is not recognised
    layout: str
    #: what ``open_data`` was asked for, where it made this data set
    asked_for: Mapping[str, Any] | None = None
    #: whether the parts are drawn by us and not the data set's own
    divides = False
    #: settings that say what is seen and counted, and not which images belong to which part
    everywhere: tuple[str, ...] = ("max_side", "outside", "frame", "white", "page")

    def to_dict(self) -> Any:
        """What ``open_data`` makes it of again: a path, one with settings, or a class and the arguments it keeps."""
        if self.asked_for is None:
            return {"class_path": path_of(type(self)), "init_args": kept_arguments(self)}
        return self.asked_for if len(self.asked_for) > 1 else self.asked_for["path"]

    def __init__(
        self,
        root: str | Path,
        *,
        outside: str = "clamp",
        max_side: Annotated[int, Range(16)] | None = None,
        train_list: str | Path | None = None,
        test_list: str | Path | None = None,
        leave_out: str | Path | None = None,
        frame: str | None = None,
        white: Annotated[int, Range(1, 65535)] | None = None,
        page: Annotated[int, Range(1)] | None = None,
    ):
        check(Dataset.__init__, {"max_side": max_side, "white": white, "page": page}, "data.")
        if frame not in (None, "shown", "stored"):
            raise SettingError(f"data.frame: {frame!r} is unknown; choose shown or stored")
        self.root = Path(root)
        self.outside = outside
        self.max_side = max_side
        self.train_list, self.test_list = train_list, test_list
        self.lists = {name: Path(path) for name, path in (("train", train_list), ("test", test_list)) if path}
        self.leave_out = leave_out and Path(leave_out)
        self.frame, self.white, self.page = frame, white, page
        self._turned: dict[Path | None, str] = {}
        #: faults found so far while they are collected, else None: the first one is raised
        self.faults: list[DataError] | None = None
        self._parts: dict[str, list[Sample]] = {}
        self._number_outside = 0

    @property
    def name(self) -> str:
        """What the data set is called in tables, e.g. ``ShanghaiTech part_A_final``."""
        return f"{type(self).__name__} {self.root.resolve().name}"

    @property
    def identity(self) -> str:
        """By which it is known again, wherever its folder lies."""
        return f"{path_of(type(self))} {self.root.resolve().name}"

    @property
    def settings(self) -> dict[str, Any]:
        """What it was given beside its folder."""
        given = kept_arguments(self) | dict(self.asked_for or {})
        return {name: value for name, value in given.items() if name not in ("root", "path", "format")}

    @staticmethod
    @abstractmethod
    def recognises(root: Path) -> bool:
        """Whether the folder has this layout, judged by its files."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The parts that there are, such as ``train`` and ``test``; no image is in two."""

    @abstractmethod
    def read(self, split: str) -> list[Sample]:
        """Find images and points of a part; called once."""

    def samples(self, split: str) -> list[Sample]:
        """The samples of a part, or of ``all`` parts.

        Raises:
            SettingError: there is no such part.
            DataError: naming the file at fault.
        """
        if split not in (*(known := dict.fromkeys((*self.splits, *self.lists))), "all"):
            raise SettingError(f"{self.root}: has no split {split!r}; found: {', '.join(known)}; or choose all")
        if split == "all":
            samples = self.everything()
        elif self.lists:
            samples = self._listed(split)
        else:
            samples = self.part(split)
        if self.leave_out:
            left = {id(sample) for sample in pick(self.everything(), self.leave_out, self.root)}
            samples = [sample for sample in samples if id(sample) not in left]
        if not samples:
            raise DataError(f"{self.root}: the split {split!r} has no images; check the folder")
        return samples

    def training_parts(self, fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
        """What is learned from, and what chooses among the weights; neither is in the test part.

        The latter is the data set's own validation part. Where it has none, or no test part beside it, so that figures
        are given on ``val``, it is a seeded ``fraction`` of the training part; with ``fraction`` 0 it is empty.
        """
        training = self.samples("train")
        if not fraction:
            return training, []
        if {"val", "test"} <= set(self.splits):
            return training, self.samples("val")
        return split_off(training, fraction, seed)

    def collect(self, split: str) -> tuple[list[Sample], list[DataError]]:
        """The sound samples of a part and all its faults, each once, where :meth:`samples` raises the first."""
        kept, self._parts, self.faults = self._parts, {}, []
        samples: list[Sample] = []
        try:
            samples = self.samples(split)
        except DataError as error:
            # with every image left out for its own fault, that there is none left says nothing new
            self.faults += [error] if not self.faults or "has no images" not in str(error) else []
        finally:
            faults, self._parts, self.faults = self.faults, kept, None
        return samples, list({str(error): error for error in faults}.values())

    def part(self, part: str) -> list[Sample]:
        """What :meth:`read` gives, read once, with a word about points outside."""
        if part not in self._parts:
            self._number_outside = 0
            self._parts[part] = self.read(part)
            if self._number_outside:
                done = {"clamp": "moved to the border", "drop": "left out", "keep": "kept"}[self.outside]
                what = f"{self._number_outside} points lie outside their image; {done}"
                warnings.warn(f"{self.root} ({part}): {what} (--data.outside clamp, drop or keep)", stacklevel=3)
            for words in words_on(self.turned, [sample.path for sample in self._parts[part]]):
                warnings.warn(f"{self.root} ({part}): {words}", stacklevel=3)
        return self._parts[part]

    @property
    def turned(self) -> dict[Path | None, str]:
        """See :func:`nni_count.data.sample.unsettled`."""
        return unsettled(self._turned)

    def everything(self) -> list[Sample]:
        """The samples of all parts."""
        return [sample for split in self.splits for sample in self.part(split)]

    def _listed(self, split: str) -> list[Sample]:
        everything = self.everything()
        chosen = pick_parts(everything, self.lists, self.root)
        if split in chosen:
            return chosen[split]
        taken = {id(sample) for samples in chosen.values() for sample in samples}
        own = everything if self.divides or split not in self.splits else self.part(split)
        return [sample for sample in own if id(sample) not in taken]

    def fault(self, error: DataError) -> None:
        """Raise an error, or keep it while faults are collected."""
        if self.faults is None:
            raise error
        self.faults.append(error)

    def gather(self, items: Iterable[Any], make: Callable[[Any], Sample]) -> list[Sample]:
        """A sample of every item; while faults are collected, faulty ones are left out."""
        samples = []
        for item in items:
            try:
                samples.append(make(item))
            except DataError as error:
                self.fault(error)
        return samples

    def sample(
        self,
        name: str,
        path: Path,
        points: np.ndarray,
        read: Callable[[], np.ndarray] | None = None,
        *,
        size: tuple[int, int] | None = None,
        roi: np.ndarray | None = None,
        group: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Sample:
        """A sample whose points are finite and lie where ``outside`` puts them; for readers.

        Args:
            name: of the image.
            path: the image file.
            points: ``(N, 2)``, x y in pixels.
            read: gives the image; by default the file's pixels.
            size: width and height at which the points were set, where the annotation tells. An image that its camera
                marked as turned (EXIF) is then read as the annotator saw it.
            roi: polygon ``(M, 2)``; points outside are left out.
            group: what the image is reported under.
            labels: what each point is, where that is known.
        """
        how: Any = {name: getattr(self, name) for name in ("outside", "max_side", "frame", "white", "page")}
        sample, number, turned = prepare(
            name, path, points, read, size=size, roi=roi, group=group, labels=labels, **how
        )
        self._number_outside += number
        self._turned |= {path: turned} if turned else {}
        return sample

    def check_pairs(
        self, images: Collection[str], points: Collection[str], image_folder: Path, point_folder: Path
    ) -> list[str]:
        """The names that have both image and points, numbers in order; images or points alone are faults."""
        for error in unpaired(images, points, image_folder, point_folder, every=self.faults is not None):
            self.fault(error)
        return sorted(set(images) & set(points), key=natural)
