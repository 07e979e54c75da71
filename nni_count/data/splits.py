"""Cutting samples in parts: by a draw that goes by their names, or by a list of file names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from nni_count.data.files import as_seen
from nni_count.data.readers.text import read_lines
from nni_count.data.sample import Sample
from nni_count.errors import DataError

T = TypeVar("T")


def divide(samples: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Divide samples in two: the rest, and about ``fraction`` of them, at least one each. Order is kept.

    Name and seed alone say where a sample belongs, so one that is added moves no other; the numbers are those of
    a draw for each sample alone.
    """
    drawn = _draw(samples, seed)
    return _cut(samples, drawn, sum(place < fraction for place in drawn))


def split_off(samples: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Cut samples in two, drawn by their names: the rest, and at least one of ``fraction`` of them. Order is kept."""
    return take_off(samples, round(len(samples) * fraction), seed)


def take_off(samples: Sequence[T], number: int, seed: int) -> tuple[list[T], list[T]]:
    """As :func:`split_off`, a ``number`` of them."""
    return _cut(samples, _draw(samples, seed), number)


def halves(samples: Sequence[T], seed: int) -> tuple[list[T], list[T]]:
    """A seeded half for the weights and one for the architecture (NAS-Count, section 4.1.1)."""
    return take_off(samples, round(len(samples) / 2), seed)


def _draw(samples: Sequence[T], seed: int) -> list[float]:
    """A number from 0 to 1 for each, of its name and the seed alone."""
    if len(samples) < 2:
        raise DataError(f"{len(samples)} image(s) cannot be split in two; give at least 2 training images")
    names = [f"{seed} {as_seen(str(getattr(sample, 'name', sample)))}" for sample in samples]
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names]
    return [int.from_bytes(digest, "big") / 2**64 for digest in digests]


def _cut(samples: Sequence[T], drawn: Sequence[float], number: int) -> tuple[list[T], list[T]]:
    number = min(max(1, number), len(samples) - 1)
    chosen = set(sorted(range(len(samples)), key=lambda index: drawn[index])[:number])
    rest = [sample for index, sample in enumerate(samples) if index not in chosen]
    return rest, [sample for index, sample in enumerate(samples) if index in chosen]


def pick(samples: Sequence[Sample], list_file: Path, root: Path) -> list[Sample]:
    """The samples that a text file lists, in its order: an image a line, and nothing but images.

    An image is written as its path from the data set's root, its file name, or its name without suffix; capitals and
    the Unicode form need not agree, and folders before it may be those of another machine, where that leaves no doubt.

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
        while not found and "/" in name:  # folders of another machine
            name = name.partition("/")[2]
            found = alike.get(as_seen(name), {})
        if len(found) != 1:
            what = f"fits {len(found)} images; write its path from {root}" if found else f"is no image of {root}"
            what += ", and there are no comments in lists" if not found and line.startswith("#") else ""
            raise DataError(f"{list_file}, line {number}: {line.strip()[:80]!r} {what}; mend the list")
        if found.keys() & chosen.keys():
            raise DataError(f"{list_file}, line {number}: {line.strip()[:80]!r} is listed twice; remove one")
        chosen |= found
    return list(chosen.values())


def pick_parts(samples: Sequence[Sample], lists: Mapping[str, Path], root: Path) -> dict[str, list[Sample]]:
    """The samples that each part's text file lists, see :func:`pick`; one that two of them list is refused."""
    chosen = {part: pick(samples, path, root) for part, path in lists.items()}
    taken: dict[int, str] = {}
    for part, found in chosen.items():
        for sample in found:
            if id(sample) in taken:
                before = lists[taken[id(sample)]]
                raise DataError(f"{lists[part]}: {sample.name} is in {before} too; keep it in one of them")
            taken[id(sample)] = part
    return chosen
