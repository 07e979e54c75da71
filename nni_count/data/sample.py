"""A sample: an image and the points in it. Every reader gives these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nni_count.errors import DataError, SettingError


@dataclass(frozen=True)
class Sample:
    """An image with its points.

    The image is read on demand, so a list of samples is light. Points are in pixels: pixel ``i`` covers
    ``[i, i + 1)``, x to the right, y down.

    Args:
        name: unique within its data set, usually the file's name.
        points: ``(N, 2)`` float, x y; ``(0, 2)`` where there is nobody.
        read: gives the image, ``(H, W, 3)`` uint8 RGB.
        path: the image file, where there is one.
    """

    name: str
    points: np.ndarray
    read: Callable[[], np.ndarray]
    path: Path | None = None

    @property
    def count(self) -> int:
        return len(self.points)


def read_image(path: str | Path, *, oriented: bool = False) -> np.ndarray:
    """Read any image as ``(H, W, 3)`` uint8 RGB; greyscale is repeated, 16 bits are scaled to 8, alpha is left out.

    Args:
        path: the image file.
        oriented: turn the image as its camera says (EXIF). Not for data sets: their points belong to the stored pixels.

    Raises:
        DataError: when the file is missing, truncated or no image.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | (0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION)
    image = None
    if data.size and not _truncated_jpeg(data):
        try:
            image = cv2.imdecode(data, flags)
        except cv2.error:
            image = None
    if image is None:
        raise DataError(
            f"{path}: not a readable image (empty, truncated or of an unknown format); replace or remove it"
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise DataError(f"{path}: pixels are {image.dtype}; save the image with 8 or 16 bits a channel")
    return np.ascontiguousarray(image[:, :, ::-1])


def _truncated_jpeg(data: np.ndarray) -> bool:
    """OpenCV fills the missing part of a JPEG with grey and says nothing; the end marker tells."""
    is_jpeg = data[:2].tobytes() == b"\xff\xd8"
    return is_jpeg and b"\xff\xd9" not in data[-4096:].tobytes()


def settle_points(points: np.ndarray, width: int, height: int, outside: str = "clamp") -> tuple[np.ndarray, int]:
    """Deal with points outside the image: ``clamp`` them to the border, ``drop`` or ``keep`` them.

    Args:
        points: ``(N, 2)``, x y in pixels.

    Returns:
        The points as float64 and how many lay outside.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    inside = ((points >= 0) & (points < (width, height))).all(1)
    number = int((~inside).sum())
    if outside == "clamp":
        limit = np.nextafter((width, height), 0)
        points = np.clip(points, 0, limit)
    elif outside == "drop":
        points = points[inside]
    elif outside != "keep":
        raise SettingError(f"data.outside: {outside!r} is unknown; choose clamp, drop or keep")
    return points, number
