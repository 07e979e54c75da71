"""Looking at every image of a data set: its figures, images that occur twice, files that nobody reads."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.health.checks import FEW, Finding, check_points, number_coincident, number_outside
from nni_count.data.health.near_duplicates import LIMIT, nearest, perceptual_hash
from nni_count.data.images import IMAGE_SUFFIXES, check_whole
from nni_count.data.sample import TURNED, Sample
from nni_count.errors import DataError


@dataclass(frozen=True)
class Look:
    """What is kept of an image that was read: everything but its pixels."""

    split: str
    sample: Sample
    width: int
    height: int
    grey: bool
    digest: bytes
    hash: np.ndarray
    word: str  # of its file

    @property
    def where(self) -> str:
        return f"{self.split} {self.sample.name}"

    @property
    def outside(self) -> int:
        return number_outside(self.sample.points, self.width, self.height)


@dataclass(frozen=True)
class Pair:
    """Two images of different parts that look alike.

    Args:
        first: the image.
        second: its look-alike.
        distance: signs of their perceptual hashes that differ.
        mirrored: the look-alike is the image seen in a mirror.
    """

    first: Look
    second: Look
    distance: int
    mirrored: bool

    @property
    def identical(self) -> bool:
        return self.first.digest == self.second.digest

    def to_dict(self) -> dict[str, Any]:
        facts = {"distance": self.distance, "mirrored": self.mirrored, "identical": self.identical}
        return {"first": self.first.where, "second": self.second.where, **facts}


def look_at(split: str, samples: Sequence[Sample]) -> tuple[list[Look], list[Finding]]:
    """Read every image of a part once, as many at a time as there are cores; those that cannot be read are findings."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda sample: _look(split, sample), samples))
    return [one for one in found if isinstance(one, Look)], [one for one in found if isinstance(one, Finding)]


def _look(split: str, sample: Sample) -> Look | Finding:
    try:
        word = check_whole(sample.path) if sample.path else ""
        image = sample.read()
    except DataError as error:
        return Finding("unreadable", f"{split} {sample.name}", str(error), fault=True)
    height, width = image.shape[:2]
    grey = bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())
    digest = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
    return Look(split, sample, width, height, grey, digest, perceptual_hash(image), word)


def check_look(look: Look, turned: Mapping[Path | None, str]) -> list[Finding]:
    """What is suspicious about one image and its points; ``turned`` are photos whose points may be set either way, by
    what is assumed.
    """
    findings = check_points(look.where, look.sample.points, look.width, look.height)
    if look.sample.path in turned:
        kept = [finding for finding in findings if finding.kind not in ("swapped", "outside")]
        fits = len(kept) == len(findings)
        words = TURNED[turned[look.sample.path]]
        findings = [*kept, Finding("turned", look.where, words, fault=not fits, amount=look.outside)]
    return [*findings, Finding("transparent", look.where, look.word)] if look.word else findings


def figures(samples: Sequence[Sample], looks: Sequence[Look]) -> dict[str, Any]:
    """A part in figures; sizes, greyscale and points outside are those of the images that could be read."""
    counts = [sample.count for sample in samples]
    return {
        "images": len(samples),
        "unreadable": len(samples) - len(looks),
        "points": sum(counts),
        "min": min(counts, default=0),
        "mean": float(np.mean(counts)) if counts else 0.0,
        "max": max(counts, default=0),
        "width": [min((look.width for look in looks), default=0), max((look.width for look in looks), default=0)],
        "height": [min((look.height for look in looks), default=0), max((look.height for look in looks), default=0)],
        "greyscale": sum(look.grey for look in looks),
        "coincident": sum(number_coincident(sample.points) for sample in samples),
        "outside": sum(look.outside for look in looks),
        "labels": labels(samples),
    }


