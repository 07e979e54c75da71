"""Cutting samples in parts: by a seeded draw, or by a list of file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from nni_count.data.files import as_seen
from nni_count.data.readers.text import read_lines
from nni_count.data.sample import Sample
from nni_count.errors import DataError

T = TypeVar("T")


def split_off(samples: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Cut samples in two by a seeded draw: the rest, and at least one of ``fraction`` of them. Order is kept."""
    if len(samples) < 2:
        raise DataError(f"{len(samples)} image(s) cannot be split in two; give at least 2 training images")
    number = min(max(1, round(len(samples) * fraction)), len(samples) - 1)
    chosen = set(np.random.default_rng((seed, 0x5EED)).permutation(len(samples))[:number].tolist())
    rest = [sample for index, sample in enumerate(samples) if index not in chosen]
    return rest, [sample for index, sample in enumerate(samples) if index in chosen]


def halves(samples: Sequence[T], seed: int) -> tuple[list[T], list[T]]:
    """A seeded half for the weights and one for the architecture (NAS-Count, section 4.1.1)."""
    return split_off(samples, 0.5, seed)


def pick(samples: Sequence[Sample], list_file: Path, root: Path) -> list[Sample]:
    """The samples that a text file lists, in its order: an image a line, and nothing but images.

    An image is written as its path from the data set's root, its file name, or its name without suffix; capitals and
    the Unicode form need not agree, where that leaves no doubt.

    Raises:
        DataError: the list names an image that is missing, or was named before, or fits several.
    """
    names: dict[str, dict[int, Sample]] = {}
    alike: dict[str, dict[int, Sample]] = {}
    for sample in samples:
        spellings = {sample.name}
        if sample.path is not None:
            spellings |= {sample.path.name, sample.path.stem}
            if sample.path.is_relative_to(root):
                spellings.add(sample.path.relative_to(root).as_posix())
        for name in spellings:
            names.setdefault(name, {})[id(sample)] = sample
            alike.setdefault(as_seen(name), {})[id(sample)] = sample
    chosen: dict[int, Sample] = {}
    for number, line in read_lines(list_file):
        name = line.replace("\\", "/").removeprefix("./")
        found = names.get(name) or names.get(name.strip()) or alike.get(as_seen(name), {})
        if len(found) != 1:
            what = f"fits {len(found)} images; write its path from {root}" if found else f"is no image of {root}"
            what += ", and there are no comments in lists" if not found and line.startswith("#") else ""
            raise DataError(f"{list_file}, line {number}: {line.strip()[:80]!r} {what}; mend the list")
        if found.keys() & chosen.keys():
            raise DataError(f"{list_file}, line {number}: {line.strip()[:80]!r} is listed twice; remove one")
        chosen |= found
    return list(chosen.values())
