"""How a camera was held, as EXIF tells it: by a number from 1, as the image is stored, to 8."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

#: from 5 on x and y change places; then these numbers mirror them
_X, _Y = (2, 3, 6, 7), (3, 4, 7, 8)


def orientation_of(image: Any, path: str | Path) -> int:
    """The number of an image that PIL has opened and not decoded; of a TIFF 1, since all readers turn it themselves."""
    from PIL import Image  # here, since a model that is loaded to count in arrays needs it not

    exif = Image.Exif()  # the image's own getexif heeds XMP too, as viewers do not
    with suppress(Exception):  # PIL raises whatever damaged bytes lead to; they tell nothing
        exif.load(_of_png(path) if image.format == "PNG" else image.info.get("exif", b""))
    return orientation_in(exif)


def orientation_in(tags: Mapping[int, Any]) -> int:
    """The number among the tags of EXIF or of a TIFF; 1 where it is none of them."""
    return next((number for number in range(2, 9) if number == tags.get(0x0112)), 1)


def _of_png(path: str | Path) -> bytes:
    """What may stand behind the pixels, where PIL would find it only by decoding them all."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"eXIf":
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
        return file.read(min(int.from_bytes(head[:4], "big"), 1 << 20))


def turned(points: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """Points ``(N, 2)`` of a stored image of that size where its viewers show them."""
    x, y = points[:, 0], points[:, 1]
    if orientation > 4:
        x, y, width, height = y, x, height, width
    return np.stack((width - x if orientation in _X else x, height - y if orientation in _Y else y), 1)


def turned_image(image: np.ndarray, orientation: int) -> np.ndarray:
    """A stored image ``(H, W, C)`` as its viewers show it."""
    image = image.swapaxes(0, 1) if orientation > 4 else image
    return image[:: -1 if orientation in _Y else 1, :: -1 if orientation in _X else 1]


def window_of(
    window: tuple[slice, slice], orientation: int, width: int, height: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns, each as first and last + 1, that a stored image of that size has of a window of what its
    viewers show.
    """
    rows, columns = ((part.start, part.stop) for part in window)
    shown = (height, width) if orientation > 4 else (width, height)
    if orientation in _X:
        columns = shown[0] - columns[1], shown[0] - columns[0]
    if orientation in _Y:
        rows = shown[1] - rows[1], shown[1] - rows[0]
    return (columns, rows) if orientation > 4 else (rows, columns)
