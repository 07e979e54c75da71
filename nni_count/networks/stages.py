"""Networks that compute each of their stages in tiles where images are large, which takes less memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction

from torch import Tensor, nn

from nni_count.data.tiles import tiles
from nni_count.networks.reach import reach_of

#: values of the widest map of a tile: with what is computed from it, what the caches of a processor hold
VALUES = 1 << 21
#: values of the widest map of a stage that is computed as a whole: of an image of a megapixel, which takes less time so
WHOLE = 1 << 24
#: rows of a map's whole length that are worth a tile; else tiles are squares
ROWS = 64
#: how far a stage may see, in cells of its maps, and the breadth of the strip on which that is tried
FARTHEST, BREADTH = 128, 8

Compute = Callable[..., Sequence[Tensor]]


class Staged(nn.Module):
    """What computes in stages, each of which sees less far than the whole.

    Attributes:
        in_tiles: whether a processor computes stages in tiles where maps are large, to the same maps but for rounding.
            Not in training: statistics of batch norms would be those of tiles.
    """

    in_tiles = False

    def __init__(self) -> None:
        super().__init__()
        self._margins: dict[Hashable, int | None] = {}

    def staged(
        self, key: Hashable, compute: Compute, maps: Sequence[Tensor], width: int, stride: int | Fraction, multiple: int
    ) -> list[Tensor]:
        """What ``compute`` makes of maps of one size.

        Args:
            key: of the stage, under which is kept how far it sees.
            compute: maps ``(B, C, H, W)`` of one size → maps of another.
            maps: what it takes.
            width: channels of the widest map that it makes at the size of those.
            stride: by how much what it makes is smaller.
            multiple: what H and W are multiples of.
        """
        height, length = maps[0].shape[-2:]
        if not (self.in_tiles and maps[0].is_cpu) or height * length * width <= WHOLE:
            return list(compute(*maps))
        if key not in self._margins:
            channels, like = [values.shape[1] for values in maps], next(self.parameters())
            self._margins[key] = reach_of(compute, channels, stride, multiple, like, FARTHEST, BREADTH)
        margin = self._margins[key]
        if margin is None:
            return list(compute(*maps))
        rows, side = VALUES // (width * length), max(math.isqrt(VALUES // width), 4 * margin)
        wanted = (rows, length) if rows >= max(ROWS, 4 * margin) else (side, side)
        height, length = (-(-pixels // multiple) * multiple for pixels in wanted)
        return tiled(compute, maps, (height, length), margin, stride)


def tiled(
    compute: Compute, maps: Sequence[Tensor], sides: tuple[int, int], margin: int, stride: int | Fraction
) -> list[Tensor]:
    """What ``compute`` makes of maps ``(…, H, W)`` of one size, tile by tile.

    Args:
        sides: height and width of a tile, without its margin, in cells of the maps.
        margin: around a tile, as far as ``compute`` sees.
        stride: by how much what it makes is smaller.
    """
    height, length = maps[0].shape[-2:]
    made: list[Tensor] = []
    for tile in tiles(height, length, sides, margin, stride):
        found = compute(*(values[(..., *tile.pixels)] for values in maps))
        made = made or [_whole(part, -(-height // stride), -(-length // stride)) for part in found]
        for whole, part in zip(made, found, strict=True):
            whole[(..., *tile.cells)] = part[(..., *tile.inner)]
    return made


def _whole(part: Tensor, height: int, width: int) -> Tensor:
    """Where tiles go, laid out as networks compute: channels last."""
    return part.new_empty(part.shape[0], height, width, part.shape[1]).permute(0, 3, 1, 2)