def labels(samples: Sequence[Sample]) -> dict[str, int]:
    """How many points have each label, the most first; empty where nothing is labelled."""
    known = (sample.labels for sample in samples if sample.labels is not None)
    return dict(Counter(str(label) for found in known for label in found).most_common())


def check_duplicates(looks: Sequence[Look]) -> list[Finding]:
    """Images with the pixels of another one, and images with the points of another one."""
    findings = []
    first_pixels: dict[bytes, Look] = {}
    first_points: dict[bytes, Look] = {}
    for look in looks:
        other = first_pixels.setdefault(look.digest, look)
        if other is not look:
            counts = f"{other.sample.count} and {look.sample.count} points"
            agree = "with the same points" if np.array_equal(look.sample.points, other.sample.points) else counts
            findings.append(Finding("duplicate", look.where, f"has the pixels of {other.where}, {agree}"))
        elif look.sample.count >= FEW:
            other = first_points.setdefault(look.sample.points.tobytes(), look)
            if other is not look:
                message = f"has exactly the points of {other.where}, but is another image"
                findings.append(Finding("copied", look.where, message, amount=look.sample.count))
    return findings


def pairs_across(looks: Sequence[Look], splits: Sequence[str]) -> list[Pair]:
    """For each image the one of a later part that is the same or nearly, if there is one; blank images aside."""
    pairs = []
    for before, after in itertools.combinations(splits, 2):
        second = [look for look in looks if look.split == after]
        first = [look for look in looks if look.split == before]
        if not first or not second:
            continue
        found = nearest(np.stack([look.hash for look in first]), np.stack([look.hash for look in second]))
        for look, (index, distance, mirrored) in zip(first, found, strict=True):
            if distance <= LIMIT:
                pairs.append(Pair(look, second[index], distance, mirrored))
    return pairs


def check_pairs_across(pairs: Sequence[Pair], images: dict[str, int]) -> list[Finding]:
    """Near-duplicates as findings; those of a fixed camera, where all images look alike, as one."""
    findings = []
    for split, all_pairs in itertools.groupby(pairs, lambda pair: pair.first.split):
        near = [pair for pair in all_pairs if not pair.identical]
        if len(near) > max(images[split] / 2, FEW):
            message = f"{len(near)} of {images[split]} images look like one of a later part; frames of a fixed camera?"
            findings.append(Finding("near-duplicate", split, message, amount=len(near)))
            continue
        for pair in near:
            message = (
                f"looks like {pair.second.where}{' in a mirror' if pair.mirrored else ''} (distance {pair.distance})"
            )
            findings.append(Finding("near-duplicate", pair.first.where, message, amount=-pair.distance))
    return findings


def other_files(root: Path, used: Iterable[Path]) -> dict[str, list[Path]]:
    """Files below a folder other than the ``used`` images, by the shape of their path (digits written as ``#``)."""
    known = {path.resolve() for path in used}
    groups: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if os.path.isfile(path) and path.resolve() not in known:
            groups.setdefault(re.sub(r"\d+", "#", path.relative_to(root).as_posix()), []).append(path)
    return groups


def check_extra(groups: dict[str, list[Path]], faults: Iterable[Finding], images: int) -> list[Finding]:
    """Image files that seem to have been forgotten, among :func:`other_files`.

    Left out are those that a fault names already, and whole series (half as many as there are images, or more), which
    belong to the layout: dots, masks, images without published points.
    """
    named = {word for fault in faults if fault.fault for word in re.findall(r"[\w.-]+", fault.message)}
    findings = []
    for shape, paths in groups.items():
        rest = [path for path in paths if path.name not in named and path.stem not in named]
        if rest and rest[0].suffix.lower() in IMAGE_SUFFIXES and len(paths) < max(images / 2, 1):
            examples = ", ".join(path.name for path in rest[:3]) + (" …" if len(rest) > 3 else "")
            findings.append(Finding("extra", shape, f"{len(rest)} ({examples})", amount=len(rest)))
    return findings
