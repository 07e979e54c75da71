"""Large TIFF images, which are read window by window and never as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.exif import orientation_in, turned_image, window_of
from nni_count.data.geotiff import GEOTIFF_SUFFIXES, open_tiff
from nni_count.data.headers import MAX_BYTES, MAX_PIXELS, check_page, image_size, unreadable
from nni_count.data.images import DECODING, check_depth, eight_bits, read_image, smaller
from nni_count.data.tiles import Window
from nni_count.errors import DataError
from nni_count.runs.memory import memory_left

CACHE = 256 << 20  # bytes of decoded strips and tiles that are kept: a row of windows reads each of them many times
EXTRA = 338  # tag that tells what bands beside the colours are
SAMPLE = 1024  # pixels a side of the smaller copy by which it is judged how many bits are used


class Raster:
    """A TIFF, BigTIFF or GeoTIFF of any size, as the pixels of :func:`nni_count.data.images.read_image`.

    Args:
        path: of the file.
        white: the value that is white in an image of 16 bits.
        page: of a file of several, from 1.

    Raises:
        DataError: it is damaged, its pixels are of a kind that is not read, or rasterio is not installed.
    """

    def __init__(self, path: str | Path, white: int | None = None, page: int | None = None):
        self.path, self.white = Path(path), white
        self._turn, self._multiplied = 1, False  # by how transparent a pixel is
        with self._reading():
            with suppress(SyntaxError), closing(open_tiff(path)) as header:  # which knows fewer kinds of pixels
                check_page(path, header, page)
                self._turn = orientation_in(header.tag_v2)
                self._multiplied = 1 in np.ravel(header.tag_v2.get(EXTRA, ()))
            name = str(self.path.absolute())  # else the library would take some names for addresses
            name = name if page is None else f"GTIFF_DIR:{page}:{name}"
            self.file = _opened(name)
            self._check(white)

    def _check(self, white: int | None) -> None:
        """Find out how the pixels are stored, and refuse what is not read."""
        file, path = self.file, self.path
        sides = (file.height, file.width)
        self.shape: tuple[int, ...] = (*(sides[::-1] if self._turn > 4 else sides), 3)
        kinds, depth = [kind.name for kind in file.colorinterp], file.dtypes[0]
        if kinds[:3] != ["red", "green", "blue"] and len(kinds) > 2:
            raise DataError(f"{path}: has {len(kinds)} bands ({', '.join(kinds)}); save red, green and blue alone")
        if depth not in ("uint8", "uint16"):
            raise unreadable(path, depth)
        self.note = "has transparent pixels; the colours beneath are seen" if "alpha" in kinds else ""
        self._multiplied = self._multiplied and depth == "uint8" and kinds[3:] == ["alpha"]
        self._bands = [1, 2, 3, *([4] if self._multiplied else [])] if len(kinds) > 2 else [1]
        self._colours = self._palette() if depth == "uint8" else None
        bits = int(file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
        if kinds[0] == "palette" and depth == "uint16":
            raise unreadable(path, "numbers of 16 bits of colours")
        if self._colours is None and bits < 8:
            raise unreadable(path, f"of {bits} bits")
        if depth == "uint16" and white is None:
            check_depth(self._read(out_shape=(len(self._bands), *(min(side, SAMPLE) for side in sides))), path)

    def __getitem__(self, window: Window) -> np.ndarray:
        """A window of it, ``(h, w, 3)`` uint8 RGB; a :class:`DataError` where it is damaged."""
        return self._pixels(window=window_of(window, self._turn, self.file.width, self.file.height))

    def reduced(self, max_side: int) -> np.ndarray:
        """All of it with at most so many pixels a side, the means of its own."""
        from rasterio.enums import Resampling

        width, height = self.file.width, self.file.height
        size = smaller(width, height, max_side) or (width, height)
        way = Resampling.average if self._colours is None else Resampling.nearest  # numbers of colours have no mean
        return self._pixels(out_shape=(len(self._bands), size[1], size[0]), resampling=way)

    def _pixels(self, **what: Any) -> np.ndarray:
        return np.ascontiguousarray(turned_image(self._stored(**what), self._turn))

    def _stored(self, **what: Any) -> np.ndarray:
        found = self._read(**what)
        if self._multiplied:
            found, alpha = found[:3], found[3]
            whole = np.minimum(255 * found.astype(np.int32) // np.maximum(alpha, 1), 255)
            found = np.where(alpha == 0, 0, whole).astype(np.uint8)
        if self._colours is not None:
            return np.asarray(self._colours[found[0]])
        if found.dtype == np.uint16:
            found = eight_bits(found, self.white)
            found = 255 - found if self.file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") else found
        return np.broadcast_to(np.moveaxis(found, 0, -1), (*found.shape[1:], 3))

    def _read(self, **what: Any) -> np.ndarray:
        with self._reading():
            return np.asarray(self.file.read(self._bands, **what))

    def _palette(self) -> np.ndarray | None:
        """The colour of each value ``(256, 3)``, where the file tells; of some greyscale images too."""
        try:
            told = self.file.colormap(1)
        except ValueError:  # it does not
            return None
        colours = np.zeros((256, 3), np.uint8)
        colours[list(told)] = [colour[:3] for colour in told.values()]
        return colours

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            import rasterio
        except ImportError as error:
            what = f"{self.path}: is read window by window, for its size, which needs rasterio"
            raise DataError(f"{what}: pip install 'nni-count[tiff]' brings it") from error
        # no file but this one is opened, whatever lies beside it
        alone = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE >> 20, **alone):
                yield
        except (DataError, MemoryError):
            raise
        except Exception as error:  # whatever damaged bytes lead to
            raise unreadable(self.path) from error


def _opened(name: str) -> Any:
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(name, driver="GTiff", sharing=False)


def is_large(path: str | Path) -> bool:
    """Whether an image is a TIFF that is too large to be read at once."""
    path = Path(path)
    if path.suffix.lower() not in GEOTIFF_SUFFIXES:
        return False
    try:
        with closing(open_tiff(path)) as header:
            pixels = header.width * header.height
    except Exception:  # pixels of a kind that is read window by window alone; or damaged, as the reader of images says
        return path.is_file() and path.stat().st_size > MAX_PIXELS
    return pixels > MAX_PIXELS or Path(path).stat().st_size > MAX_BYTES or pixels * DECODING > memory_left()


def open_image(path: str | Path, white: int | None = None, page: int | None = None) -> np.ndarray | Raster:
    """An image as viewers show it: all its pixels, or those of a large TIFF window by window; errors as of either."""
    if is_large(path):
        return Raster(path, white, page)
    return read_image(path, oriented=True, white=white, page=page)


def size_of(path: str | Path, page: int | None = None) -> tuple[int, int]:
    """Width and height of an image as viewers show it; errors as of :func:`open_image`."""
    if is_large(path):
        height, width, _ = Raster(path, 65535, page).shape
        return width, height
    return image_size(path, oriented=True, page=page)
