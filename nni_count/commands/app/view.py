"""The part of an image that the page shows, and which of the image's pixels a click in it hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SHOWN = np.array([1200, 800])  # pixels that the page is given at most, width and height
OVERVIEW = 200  # pixels of the longer side of the whole image beside it
LARGEST = 8.0  # enlargement of small images
MARK, REACH = 6, 10  # pixels of a view: the radius of a mark, and how near a click hits it
GREEN, RED, WHITE, BLACK = (90, 255, 90), (255, 60, 60), (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class View:
    """A rectangle of an image as it is shown.

    Args:
        first: its first column and row, ``(2,)``.
        seen: its width and height in pixels of the image, ``(2,)``.
    """

    first: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, shape: Sequence[int], times: float = 1.0, centre: np.ndarray | None = None) -> View:
        """What is seen of an image of that shape, rows and columns, enlarged so many times, around x y in it."""
        sides = np.array([shape[1], shape[0]])
        seen = np.maximum(1, np.round(sides / times)).astype(int)
        middle = sides / 2 if centre is None else centre
        return cls(np.clip(np.round(middle - seen / 2), 0, sides - seen).astype(int), seen)

    @property
    def size(self) -> np.ndarray:
        """Width and height that it is shown with."""
        zoom = min(LARGEST, *(SHOWN / self.seen))
        return np.asarray(np.maximum(1, np.round(self.seen * zoom)).astype(int))

    def pixels(self, click: Sequence[float]) -> tuple[float, float]:
        """Where in the image a click lies, x y, on the pixel x y of what is shown."""
        x, y = self.first + np.add(click, 0.5) * self.seen / self.size
        return float(x), float(y)

    def shown(self, points: np.ndarray) -> np.ndarray:
        """Where points ``(N, 2)`` of the image lie in what is shown."""
        return np.asarray((np.reshape(points, (-1, 2)) - self.first) * self.size / self.seen)

    def hit(self, points: np.ndarray, click: Sequence[float]) -> int | None:
        """Which of the points ``(N, 2)`` a click hits that lies on its mark, on the pixel x y of what is shown."""
        far = np.hypot(*(self.shown(points) - np.add(click, 0.5)).T)
        return int(far.argmin()) if len(far) and far.min() <= REACH else None

    def draw(self, image: np.ndarray, points: np.ndarray, lines: Sequence[np.ndarray] = ()) -> np.ndarray:
        """What is shown of an image ``(H, W, 3)``, with points ``(N, 2)`` marked and ``lines`` through corners."""
        (left, top), (right, bottom) = self.first, self.first + self.seen
        picture = _scaled(image[top:bottom, left:right], self.size)
        # OpenCV takes sixteenths of a pixel, from the middle of the first one
        drawn = [np.round(self.shown(line) * 16 - 8).astype(np.int32) for line in lines]
        for colour, width in ((BLACK, 6), (WHITE, 3)):
            cv2.polylines(picture, drawn, True, colour, width, cv2.LINE_AA, 4)
            for corner in np.concatenate(drawn).tolist() if drawn else ():
                cv2.circle(picture, corner, 16 * width, colour, -1, cv2.LINE_AA, 4)
        for colour, width in ((BLACK, 5), (GREEN, 2)):
            for mark in np.round(self.shown(points) * 16 - 8).astype(int).tolist():
                cv2.circle(picture, mark, MARK * 16, colour, width, cv2.LINE_AA, 4)
        return picture

    def overview(self, image: np.ndarray) -> np.ndarray:
        """The whole image, small, with a frame around what is shown of it."""
        sides = np.array([image.shape[1], image.shape[0]])
        zoom = OVERVIEW / sides.max()
        picture = _scaled(image, np.maximum(1, np.round(sides * zoom)).astype(int))
        frame = np.round(np.concatenate([self.first, self.seen]) * zoom).astype(int).tolist()
        cv2.rectangle(picture, frame, RED, 2)
        return picture


def _scaled(image: np.ndarray, size: np.ndarray) -> np.ndarray:
    way = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(image, size.tolist(), interpolation=way))


@dataclass
class Looking:
    """An image that is looked at, none to begin with, and around which of its points."""

    image: np.ndarray | None = None
    centre: np.ndarray | None = None

    def view(self, times: float) -> View:
        """What is seen of it."""
        assert self.image is not None
        return View.of(self.image.shape, times, self.centre)

    def move(self, click: Sequence[float]) -> None:
        """Look where the overview was clicked on."""
        if self.image is not None:
            self.centre = np.add(click, 0.5) * max(self.image.shape) / OVERVIEW
