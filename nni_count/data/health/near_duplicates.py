"""Near-duplicates: one photo in two parts of a data set, re-compressed, rescaled, brightened or mirrored."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 32  # pixels: the photo is shrunk to a square of this size before its frequencies are taken
KEPT = 16  # frequencies along each axis
BITS = KEPT * KEPT - 1  # all but the mean
BLANK = 1.0  # grey levels times pixels of the small square: below it, signs are those of rounding errors
#: signs that may differ. Of ShanghaiTech A's 54,600 pairs of a training and a test image, those that show one photo
#: differ in 10 or fewer, the nearest others in 91; an overlap with UCF_CC_50 where the frame was cut reaches 63
LIMIT = 72

#: a mirrored photo has the other sign in every odd horizontal frequency
_MIRROR = np.tile((-1.0) ** np.arange(KEPT), KEPT)[1:].astype(np.float32)


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


def nearest(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int, bool]]:
    """For each hash of ``first`` the nearest of ``second``: its index, the distance, and whether it is mirrored.

    Args:
        first: ``(N, 255)``, perceptual hashes.
        second: ``(M, 255)``.
    """
    # of signs, the product counts those that agree less those that differ
    plain, mirrored = ((BITS - hashes @ second.T) / 2 for hashes in (first, first * _MIRROR))
    found = []
    for row, index in enumerate(np.minimum(plain, mirrored).argmin(1).tolist()):
        distance, turned = float(plain[row, index]), float(mirrored[row, index])
        found.append((index, round(min(distance, turned)), turned < distance))
    return found
