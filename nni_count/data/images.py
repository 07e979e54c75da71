"""Image files: their size, their pixels, and smaller ones."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from nni_count.errors import DataError

#: bounds of what is decoded, so that a small file cannot fill the memory
MAX_PIXELS, MAX_BYTES = 1 << 27, 1 << 30
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_EXIF_ORIENTATION = 0x0112


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


def smaller(width: int, height: int, max_side: int | None) -> tuple[int, int] | None:
    """Width and height of an image scaled down to ``max_side`` pixels; None where it is no larger."""
    if max_side is None or max(width, height) <= max_side:
        return None
    factor = max_side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def scaled_down(image: np.ndarray, max_side: int | None) -> np.ndarray:
    """An image ``(H, W, 3)`` with at most so many pixels a side."""
    size = smaller(image.shape[1], image.shape[0], max_side)
    return image if size is None else resized(image, size)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2  # as above

    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


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
