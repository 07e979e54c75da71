"""Near-duplicates: one photo in two parts of a data set, re-compressed, rescaled, brightened or mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from nni_count.data.sample import Sample

SIDE = 32  # pixels: the photo is shrunk to a square of this size before its frequencies are taken
KEPT = 16  # frequencies along each axis
BITS = KEPT * KEPT - 1  # all but the mean
BLANK = 1.0  # grey levels times pixels of the small square: below it, signs are those of rounding errors
#: signs that may differ. Of ShanghaiTech A's 54,600 pairs of a training and a test image, those that show one photo
#: differ in 10 or fewer, the nearest others in 91; an overlap with UCF_CC_50 where the frame was cut reaches 63
LIMIT = 72

#: a mirrored photo has the other sign in every odd horizontal frequency
_MIRROR = np.tile((-1.0) ** np.arange(KEPT), KEPT)[1:].astype(np.float32)


@dataclass(frozen=True)
class NearDuplicate:
    """An image and the one of another part that looks most like it.

    Args:
        first: name of the image.
        second: name of its look-alike.
        distance: signs that differ, 0 to ``LIMIT`` of ``BITS``.
        mirrored: the look-alike is the image seen in a mirror.
    """

    first: str
    second: str
    distance: int
    mirrored: bool


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """The signs of an image's lowest frequencies, which outlast compression, rescaling and changes of light.

    The image is made grey, shrunk to 32×32 and transformed (two-dimensional DCT-II).

    Args:
        image: ``(H, W, 3)`` uint8 RGB.

    Returns:
        ``(255,)`` float32 of 1 and -1; all 0 for a blank image, so that it resembles nothing.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    frequencies = np.asarray(cv2.dct(small))[:KEPT, :KEPT].ravel()[1:]
    if np.abs(frequencies).max() < BLANK:
        return np.zeros(BITS, np.float32)
    return np.where(frequencies > 0, 1, -1).astype(np.float32)


def near_duplicates(first: Sequence[Sample], second: Sequence[Sample], *, limit: int = LIMIT) -> list[NearDuplicate]:
    """The images of one part that are in another part too, or nearly; for instance training images in the test part.

    Args:
        first: the part whose images may be left out.
        second: the part they are compared with.
        limit: the largest number of differing signs.

    Returns:
        One for each image of ``first`` that has a look-alike, with the nearest one; in the order of ``first``.

    Raises:
        DataError: an image cannot be read.
    """
    hashes = [np.stack([perceptual_hash(sample.read()) for sample in part]) for part in (first, second) if part]
    if len(hashes) < 2:
        return []
    found = nearest(*hashes)
    return [
        NearDuplicate(sample.name, second[index].name, distance, mirrored)
        for sample, (index, distance, mirrored) in zip(first, found, strict=True)
        if distance <= limit
    ]


def nearest(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int, bool]]:
    """For each hash of ``first`` the nearest of ``second``: its index, the distance, and whether it is mirrored.

    Args:
        first: ``(N, 255)``, perceptual hashes.
        second: ``(M, 255)``.
    """
    plain = (BITS - first @ second.T) / 2  # of signs, the product counts those that agree less those that differ
    mirrored = (BITS - (first * _MIRROR) @ second.T) / 2
    distances = np.minimum(plain, mirrored)
    indices = distances.argmin(1)
    rows = np.arange(len(first))
    turned = mirrored[rows, indices] < plain[rows, indices]
    return [
        (int(index), round(float(distances[row, index])), bool(turned[row]))
        for row, index in zip(rows, indices, strict=True)
    ]
