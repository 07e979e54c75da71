"""Where a model comes from: the images that it learned from and how they were read, kept with it and with its run."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nni_count.data import DataSetting, open_data
from nni_count.data.dataset import Dataset
from nni_count.data.files import as_seen
from nni_count.data.images import read_image
from nni_count.data.sample import Sample
from nni_count.data.settings import known_settings
from nni_count.errors import Note, RunError, SettingError
from nni_count.runs.describe import describe
from nni_count.runs.files import write_text
from nni_count.runs.ranges import check
from nni_count.runs.run import check_holds, check_same

#: a file's fingerprint is of its length and of so many bytes at so many places; before version 0.2 of both ends
BLOCK, PLACES = 1 << 16, 16
EARLIER = 32  # letters of a fingerprint of before
KEPT = "images.json"
PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Origin:
    """The images that were learned from, those that chose among the weights included, and the settings of their reader.

    Args:
        data: layout and folder, by which the data set is known again.
        settings: of its reader, plain JSON.
        images: their fingerprints, by path in the data set, or name where they have none.
    """

    data: str
    settings: Mapping[str, Any]
    images: Mapping[str, str]

    @classmethod
    def of(cls, dataset: Dataset, images: Mapping[str, str], before: Origin | None = None) -> Origin:
        """Of a training on images with their fingerprints; ``before`` is that of the weights that it began with."""
        if before:
            same = before.data == dataset.identity
            earlier = {(name if same else f"{before.data}: {name}"): f for name, f in before.images.items()}
            images = {**earlier, **images}
        return cls(dataset.identity, describe(dataset.settings), images)

    @classmethod
    def from_dict(cls, data: Any) -> Origin:
        """Of what :meth:`to_dict` gave.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(data, dict) or data.keys() != {"data", "settings", "images"}:
            raise ValueError("origin: expected data, settings and images")
        settings, images = data["settings"], data["images"]
        if not isinstance(data["data"], str) or not isinstance(settings, dict) or not isinstance(images, dict):
            raise ValueError("origin: expected a text, settings and images by name")
        side = settings.get("max_side")
        if side is not None and (type(side) is not int or side < 16):
            raise ValueError(f"origin: max_side {side!r:.20} is no number of pixels from 16")
        try:
            check(read_image, settings)
        except (SettingError, TypeError) as error:
            raise ValueError(f"origin: {error}") from error
        if not all(isinstance(one, str) for one in images.values()):
            raise ValueError("origin: the fingerprint of an image is no text")
        return cls(data["data"], settings, images)

    def to_dict(self) -> dict[str, Any]:
        return {"data": self.data, "settings": dict(self.settings), "images": dict(self.images)}

    def reopen(self, data: DataSetting) -> tuple[Dataset, dict[str, Any], dict[str, str]]:
        """A data set read as this one was.

        What is seen and counted (:attr:`Dataset.everywhere`) is read alike in any data set; of the same data set, the
        settings of its parts are taken over too. A setting that is given stays.

        Returns:
            The data set, the settings that were taken over, and, by setting, in what words others differ.
        """
        dataset = open_data(data)
        asked, known = dataset.asked_for, known_settings(type(dataset))
        taken: dict[str, Any] = {}
        differs: dict[str, str] = {}
        now = describe(dataset.settings)
        for name, value in self.settings.items():
            relevant = dataset.identity == self.data or name in dataset.everywhere
            if not relevant or name not in now or now[name] == value:
                continue
            if asked is None or name in asked:
                differs[name] = f"{now[name]!r} is given, but the model was trained with {value!r}"
            elif not isinstance(value, PLAIN) or name not in known:
                differs[name] = "cannot be taken over from the model; give it again"
            elif Path in known[name] and isinstance(value, str) and not os.path.isfile(value):
                differs[name] = f"the model was trained with {value!r}, and no such file is here; give it again"
            else:
                taken[name] = value
        return (open_data({**asked, **taken}) if taken and asked else dataset), taken, differs

    def met(self, dataset: Dataset, samples: Sequence[Sample]) -> list[str]:
        """The names of those samples that were learned from, known by their content; or by their place in the data set,
        where that is so by its name, and others are by their content.
        """
        prints = {*self.images.values()} - {""}
        earlier = any(len(one) == EARLIER for one in prints)
        known = {id(s) for s in samples if fingerprint(s) in prints or (earlier and earlier_fingerprint(s) in prints)}
        same = dataset.identity == self.data and (known or not prints)
        places = {as_seen(name) for name in self.images} if same else set()
        return [
            sample.name
            for sample in samples
            if id(sample) in known or (sample.path and as_seen(place(sample, dataset.root)) in places)
        ]


def keep_parts(folder: Path, dataset: Dataset, parts: Sequence[Sequence[Sample]]) -> dict[str, str]:
    """Write beside a run's checkpoints which images it began with, for :func:`as_begun`; returns their fingerprints."""
    prints = [fingerprints(dataset, part) for part in parts]
    marks = [{place(sample, dataset.root): _of_marks(sample) for sample in part} for part in parts]
    kept = [{name: f"{one} {of[name]}" for name, one in part.items()} for part, of in zip(prints, marks, strict=True)]
    write_text(folder / KEPT, json.dumps(kept, indent=0) + "\n")
    return {name: one for part in prints for name, one in part.items()}


