"""How an image is cut into tiles, so that each cell of its map is estimated once, with all that it may depend on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

#: rows and columns
Window = tuple[slice, slice]


class Tile(NamedTuple):
    """A tile of an image: the ``pixels`` that are estimated, which ``inner`` cells of their map are the tile's own, and
    where these ``cells`` lie in the map of the image.
    """

    pixels: Window
    inner: Window
    cells: Window


def tiles(height: int, width: int, sides: tuple[int, int], margin: int, stride: int | Fraction) -> Iterator[Tile]:
    """The tiles of an image, row by row; their own cells cover its map without gap or overlap.

    Args:
        height, width: of the image, in pixels.
        sides: height and width of a tile, without its margin; multiples of what the network needs.
        margin: that is estimated around a tile, as far as the image reaches; likewise.
        stride: pixels a side of a cell of the map; a fraction where the map is larger than what is cut.
    """
    for top in range(0, height, sides[0]):
        for left in range(0, width, sides[1]):
            spans = [
                _span(start, side, margin, stride, end)
                for start, side, end in zip((top, left), sides, (height, width), strict=True)
            ]
            yield Tile(*((rows, columns) for rows, columns in zip(*spans, strict=True)))


def _span(start: int, side: int, margin: int, stride: int | Fraction, end: int) -> tuple[slice, slice, slice]:
    """What :class:`Tile` holds, along one side of an image that is ``end`` pixels long."""
    last = min(start + side, end)
    first = max(0, start - margin)
    cells = slice(start // stride, -(-last // stride))
    skipped = first // stride
    return slice(first, min(last + margin, end)), slice(cells.start - skipped, cells.stop - skipped), cells
