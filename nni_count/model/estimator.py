"""What every model answers, whatever computes its maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.images import Windows, scaled_down
from nni_count.data.origin import Origin
from nni_count.data.pixels import rgb
from nni_count.data.rasters import open_image
from nni_count.errors import DataError, ModelError
from nni_count.model.tiled import SIDE, estimate_in_tiles
from nni_count.tasks.counts import check_counts
from nni_count.tasks.task import Task


class Estimator(ABC):
    """Estimates images of any size.

    What the task reads from a map is a method here: ``count(image)`` and ``density(image)`` where it counts, others
    where the task has others (:attr:`nni_count.Task.readings`).

    Args:
        name: of the network, e.g. ``amsnet``.
        settings: what builds the network again, plain JSON.
        parameters: the number of its trained weights.
        map_stride: pixels a side of a cell of its maps.
        task: how its map is read.
        facts: figures that are kept with it, plain JSON.
        origin: the images that it was trained on, and how they were read; None where that is not known.
    """

    def __init__(
        self,
        name: str,
        settings: dict[str, Any],
        parameters: int,
        map_stride: int,
        task: Task,
        facts: dict[str, Any] | None,
        origin: Origin | None,
    ):
        self.name, self.settings, self.parameters, self.map_stride = name, settings, parameters, map_stride
        self.task = task
        self.facts = facts or {}
        self.origin = origin
        self.bfloat16 = False  # whether torch estimates in bfloat16, which some processors do faster
        self.tile: int | None = None  # pixels a side of the tiles that larger images are estimated in
        self.file: Path | None = None  # that it was saved to or loaded from last

    @property
    @abstractmethod
    def multiple(self) -> int:
        """What sides of images are padded to a multiple of."""

    @property
    @abstractmethod
    def reach(self) -> int | None:
        """How far from a pixel, in pixels, a map may depend on it; None where that is as far as the image goes."""

    def estimate(self, image: np.ndarray | Windows, views: int = 1) -> np.ndarray:
        """The estimated maps of an image ``(H, W, 3)`` uint8 RGB of the size that the network sees, ``(K, h, w)``
        float32; ``views`` as for :meth:`map`. One that is read window by window, is larger than :attr:`tile`, or
        does not fit into the memory is estimated in tiles, see :func:`nni_count.model.tiled.estimate_in_tiles`.

        Raises:
            DataError: the image does not fit into the memory.
            ModelError: a cell of a map is NaN or infinite, as damaged weights make it.
        """
        side, largest = self.tile or SIDE, max(image.shape[:2])
        if isinstance(image, np.ndarray) and (self.tile is None or largest <= side):
            with suppress(DataError) if largest > side else nullcontext():  # for want of memory
                return self.estimate_whole(image, views)
        return estimate_in_tiles(self, image, views, side)

    def estimate_whole(self, image: np.ndarray, views: int = 1) -> np.ndarray:
        """What :meth:`estimate` gives, of an image that is not cut."""
        found = self._estimate(image, views)
        if not np.isfinite(found).all():
            told = f"its map of an image of {image.shape[1]}×{image.shape[0]} pixels is no longer a number"
            raise ModelError(f"{self.file or self.name}: {told}; its weights are damaged: take another model")
        return found

    @abstractmethod
    def _estimate(self, image: np.ndarray, views: int) -> np.ndarray:
        """What :meth:`estimate_whole` gives, whatever it is."""

    def to_dict(self) -> str:
        """What configurations have in its place: its file."""
        return str(self.file or "a model in no file: nni_count.model.save_model writes one; give that here")

    @property
    def max_side(self) -> int | None:
        """To how many pixels images were scaled down in training, and are before they are estimated."""
        side: int | None = self.origin.settings.get("max_side") if self.origin else None
        return side

    @property
    def reading(self) -> dict[str, int | None]:
        """The settings of :func:`nni_count.data.images.read_image` that its images were read with in training."""
        return {name: self.origin.settings.get(name) if self.origin else None for name in ("white", "page")}

    def map(self, image: np.ndarray | Windows | str | Path, views: int = 1) -> np.ndarray:
        """The estimated maps of an image, in the task's unit: ``(K, h, w)`` float32, cells of
        ``map_stride`` pixels a side of the image as it was in training, no larger than :attr:`max_side`.

        Args:
            image: ``(H, W, 3)`` or ``(H, W)`` uint8, RGB, or the path of an image file; of a large TIFF a tile at a
                time is read.
            views: of the image whose maps are averaged, 1, 2 or 8; see :data:`nni_count.data.views.VIEWS`.
        """
        image = self._opened(image)
        return self.estimate(scaled_down(image, self.max_side), views)

    def _opened(self, image: np.ndarray | Windows | str | Path) -> np.ndarray | Windows:
        if isinstance(image, (str, Path)):
            return open_image(image, **self.reading)
        return image if isinstance(image, Windows) else rgb(image)

    def count(self, image: np.ndarray | Windows | str | Path, views: int = 1) -> float:
        """How many there are in an image; arguments as for :meth:`map`.

        Raises:
            AttributeError: the model's task does not count; naming what it reads.
        """
        return float(self.__getattr__("count")(image, views))

    def density(self, image: np.ndarray | Windows | str | Path, views: int = 1) -> np.ndarray:
        """How many there are in each cell of an image, ``(h, w)`` float32; sums to :meth:`count`, which see."""
        density: np.ndarray = self.__getattr__("density")(image, views)
        return density

    def points(
        self, image: np.ndarray | Windows | str | Path, views: int = 1, label: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where they are: the map's most prominent maxima ``(N, 2)``, x y in the image's own pixels as viewers show it,
        and how many of :meth:`count` are at each ``(N,)``, see :func:`nni_count.tasks.peaks.peaks`. Of a task that
        counts several kinds those with a ``label``, or all; a :class:`SettingError` where it counts nothing, or not it.
        """
        from nni_count.tasks.peaks import find_points  # here, since counting needs no SciPy

        check_counts(self.task, "points", label)
        image = self._opened(image)
        found = find_points(self.task, self.map(image, views), self.map_stride, image.shape, self.max_side)
        kinds = [kind for name, kind in found.items() if label in (None, name)]
        return np.concatenate([points for points, _ in kinds]), np.concatenate([mass for _, mass in kinds])

    def __getattr__(self, name: str) -> Any:
        readings = vars(self)["task"].readings if "task" in vars(self) else {}
        if name not in readings:
            known = f"; {type(self.task).__name__} reads {', '.join(readings)}" if readings else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r}{known}")
        return lambda image, views=1: readings[name](self.map(image, views))