def as_begun(
    folder: str | Path, command: str, dataset: Dataset, parts: tuple[Sequence[Sample], Sequence[Sample]]
) -> tuple[list[Sample], list[Sample]]:
    """The parts that the run in a folder began with; images that came since are left out, with a word.

    Raises:
        RunError: the folder holds none of that command, or an image is gone, or has another content or other points.
    """
    begun = check_holds(Path(folder), command).get("data")
    now = {place(sample, dataset.root): sample for part in parts for sample in part}
    try:
        kept = json.loads((Path(folder) / KEPT).read_text(encoding="utf-8"))
        first, second = [dict(part) for part in kept]
        if not first or bool(second) != bool(parts[1]):
            raise ValueError("a part without images")
        if not all(isinstance(one, str) for one in (*first.values(), *second.values())):
            raise ValueError("no fingerprints")
    except FileNotFoundError:  # of an earlier version, or the run says itself what is wrong
        return list(parts[0]), list(parts[1])
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder}/{KEPT}: cannot be read; restore it, or begin again in another --out") from error
    for name, kept in {**first, **second}.items():
        before, _, marks = kept.partition(" ")
        of = earlier_fingerprint if len(before) == EARLIER else fingerprint
        if name not in now or of(now[name]) != before or marks not in ("", _of_marks(now[name])):
            check_same(Path(folder), {"data": begun}, {"data": describe(dataset)})  # by which points are made
            what = "is no longer among the training images"
            if name in now:
                what = f"is no longer {'annotated as' if of(now[name]) == before else 'the image that'} it was"
            raise RunError(
                f"{folder}: was begun with {name}, which {what}; restore it, or begin again in another --out"
            )
    new = [name for name in now if name not in {**first, **second}]
    if new:
        warnings.warn(
            f"{folder}: goes on without {len(new)} image(s) that came later: {', '.join(new[:3])}", stacklevel=3
        )
    return [now[name] for name in first], [now[name] for name in second]


def fingerprints(dataset: Dataset, samples: Sequence[Sample]) -> dict[str, str]:
    """Of samples, by their place in the data set."""
    return {place(sample, dataset.root): fingerprint(sample) for sample in samples}


def place(sample: Sample, root: Path) -> str:
    """The path of a sample's image in its data set; its name where it has none."""
    if sample.path is None:
        return sample.name
    inside = sample.path.is_relative_to(root)
    return (sample.path.relative_to(root) if inside else sample.path).as_posix()


def fingerprint(sample: Sample) -> str:
    """Of the content: of length and parts of the image's file, all of a small one, else of the points, else of the
    pixels.
    """
    return _fingerprint(sample, 20, lambda length: range(0, length, max(BLOCK, -(-length // PLACES))))


def earlier_fingerprint(sample: Sample) -> str:
    """What :func:`fingerprint` was, of both ends of the file alone; images with one border can have one."""
    return _fingerprint(sample, EARLIER // 2, lambda length: (0, max(0, length - BLOCK)))


def _fingerprint(sample: Sample, size: int, starts: Callable[[int], Iterable[int]]) -> str:
    """Of so many bytes; ``starts`` are the places of the blocks in a file of a length."""
    digest = hashlib.blake2b(digest_size=size)
    try:
        if sample.path is not None:
            with sample.path.open("rb") as file:
                length = file.seek(0, os.SEEK_END)
                digest.update(str(length).encode())
                for start in starts(length):
                    file.seek(start)
                    digest.update(file.read(BLOCK))
        else:
            digest.update(sample.points.tobytes() if len(sample.points) else sample.read().tobytes())
    except OSError:
        return ""  # the reader of images says what is wrong with it
    return digest.hexdigest()


def _of_marks(sample: Sample) -> str:
    """A fingerprint of the points and their labels."""
    labels = "" if sample.labels is None else json.dumps(sample.labels.tolist())
    return hashlib.blake2b(sample.points.tobytes() + labels.encode(), digest_size=16).hexdigest()


def notes(
    taken_over: Mapping[str, Any], differs: Mapping[str, str], met: list[str], images: int, split: str
) -> Iterator[str | Note]:
    """What a person must know of how the images are read and where they come from."""
    if taken_over:
        settings = ", ".join(f"data.{name} {value!r}" for name, value in taken_over.items())
        yield Note(f"as the model was trained: {settings}")
    yield from (f"data.{name}: {how}" for name, how in differs.items())
    if met and split not in ("train", "val"):  # else it is what was asked for
        first = ", ".join(met[:3]) + (" …" if len(met) > 3 else "")
        yield (
            f"{len(met)} of the {images} images were trained on ({first}), so the figures say little about others; "
            "evaluate on images that it has not seen"
        )
