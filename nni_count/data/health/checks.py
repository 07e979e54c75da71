"""What is suspicious about annotations, judged by the points alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nni_count.data.sample import is_outside

FEW = 3  # points: fewer in the wrong place may be slips of the hand
CROWD = 10  # points: fewer may stand in a row or in a corner by chance
FAR = 5.0  # deviations from the median count


@dataclass(frozen=True)
class Finding:
    """Something that ``doctor`` found.

    Args:
        kind: one of ``doctor``'s kinds, such as ``outside``.
        where: the image, as ``train IMG_3``, or the part.
        message: what is wrong, and what to do where that is not plain.
        fault: the data are wrong or unreadable; else they only may be.
        amount: how much, to show the worst first.
    """

    kind: str
    where: str
    message: str
    fault: bool = False
    amount: float = 0


def number_outside(points: np.ndarray, width: int, height: int) -> int:
    """How many of the points ``(N, 2)`` lie outside an image of that size."""
    return int(is_outside(points, width, height).sum())


def number_coincident(points: np.ndarray) -> int:
    """How many of the points ``(N, 2)`` lie exactly on another one, the first of each place not counted."""
    return len(points) - len(np.unique(points, axis=0))


def check_points(where: str, points: np.ndarray, width: int, height: int) -> list[Finding]:
    """What is suspicious about the points of one image.

    Args:
        where: names the image in the findings.
        points: ``(N, 2)``, x y in pixels.
        width: of the image in pixels.
        height: of the image in pixels.
    """
    if not len(points):
        return []
    findings = _check_frame(where, points, width, height)
    coincident = number_coincident(points)
    if coincident:
        message = f"{coincident} of {len(points)} points lie exactly on another one"
        findings.append(Finding("coincident", where, message, amount=coincident))
    if findings and findings[0].fault:
        return findings  # points in the wrong frame say nothing about their arrangement
    centred = points - points.mean(0)
    along, across = np.linalg.svd(centred, compute_uv=False)[:2] / np.sqrt(len(points)) if len(points) > 1 else (0, 0)
    if len(points) >= CROWD and across < 0.5 < along:
        findings.append(Finding("line", where, f"all {len(points)} points lie on one line"))
    corner = _corner(points, width, height)
    if len(points) >= CROWD and corner:
        message = f"all {len(points)} points lie in the {corner} corner; are they meant for a smaller image?"
        findings.append(Finding("corner", where, message))
    return findings


def _check_frame(where: str, points: np.ndarray, width: int, height: int) -> list[Finding]:
    """Whether the points are in pixels of this image, x first."""
    number, outside = len(points), number_outside(points, width, height)
    if number >= FEW and points.min() >= 0 and points.max() <= 1 and min(width, height) > 8:
        message = f"all {number} points lie between 0 and 1; give pixels, not parts of the image's size"
        return [Finding("relative", where, message, True, number)]
    if not outside:
        return []
    swapped = number_outside(points[:, ::-1], width, height)
    what = f"{outside} of {number} points lie outside the {width}×{height} image"
    if outside >= FEW and swapped * 10 <= outside:
        message = f"{what}, and {swapped or 'none'} would with x and y swapped; is y given first?"
        return [Finding("swapped", where, message, True, outside)]
    if outside >= max(FEW, number / 10):
        message = f"{what}; are they meant for an image of another size?"
        return [Finding("outside", where, message, True, outside)]
    return [Finding("outside", where, what, amount=outside)]


def _corner(points: np.ndarray, width: int, height: int) -> str:
    """The corner, a quarter of the width and of the height, that holds all points; empty when there is none."""
    x, y = points[:, 0] / width, points[:, 1] / height
    row = "top" if y.max() < 0.25 else "bottom" if y.min() >= 0.75 else ""
    column = "left" if x.max() < 0.25 else "right" if x.min() >= 0.75 else ""
    return f"{row} {column}" if row and column else ""


def check_counts(names: Sequence[str], counts: Sequence[int]) -> list[Finding]:
    """Images whose number of points is far from those of the others.

    Counts are compared by their logarithm, since those of crowds spread over orders of magnitude, and by their
    distance from the median in deviations (1.48 times the median absolute deviation, at least 0.2).
    """
    logarithms = np.log1p(np.asarray(counts, float))
    if len(logarithms) < CROWD:
        return []
    middle = np.median(logarithms)
    deviation = max(1.4826 * float(np.median(np.abs(logarithms - middle))), 0.2)
    scores = (logarithms - middle) / deviation
    return [
        Finding("count", name, f"{count} points; the median is {np.expm1(middle):.0f}", amount=abs(score))
        for name, count, score in zip(names, counts, scores.tolist(), strict=True)
        if abs(score) > FAR
    ]
