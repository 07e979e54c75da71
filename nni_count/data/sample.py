"""A sample: an image and what is known of it, points or a map. Every reader gives these."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nni_count.errors import DataError, SettingError

#: bounds of what is decoded, so that a small file cannot fill the memory
MAX_PIXELS, MAX_BYTES = 1 << 27, 1 << 30
#: ImageNet's mean, which a network sees as 0
MEAN_COLOUR = (124, 116, 104)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Sample:
    """An image, or a crop of one, with its points or its map.

    The image is read on demand, so a list of samples is light. Points are in pixels: pixel ``i`` covers
    ``[i, i + 1)``, x to the right, y down.

    Args:
        name: unique within its part of the data set, usually the file's name.
        points: ``(N, 2)`` float, x y; ``(0, 2)`` where there is nobody.
        read: gives the image, ``(H, W, 3)`` uint8 RGB; outside ``roi`` it has the mean colour.
        path: the image file, where there is one.
        roi: the region of interest, a polygon ``(M, 2)``, x y; ``points`` lie inside it. None: the whole image.
        group: what the image is reported under, such as its scene.
        labels: ``(N,)`` integers, the kind of each point, where there are several.
        read_map: gives what is known of every pixel, ``(C, H, W)`` float, for tasks that regress no points; :meth:`map`
            checks it.
        zoom: pixels of this crop for one of the image, for what is measured in pixels.
    """

    name: str
    points: np.ndarray
    read: Callable[[], np.ndarray]
    path: Path | None = None
    roi: np.ndarray | None = None
    group: str | None = None
    labels: np.ndarray | None = None
    read_map: Callable[[], np.ndarray] | None = None
    zoom: float = 1.0

    @property
    def source(self) -> str:
        """What errors call it: its file, else its name."""
        return str(self.path or self.name)

    def map(self, shape: tuple[int, int]) -> np.ndarray:
        """What is known of every pixel, ``(C, H, W)`` float32; in a crop, what lies beyond the image is 0.

        Args:
            shape: H and W of the image.

        Raises:
            DataError: there is no map, it has not the image's size, or holds NaN or infinity.
        """
        if self.read_map is None:
            raise DataError(f"{self.source}: has no map; give its sample a read_map")
        values = np.asarray(self.read_map(), np.float32)
        if values.ndim != 3 or values.shape[1:] != tuple(shape):
            raise DataError(
                f"{self.source}: its map has the shape {values.shape}; expected channels, then the image's "
                f"{shape[0]} rows and {shape[1]} columns"
            )
        if not np.isfinite(values).all():
            raise DataError(f"{self.source}: NaN or infinity in its map; mend it")
        return values

    @property
    def count(self) -> int:
        return len(self.points)

    def inside(self, density: np.ndarray) -> np.ndarray:
        """A map ``(H, W)`` at the image's size, set to 0 outside the region of interest."""
        return density if self.roi is None else density * region(self.roi, density.shape)


def region(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels whose centres lie in a polygon ``(M, 2)``: ``(H, W)`` bool."""
    height, width = shape[:2]
    crossed = np.zeros((height, width + 1), bool)  # in a row: where an edge is crossed from left to right
    for (x, y), (other_x, other_y) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        first, last = np.clip(np.ceil(np.sort([y, other_y]) - 0.5), 0, height).astype(int)
        rows = np.arange(first, last)
        if len(rows):
            at = x + (rows + 0.5 - y) * (other_x - x) / (other_y - y)
            crossed[rows, np.clip(np.ceil(at - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(crossed, axis=1)[:, :-1]


def image_size(path: str | Path, *, oriented: bool = False) -> tuple[int, int]:
    """Width and height in pixels, from the file's header.

    Raises:
        DataError: the file is missing or no image, or too large to be decoded.
    """
    from PIL import Image  # here, since a model that is loaded to count in arrays needs it not

    try:
        size = os.path.getsize(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the size, which is checked here
            with Image.open(path) as image:
                width, height = image.size
                # without a mark in the header PIL would decode all pixels to find out; a TIFF is turned already
                marked = oriented and "exif" in image.info and image.format != "TIFF"
                turned = marked and image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more than 178") from error
    except Exception as error:  # PIL raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:  # PIL's own have none
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
        raise _unreadable(path) from error
    if size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it an image?")
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width * height / 1e6:.0f}")
    return (height, width) if turned else (width, height)


def _unreadable(path: str | Path) -> DataError:
    return DataError(f"{path}: not a readable image (empty, truncated or of an unknown format); replace or remove it")


def _too_large(path: str | Path, million: str) -> DataError:
    return DataError(f"{path}: would be {million} million pixels, which would fill the memory; replace or remove it")


def read_image(path: str | Path, *, oriented: bool = False) -> np.ndarray:
    """Read any image as ``(H, W, 3)`` uint8 RGB; greyscale is repeated, 16 bits are scaled to 8, alpha is left out.

    Args:
        path: the image file.
        oriented: turn the image as its camera says (EXIF). Not for data sets: their points belong to the stored pixels.

    Raises:
        DataError: when the file is missing, truncated, no image, or too large to be decoded.
    """
    import cv2  # as above

    image_size(path)
    data = np.fromfile(path, np.uint8)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | (0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = None if _truncated_jpeg(data) else cv2.imdecode(data, flags)
    except cv2.error:
        image = None
    if image is None:
        raise _unreadable(path)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise DataError(f"{path}: pixels are {image.dtype}; save the image with 8 or 16 bits a channel")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_prepared(
    read: Callable[[], np.ndarray], size: tuple[int, int] | None, roi: np.ndarray | None = None
) -> np.ndarray:
    """The image scaled to ``size`` (width, height), and painted with the mean colour outside ``roi``."""
    image = read()
    if size is not None:
        import cv2  # as above

        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if roi is not None:
        image[~region(roi, image.shape)] = MEAN_COLOUR
    return image


def _truncated_jpeg(data: np.ndarray) -> bool:
    """OpenCV fills the missing part of a JPEG with grey and says nothing; the end marker tells.

    It is looked for behind the header, which may hold a whole small JPEG; what telephones append may come after it.
    """
    content = data.tobytes()
    if not content.startswith(b"\xff\xd8"):
        return False
    position = 2
    while content[position : position + 1] == b"\xff" and content[position + 1 : position + 2] != b"\xda":
        filling = content[position + 1 : position + 2] == b"\xff"
        position += 1 if filling else 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return content.find(b"\xff\xd9", position) < 0


def is_outside(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which points ``(N, 2)`` lie outside an image, ``(N,)`` bool.

    Within a pixel of the border a point is not outside: where pixels are counted from 1 the last one ends there, as in
    UCF_CC_50.
    """
    return np.asarray(~((points > -1) & (points < (width + 1, height + 1))).all(1))


def settle_points(points: np.ndarray, width: int, height: int, outside: str = "clamp") -> tuple[np.ndarray, int]:
    """Deal with points outside the image: ``clamp`` them to the border, ``drop`` or ``keep`` them.

    A point that is not outside but beyond the border, see :func:`is_outside`, is moved to it by ``clamp`` and ``drop``.

    Args:
        points: ``(N, 2)``, x y in pixels.

    Returns:
        The points as float64 and how many lay outside.
    """
    if outside not in ("clamp", "drop", "keep"):
        raise SettingError(f"data.outside: {outside!r} is unknown; choose clamp, drop or keep")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    beyond = is_outside(points, width, height)
    if outside == "drop":
        points = points[~beyond]
    if outside != "keep":
        points = np.clip(points, 0, np.nextafter((width, height), 0))
    return points, int(beyond.sum())
