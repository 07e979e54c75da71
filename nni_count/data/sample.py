"""A sample: an image and what is known of it, points or a map. Every reader gives these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nni_count.data.exif import turned
from nni_count.data.headers import image_size, orientation
from nni_count.data.images import read_image, resized, smaller
from nni_count.errors import DataError, SettingError

#: ImageNet's mean, which a network sees as 0
MEAN_COLOUR = (124, 116, 104)

#: what is said of photos of which nothing tells on what their points were set, by what is then assumed
TURNED = {
    "stored": "are marked as turned by their camera (EXIF); points are taken to be set on the stored pixels "
    "(--data.frame stored); give --data.frame shown if they were set on the photo as viewers show it",
    "shown": "are marked as turned by their camera (EXIF); points are taken to be set on the photo as viewers show it "
    "(--data.frame shown), as by most tools that write a size; give --data.frame stored if they were set on the stored "
    "pixels",
}


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
        labels: ``(N,)`` texts, what each point is, where that is known.
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


def within(points: np.ndarray, polygon: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which points ``(N, 2)`` have their pixels in a polygon, ``(N,)`` bool."""
    pixels = np.floor(points).astype(int)
    inside: np.ndarray = ((pixels >= 0) & (pixels < (width, height))).all(1)
    inside[inside] = region(polygon, (height, width))[pixels[inside, 1], pixels[inside, 0]]
    return inside


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


def read_prepared(
    read: Callable[[], np.ndarray], size: tuple[int, int] | None, roi: np.ndarray | None = None
) -> np.ndarray:
    """The image scaled to ``size`` (width, height), and painted with the mean colour outside ``roi``."""
    image = read() if size is None else resized(read(), size)
    if roi is not None:
        image[~region(roi, image.shape)] = MEAN_COLOUR
    return image


def prepare(
    name: str,
    path: Path,
    points: np.ndarray,
    read: Callable[[], np.ndarray] | None = None,
    *,
    size: tuple[int, int] | None = None,
    roi: np.ndarray | None = None,
    group: str | None = None,
    labels: Sequence[str] | None = None,
    outside: str = "clamp",
    max_side: int | None = None,
    frame: str | None = None,
    white: int | None = None,
    page: int | None = None,
) -> tuple[Sample, int, str]:
    """A sample of an image file, how many of its points lay outside, and on what they are taken to be set where its
    camera turned it (EXIF): one of :data:`TURNED`, with ``by size`` where the annotation tells it by its size, and
    nothing where ``frame`` does; see :meth:`nni_count.data.Dataset.sample`.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)  # readers of other packages give lists
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a point of {name} is NaN or infinite; mend the annotation")
    sizes = {"stored": image_size(path, page=page), "shown": image_size(path, oriented=True, page=page)}
    turn = 1 if read else orientation(path, page)
    by_size = "shown" if size == sizes["shown"] else "stored"
    width, height = sizes[frame or by_size] if turn > 1 else sizes["stored"]
    if size is not None and size != (width, height):
        raise DataError(
            f"{path}: has {width}×{height} pixels but was annotated at {size[0]}×{size[1]}; "
            "restore the image that was annotated"
        )
    if turn > 1 and (frame or by_size) == "stored":  # a network sees all photos as viewers show them
        points = turned(points, turn, width, height)
        roi = None if roi is None else turned(roi, turn, width, height)
        width, height = sizes["shown"]
    read = read or partial(read_image, path, oriented=True, white=white, page=page)
    scaled = smaller(width, height, max_side)
    if scaled:
        factors = np.array(scaled) / (width, height)
        points, roi = points * factors, None if roi is None else roi * factors
        width, height = scaled
    stays = ~is_outside(points, width, height) | (outside != "drop")
    kinds = None if labels is None else np.array(labels, str)[stays]
    points, number = settle_points(points, width, height, outside)
    if roi is not None:
        chosen = within(points, roi, width, height)
        points, kinds = points[chosen], None if kinds is None else kinds[chosen]
    if scaled or roi is not None:
        read = partial(read_prepared, read, scaled, roi)
    told = size is not None and sizes["stored"] != sizes["shown"]
    where = by_size + " by size" * told if turn > 1 and frame is None else ""
    return Sample(name, points, read, path, roi, group, kinds), number, where


def unsettled(turned: Mapping[Path | None, str]) -> dict[Path | None, str]:
    """Photos that their camera turned, of which nothing tells on what their points were set, and what is assumed.

    Args:
        turned: of each what :func:`prepare` tells; the size of one may tell what is assumed of the others.
    """
    known = set(turned.values()) - set(TURNED)
    return {path: frame for path, frame in turned.items() if frame in TURNED and f"{frame} by size" not in known}


def words_on(turned: Mapping[Path | None, str], paths: Collection[Path | None]) -> Iterator[str]:
    """What is said of those of these photos that are unsettled."""
    for frame, words in TURNED.items():
        of = [str(path) for path in paths if turned.get(path) == frame]
        if of:
            yield f"{len(of)} photos, such as {min(of)}, {words}"
