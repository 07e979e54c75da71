"""What an image file says before it is decoded: size, pages, orientation; and what is said of one that is none."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nni_count.data.exif import orientation_of
from nni_count.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

#: bounds of what is decoded, so that a small file cannot fill the memory
MAX_PIXELS, MAX_BYTES = 1 << 27, 1 << 30
_KIND_OF_PAGE, _BITS, _PHOTOMETRIC = 0x00FE, 0x0102, 0x0106


def image_size(path: str | Path, *, oriented: bool = False, page: int | None = None) -> tuple[int, int]:
    """Width and height in pixels, from the file's header; ``oriented`` as viewers show it, see :func:`read_image`.

    Raises:
        DataError: the file is missing or no image, or too large to be decoded, or has several pages.
    """
    (width, height), turn, *_ = read_header(path, page)
    return (height, width) if oriented and turn > 4 else (width, height)


def orientation(path: str | Path, page: int | None = None) -> int:
    """How the camera held the image, by EXIF's number from 1 (as it is stored) to 8; errors as :func:`image_size`."""
    return read_header(path, page).turn


class Header(NamedTuple):
    """The size, the orientation, whether 0 is white, and whether OpenCV would darken colours by transparency."""

    size: tuple[int, int]
    turn: int
    inverted: bool
    darkened: bool


def read_header(path: str | Path, page: int | None) -> Header:
    from PIL import Image  # here, since a model that is loaded to count in arrays needs it not

    try:
        length = os.path.getsize(path)
        if not os.path.isfile(path):
            raise OSError(0, "no regular file")  # a pipe would be waited for
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the size, which is checked here
            with Image.open(path) as image:
                check_page(path, image, page)
                width, height = image.size
                turn = orientation_of(image, path)
                tags = getattr(image, "tag_v2", {})
                inverted = tags.get(_PHOTOMETRIC) == 0
                darkened = image.format == "TIFF" and image.mode == "RGBA" and max(tags.get(_BITS, (8,))) == 8
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more than 178") from error
    except Exception as error:  # PIL raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:  # PIL's own have none
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
        raise unreadable(path) from error
    if length > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it an image?")
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width * height / 1e6:.0f}")
    return Header((width, height), turn, inverted, darkened)


def check_page(path: str | Path, image: Image.Image, page: int | None) -> None:
    """Turn to the page that is asked for; a :class:`DataError` where there is none, or one must be asked for."""
    number = _frames(image)
    if page is None and _pages(image) > 1:
        remedy = f"say which is meant with --data.page (predict: --page) 1 to {number}"
        raise DataError(f"{path}: has {_pages(image)} pages; {remedy}")
    if page is not None and page > number:
        raise DataError(f"{path}: has {number} page(s), and no page {page}; choose another")
    image.seek((page or 1) - 1)


def _frames(image: Image.Image) -> int:
    """Pages or frames of a file; the second picture that telephones append to a JPEG is none."""
    return 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)


def _pages(image: Image.Image) -> int:
    """How many pages are pictures of their own; a TIFF may hold smaller copies of the first."""
    number = _frames(image)
    if image.format != "TIFF" or number == 1:
        return number
    own = 1
    for page in range(1, number):
        image.seek(page)
        own += not image.tag_v2.get(_KIND_OF_PAGE, 0) & 1  # type: ignore[attr-defined]
    return own


def unreadable(path: str | Path, depth: object = None) -> DataError:
    """What is said of a file that is no image, or whose pixels are of a ``depth`` that none is read of."""
    if depth:
        return DataError(f"{path}: pixels are {depth}; save the image with 8 or 16 bits a channel")
    return DataError(f"{path}: not a readable image (empty, truncated or of an unknown format); replace or remove it")


def _too_large(path: str | Path, million: str) -> DataError:
    return DataError(f"{path}: would be {million} million pixels, which would fill the memory; replace or remove it")
