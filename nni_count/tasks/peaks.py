"""The maxima of a density map as points, each with its share of the map's mass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from nni_count.data.images import smaller
from nni_count.data.tiles import Tile, tiles
from nni_count.tasks.task import Task

#: cells a side of what is looked at at once, and of what is seen around it
BLOCK, AROUND = 1024, 64


def find_points(
    task: Task, estimate: np.ndarray, stride: int, shape: Sequence[int], max_side: int | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The :func:`peaks` of what a map counts, by label, in the pixels of its image.

    Args:
        task: that counts.
        estimate: the map, ``(K, h, w)``.
        stride: pixels a side of a cell, of the image as the network saw it.
        shape: of the image itself, rows and columns.
        max_side: to which it was scaled down.

    Returns:
        By label the points ``(N, 2)``, x y, where pixel ``i`` covers ``[i, i + 1)``; and their masses ``(N,)``.
    """
    size = np.array((shape[1], shape[0]))
    seen = np.array(smaller(shape[1], shape[0], max_side) or size)
    found = {label: peaks(density) for label, density in task.densities(estimate).items()}
    # the last cells may reach beyond the image
    return {n: (np.clip(cells * stride, 0.5, seen - 0.5) * size / seen, mass) for n, (cells, mass) in found.items()}


def peaks(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most prominent maxima of a density map, and how many of those that it counts are at each.

    There are as many as the count, rounded, or fewer where the map has no more maxima: where people stand close, one
    stands for several. A map that counts somebody has one at least. Prominence is how far the map must be descended to
    come from a maximum to a higher one (persistence), so that ripples of the background come last. Every cell belongs
    to a maximum: to the one that is reached uphill, and where that is none of the chosen ones, across the highest pass.
    What is negative is nobody's; to make up for it all shares are smaller in proportion, so that they sum to the count.
    Large maps are looked at in :data:`BLOCK` s, which see :data:`AROUND` cells of their neighbours.

    Args:
        density: people per cell, ``(h, w)``.

    Returns:
        The points, ``(N, 2)`` x y in cells, between cells by a parabola through a maximum and its neighbours, the
        highest first; and their shares of the count, ``(N,)`` float64.
    """
    count = float(np.sum(density, dtype=np.float64))
    if not count > 0:
        return np.zeros((0, 2)), np.zeros(0)
    height, width = density.shape
    pieces = list(tiles(height, width, (BLOCK, BLOCK), AROUND, 1))
    blocks = [_Block(density, tile, keep=len(pieces) == 1) for tile in pieces]
    found = np.concatenate([block.maxima() for block in blocks])  # row, column, height and prominence
    number = min(max(1, round(count)), int((found[:, 2] > 0).sum()))
    found = found[np.argsort(-found[:, 3], kind="stable")[:number]]
    found = found[np.argsort(-found[:, 2], kind="stable")]
    tops = found[:, 0].astype(np.int64) * width + found[:, 1].astype(np.int64)
    mass = np.sum([block.shares(tops) for block in blocks], 0)
    return _between_cells(density, tops), mass * (count / mass.sum())


class _Block:
    """A part of a density map, whose own cells are those inside its margin.

    Args:
        density: the whole map.
        tile: the part.
        keep: whether what is seen is kept in memory, or looked at again.
    """

    def __init__(self, density: np.ndarray, tile: Tile, keep: bool):
        self.density, self.tile = density, tile
        self._seen = cache(self._look) if keep else self._look
        self.corner = [part.start for part in tile.pixels]

    def maxima(self) -> np.ndarray:
        """Its own maxima ``(N, 4)``: row and column in the map, height, and prominence as far as the block reaches."""
        values, _, tops, passes = self._seen()
        heights = values.ravel()[tops]
        prominence = np.minimum(_prominence(heights, passes), heights)  # of its highest
        places = np.stack(np.unravel_index(tops, values.shape), 1)
        own = np.ones(len(tops), bool)
        for part, at in zip(self.tile.inner, places.T, strict=True):
            own &= (part.start <= at) & (at < part.stop)
        return np.asarray(np.column_stack([places + self.corner, heights, prominence])[own])

    def shares(self, chosen: np.ndarray) -> np.ndarray:
        """How much of what its own cells hold belongs to each of the chosen maxima, places in the flattened map."""
        values, basins, tops, passes = self._seen()
        found = np.zeros(len(chosen))
        rows, columns = np.unravel_index(tops, values.shape)
        place = (rows + self.corner[0]) * self.density.shape[1] + columns + self.corner[1]
        order = np.argsort(chosen)
        at = order[np.minimum(np.searchsorted(chosen, place, sorter=order), len(order) - 1)]
        here = np.flatnonzero(chosen[at] == place)
        if len(here):
            own = np.bincount(basins[self.tile.inner].ravel(), values[self.tile.inner].ravel(), len(tops))
            np.add.at(found, at[here][_joined(len(tops), passes, here)], own)
        return found

    def _look(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[int, int, float]]]:
        """The values that it sees, to which maximum each cell leads, where these are, and the passes between them."""
        values = np.clip(self.density[self.tile.pixels].astype(np.float64), 0, None)
        basins, tops = _basins(values)
        return values, basins, tops, _passes(values, basins)


def _basins(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """To which maximum each cell leads uphill, ``(h, w)`` from 0, and where these are in the flattened map."""
    order = np.argsort(values, axis=None, kind="stable")
    rank = np.empty(values.size, np.int64)
    rank[order] = np.arange(values.size)  # no two are alike, so that plateaus have one top too
    upward = order[maximum_filter(rank.reshape(values.shape), 3, mode="nearest").ravel()]
    while (further := upward[upward]).tobytes() != upward.tobytes():
        upward = further
    tops, basins = np.unique(upward, return_inverse=True)
    return basins.reshape(values.shape), tops


def _passes(values: np.ndarray, basins: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of basins and the height of the pass between them, the highest first, of those that join all of them."""
    firsts, seconds, heights = [], [], []
    for here, there in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        apart = basins[here] != basins[there]
        one, other = basins[here][apart], basins[there][apart]
        firsts.append(np.minimum(one, other))
        seconds.append(np.maximum(one, other))
        heights.append(np.minimum(values[here], values[there])[apart])
    first, second, height = (np.concatenate(parts) for parts in (firsts, seconds, heights))
    order = np.lexsort((-height, second, first))
    first, second, height = first[order], second[order], height[order]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    depth = 1 + values.max() - height  # above 0, since a sparse array has no edge of length 0
    ends = first[new].astype(np.int32), second[new].astype(np.int32)  # older SciPy takes no others
    graph = coo_array((depth[new], ends), shape=(basins.max() + 1,) * 2)
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    order = np.argsort(tree.data, kind="stable")
    heights_of = 1 + values.max() - tree.data[order]
    return list(zip(tree.row[order].tolist(), tree.col[order].tolist(), heights_of.tolist(), strict=True))


def _prominence(heights: np.ndarray, passes: list[tuple[int, int, float]]) -> np.ndarray:
    """How far one descends from each maximum to a higher one; infinite for the highest."""
    found, tops = np.full(len(heights), np.inf), _Groups(len(heights))
    for one, other, height in passes:
        lower, higher = sorted((tops.of(one), tops.of(other)), key=lambda top: heights[top])
        found[lower] = heights[lower] - height
        tops.join(lower, higher)
    found[heights <= 0] = -np.inf
    return found


def _joined(number: int, passes: list[tuple[int, int, float]], chosen: np.ndarray) -> np.ndarray:
    """To which of the chosen maxima each belongs, ``(number,)``: across the highest passes."""
    place, groups = np.full(number, -1), _Groups(number)
    place[chosen] = np.arange(len(chosen))
    for one, other, _ in passes:
        first, second = groups.of(one), groups.of(other)
        if place[first] < 0:
            groups.join(first, second)
        elif place[second] < 0:
            groups.join(second, first)
    return np.array([place[groups.of(one)] for one in range(number)])


class _Groups:
    """Disjoint sets of numbers, each known by one of them."""

    def __init__(self, number: int):
        self._next = list(range(number))

    def of(self, one: int) -> int:
        while self._next[one] != one:
            self._next[one] = self._next[self._next[one]]
            one = self._next[one]
        return one

    def join(self, group: int, to: int) -> None:
        self._next[group] = to


def _between_cells(values: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """Where maxima are, ``(N, 2)`` x y in cells; in the middle of a cell that lies at the border."""
    rows, columns = np.unravel_index(tops, values.shape)
    middle = _at(values, rows, columns)
    places = []
    for at, down, right in ((columns, 0, 1), (rows, 1, 0)):
        before, after = _at(values, rows - down, columns - right), _at(values, rows + down, columns + right)
        curve = before - 2 * middle + after
        with np.errstate(invalid="ignore", divide="ignore"):
            places.append(at + 0.5 + np.nan_to_num((before - after) / (2 * curve), posinf=0, neginf=0))
    return np.stack(places, 1)


def _at(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What is at places of a map, not less than 0; NaN beyond its border."""
    inside = (rows >= 0) & (rows < values.shape[0]) & (columns >= 0) & (columns < values.shape[1])
    found = np.full(len(rows), np.nan)
    found[inside] = np.clip(values[rows[inside], columns[inside]], 0, None)
    return found
