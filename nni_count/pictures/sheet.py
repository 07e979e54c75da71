"""A page of images with their points drawn, so that a person sees whether they fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import cKDTree

from nni_count.runs.files import write_image

# a panel's parts in pixels: the whole image at the left, a detail at the right, two lines of text above
WHOLE, DETAIL, LINE, GAP = (336, 252), 252, 20, 14
TEXT = 13
NEIGHBOURS = 10  # about as many heads as a detail shows to each side of its middle

PAPER, INK, ALARM = (250, 250, 250), (40, 45, 60), (190, 20, 20)
POINT, ODD, RIM, FRAME = (255, 225, 0), (255, 40, 40), (0, 0, 0), (0, 255, 255)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Panel:
    """An image on the page.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        points: ``(N, 2)``, x y in pixels.
        outside: ``(N,)`` bool, which of them lie outside the image.
        title: the line above it.
        note: a second line, in red: what is the matter with it.
    """

    image: np.ndarray
    points: np.ndarray
    outside: np.ndarray
    title: str
    note: str = ""


def draw_sheet(panels: Iterable[Panel], path: str | Path, *, heading: str, columns: int = 3) -> None:
    """Draw each image twice, whole and a detail of typical density, with its points.

    Points are yellow; those that lie outside (moved to the border) or on another one are red. The panels are taken
    one after another, so that a generator need not hold all images. The PNG appears whole or not at all.

    Args:
        panels: what is drawn, row by row.
        path: the PNG.
        heading: a line above all.
        columns: panels in a row.
    """
    drawn = [_draw(panel) for panel in panels]
    height, width = LINE * 2 + WHOLE[1], WHOLE[0] + DETAIL + GAP // 2
    rows = -(-len(drawn) // columns)
    top = LINE + 2 * GAP
    page = np.full((top + rows * (height + GAP), GAP + columns * (width + GAP), 3), PAPER, np.uint8)
    page[GAP : GAP + LINE, GAP:-GAP] = _text(heading, page.shape[1] - 2 * GAP, INK)
    for index, picture in enumerate(drawn):
        y, x = top + index // columns * (height + GAP), GAP + index % columns * (width + GAP)
        page[y : y + height, x : x + width] = picture
    write_image(path, page)


def _draw(panel: Panel) -> np.ndarray:
    height, width = panel.image.shape[:2]
    points = np.asarray(panel.points, np.float64).reshape(-1, 2)
    _, places, repeats = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    odd = panel.outside | (repeats[places.reshape(-1)] > 1)
    shown = np.clip(points, 0, (width - 1, height - 1))
    left, top, side = _detail(shown, odd, width, height)

    factor = min(WHOLE[0] / width, WHOLE[1] / height)
    small = _resize(panel.image, factor)
    _dots(small, shown * factor, odd, radius=_radius(points[~panel.outside]) * factor)
    start, end = [
        np.round(np.array(corner) * factor).astype(int) for corner in ((left, top), (left + side, top + side))
    ]
    for colour, thickness in ((RIM, 4), (FRAME, 2)):
        cv2.rectangle(small, start.tolist(), (end - 1).tolist(), colour, thickness)

    enlarge = DETAIL / side
    detail = _resize(panel.image[top : top + side, left : left + side], enlarge)
    _rings(detail, (shown - (left, top)) * enlarge, odd)

    gap = np.full((WHOLE[1], GAP // 2, 3), PAPER, np.uint8)
    pictures = np.hstack([_centred(small, *WHOLE), gap, _centred(detail, DETAIL, WHOLE[1])])
    lines = [_text(panel.title, pictures.shape[1], INK), _text(panel.note, pictures.shape[1], ALARM)]
    return np.vstack([*lines, pictures])


def _detail(points: np.ndarray, odd: np.ndarray, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side of a square about a point, an odd one if there is, where the density is typical of those.

    Where nobody is, it is the middle of the image.
    """
    largest = min(width, height)
    if len(points) > 1:
        distances = cKDTree(points).query(points, min(NEIGHBOURS, len(points)))[0][:, -1]
        choice = np.flatnonzero(odd) if odd.any() else np.arange(len(points))
        chosen = choice[np.argsort(distances[choice], kind="stable")[len(choice) // 2]]
        centre, side = points[chosen], 2.2 * float(distances[chosen])
    else:
        centre, side = (points[0] if len(points) else np.array([width, height]) / 2), largest / 3
    square = int(np.clip(side, min(48, largest), largest))
    left, top = np.clip(np.floor(centre - square / 2), 0, (width - square, height - square)).astype(int).tolist()
    return left, top, square


def _radius(points: np.ndarray) -> float:
    """Of the dots, in pixels of the image: a quarter of the typical distance of neighbours."""
    if len(points) < 2:
        return 1e9
    return 0.25 * float(np.median(cKDTree(points).query(points, 2)[0][:, 1]))


def _resize(image: np.ndarray, factor: float) -> np.ndarray:
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=way))


def _dots(image: np.ndarray, points: np.ndarray, odd: np.ndarray, radius: float) -> None:
    """Filled dots, small enough to show the image between them; odd ones above the others, large enough to be seen."""
    radius = float(np.clip(radius, 0.8, 2.6))
    layers = [(~odd, radius + 0.9, RIM)] if radius > 1.2 else []
    layers += [(~odd, radius, POINT), (odd, max(radius, 2.4) + 1.2, RIM), (odd, max(radius, 2.4), ODD)]
    for chosen, size, colour in layers:
        for point in points[chosen]:
            _circle(image, point, size, colour, -1)


def _rings(image: np.ndarray, points: np.ndarray, odd: np.ndarray) -> None:
    """Rings with a dot, so that the head below each is seen."""
    for point, is_odd in zip(points, odd, strict=True):
        if (point > -10).all() and (point < DETAIL + 10).all():
            _circle(image, point, 5.5, RIM, 4 if is_odd else 3)
            _circle(image, point, 5.5, ODD if is_odd else POINT, 2 if is_odd else 1)
            _circle(image, point, 1.0, ODD if is_odd else POINT, -1)


def _circle(image: np.ndarray, point: np.ndarray, radius: float, colour: Colour, thickness: int) -> None:
    shift = 4  # binary digits of the position behind the point; OpenCV's 0 is the middle of the first pixel
    centre = np.round((point - 0.5) * 2**shift).astype(int).tolist()
    cv2.circle(image, centre, round(radius * 2**shift), colour, thickness, cv2.LINE_AA, shift)


def _centred(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    canvas = np.full((height, width, 3), (225, 227, 232), np.uint8)
    y, x = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return canvas


def _text(text: str, width: int, colour: Colour) -> np.ndarray:
    """A line of text, ``(LINE, width, 3)``; the middle of a long one is left out."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), TEXT)
    kept = len(text)
    while kept and font.getlength(shown := _shortened(text, kept)) > width:
        kept -= 1
    strip = Image.new("RGB", (width, LINE), PAPER)
    if kept:
        ImageDraw.Draw(strip).text((0, LINE // 2), shown, colour, font, anchor="lm")
    return np.asarray(strip)


def _shortened(text: str, kept: int) -> str:
    return text if kept >= len(text) else f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
