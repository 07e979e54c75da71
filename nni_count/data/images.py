"""The pixels of image files, and smaller ones. The one reader of images."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Annotated, Protocol, overload, runtime_checkable

import numpy as np

from nni_count.data.exif import turned_image
from nni_count.data.headers import read_header, unreadable
from nni_count.data.tiles import Window
from nni_count.errors import DataError
from nni_count.runs.memory import memory_left
from nni_count.runs.ranges import Range

DECODING = 40  # bytes a pixel while it is decoded, normalised and drawn upon
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@runtime_checkable
class Windows(Protocol):
    """An image that is read window by window, such as :class:`nni_count.data.rasters.Raster`."""

    shape: tuple[int, ...]

    def __getitem__(self, window: Window, /) -> np.ndarray: ...

    def reduced(self, max_side: int) -> np.ndarray:
        """All of it, with at most so many pixels a side."""


def read_image(
    path: str | Path,
    *,
    oriented: bool = False,
    white: Annotated[int, Range(1, 65535)] | None = None,
    page: Annotated[int, Range(1)] | None = None,
) -> np.ndarray:
    """Read any image as ``(H, W, 3)`` uint8 RGB; greyscale is repeated, 16 bits are scaled to 8, alpha is left out.

    Args:
        path: the image file.
        oriented: turn the image as its camera says (EXIF) and viewers show it.
        white: the value that is white in an image of 16 bits, such as 4095 for a camera of 12; 65535 where it is None.
        page: of a file of several, from 1.

    Raises:
        DataError: when the file is missing, truncated, no image, too large to be decoded or for the memory, has several
            pages, or 16 bits of which it uses so few that another value must be white.
    """
    import cv2  # as above
    from PIL import Image

    (width, height), turn, inverted, darkened = read_header(path, page)
    if width * height * DECODING > memory_left():
        raise DataError(f"{path}: {width}×{height} pixels do not fit into the memory; scale the file down")
    cv2.utils.logging.setLogLevel(0)  # what is wrong is said by us
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    image: np.ndarray | None
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # which is done below
    try:
        later = page is not None and page > 1
        if darkened or (later and data[:2].tobytes() not in (b"II", b"MM")):  # no TIFF: frames of 8 bits
            with Image.open(path) as file:
                file.seek((page or 1) - 1)
                image = np.asarray(file.convert("RGB"))[:, :, ::-1]
        elif page and later:
            _, pages = cv2.imdecodemulti(data, flags, range=(page - 1, page))
            image = pages[0] if pages else None
        else:
            image = None if _end_of_jpeg(data.tobytes()) == -1 else cv2.imdecode(data, flags)
    except (cv2.error, OSError, SyntaxError):
        image = None
    if image is None:
        with Image.open(path) as file:
            raise unreadable(path, {"F": "float32", "I": "int32"}.get(file.mode))  # of which OpenCV reads some
    if image.dtype == np.uint16:
        if white is None:
            check_depth(image, path)
        image = eight_bits(image, white)
        image = 255 - image if inverted else image  # of 8 bits OpenCV does it
    elif image.dtype != np.uint8:
        raise unreadable(path, image.dtype)
    return np.ascontiguousarray(turned_image(image, turn if oriented else 1)[:, :, ::-1])


def check_depth(image: np.ndarray, path: str | Path) -> None:
    """Refuse an image of 16 bits that uses so few of them that another value than 65535 must be white."""
    largest = int(image.max())
    if 0 < largest < 1 << 14 and (image % 257).any():  # else a dark one that was made of 8 bits
        bits = largest.bit_length()
        raise DataError(
            f"{path}: has 16 bits, of which it uses {bits}: the largest value is {largest} of 65535; "
            f"say which value is white with --data.white (predict: --white), such as {(1 << max(bits, 8)) - 1}"
        )


def eight_bits(image: np.ndarray, white: int | None) -> np.ndarray:
    """An image of 16 bits as uint8, where ``white`` is 255."""
    if white is None:
        return (image >> 8).astype(np.uint8)
    return np.asarray(np.minimum(image.astype(np.float32) * (255 / white) + 0.5, 255).astype(np.uint8))


def check_whole(path: str | Path) -> str:
    """Decode an image file strictly: what decoders fill with grey in silence is a fault too.

    Returns:
        What a person should know of it; nothing where there is nothing.

    Raises:
        DataError: it is missing, no image, too large to be decoded, or damaged.
    """
    from PIL import Image  # as above

    read_header(path, 1)
    content = Path(path).read_bytes()
    end = _end_of_jpeg(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(content))
            image.load()
            # with other bytes before its end a JPEG that has all its data gives the same pixels
            other = image if end is None else Image.open(BytesIO(content[:end] + b"\x55" * 512 + content[end:]))
            whole = other is image or np.array_equal(np.asarray(image), np.asarray(other))
            clear = 0.0
            if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
                clear = float((np.asarray(image.convert("RGBA"))[:, :, 3] < 255).mean())
    except Exception as error:  # as above
        raise unreadable(path) from error
    if end == -1 or not whole:
        raise DataError(f"{path}: a part of this JPEG is missing, which viewers fill with grey; restore or remove it")
    return f"{clear:.1%} of its pixels are transparent; the colours beneath are seen" if clear else ""


def smaller(width: int, height: int, max_side: int | None) -> tuple[int, int] | None:
    """Width and height of an image scaled down to ``max_side`` pixels; None where it is no larger."""
    if max_side is None or max(width, height) <= max_side:
        return None
    factor = max_side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


@overload
def scaled_down(image: np.ndarray, max_side: int | None) -> np.ndarray: ...
@overload
def scaled_down(image: Windows, max_side: int | None) -> np.ndarray | Windows: ...
def scaled_down(image: np.ndarray | Windows, max_side: int | None) -> np.ndarray | Windows:
    """An image ``(H, W, 3)`` with at most so many pixels a side."""
    size = smaller(image.shape[1], image.shape[0], max_side)
    if size is None or max_side is None:
        return image
    return resized(image, size) if isinstance(image, np.ndarray) else image.reduced(max_side)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2  # as above

    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _end_of_jpeg(content: bytes) -> int | None:
    """Where the end marker of a JPEG's picture stands, -1 where it has none; None where it is no JPEG.

    OpenCV fills the missing part of one with grey and says nothing. The marker is looked for behind the header, which
    may hold a whole small JPEG; what telephones append may come after it.
    """
    if not content.startswith(b"\xff\xd8"):
        return None
    position = 2
    while content[position : position + 1] == b"\xff" and content[position + 1 : position + 2] != b"\xda":
        filling = content[position + 1 : position + 2] == b"\xff"
        position += 1 if filling else 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return content.find(b"\xff\xd9", position)
