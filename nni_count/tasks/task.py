"""What is regressed from an image: all that search, retraining, evaluation and prediction know of a task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError
from nni_count.plugins import load, named_by_file
from nni_count.runs.describe import kept_arguments
from nni_count.tasks.output import Output

if TYPE_CHECKING:  # torch is imported where a tensor is made: what an exported model estimates is read without it
    from torch import Tensor

#: figures of an image, or of a whole set
Figures = dict[str, Any]
#: what is minimised between an estimate and a target, ``(B, K, h, w)`` each → a scalar
Distance: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


class Task(Output, ABC):
    """What is regressed: how a sample becomes a target map, what is minimised, which figures tell how good it is, and
    how an estimate is read and drawn.

    A task of one's own gives :attr:`main_metric`, :meth:`target` and :meth:`measure`; everything else has a default. It
    is found by name through the entry-point group ``nni_count.tasks`` of any installed package, or by dotted path.
    Shapes: an image has H×W pixels, a network's map K channels of h = ceil(H / stride) by w = ceil(W / stride) cells.

    Attributes:
        out_channels: channels of a network's output, C, by default the K maps; the networks follow.
        main_metric: the figure, among those of :meth:`summarise`, that weights and architectures are chosen by.
        larger_is_better: whether more of it is better.
        unit: of the maps, as the colour bar says it.
        noun: what a prediction is called in file names, e.g. ``count`` for ``counts.csv`` and ``photo_count.jpg``.
    """

    main_metric: str
    larger_is_better: bool = False
    unit: str = ""
    noun: str = "estimate"

    @property
    def settings(self) -> dict[str, Any]:
        """What builds this task again, plain JSON: the constructor's arguments that it keeps under their names."""
        return kept_arguments(self)

    @abstractmethod
    def target(self, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
        """The map that a network learns to answer, ``(K, ceil(H / stride), ceil(W / stride))`` float32.

        Args:
            sample: a whole image or a crop, whose ``points`` and ``map`` went through the crop with the pixels.
            shape: H and W of the image or crop.
            stride: pixels a side of a cell.
        """

    def loss(self, estimate: Tensor, target: Tensor, distance: Distance) -> Tensor:
        """What training minimises, a scalar; by default the distance as it is.

        Args:
            estimate: what :meth:`read` gives of a network's output, ``(B, K, h, w)``.
            target: as :meth:`target` made them, of the same shape.
            distance: between two such maps: the loss that was searched or asked for.
        """
        return distance(estimate, target)

    def batch_error(self, estimate: Tensor, target: Tensor) -> Tensor:
        """How far the outputs for a batch of crops are off, from 0 where they are right towards 1, a scalar.

        Path strategies choose by it, since a path's own loss has poolings that are among the choices. By default the
        :meth:`loss` of square errors, as a share of itself and that of empty maps; a task whose main metric is of
        another kind gives its own.

        Args:
            estimate: what :meth:`read` gives of a network's output, ``(B, K, h, w)``.
            target: as :meth:`target` made them, of the same shape.
        """
        from torch.nn.functional import mse_loss

        off, empty = (self.loss(maps, target, mse_loss) for maps in (estimate, target.new_zeros(target.shape)))
        return error_share(off, empty)

    def estimate(self, output: Tensor, stride: int) -> Tensor:
        """An output, or what :meth:`read` gives of it, in the task's own unit; undoes what :meth:`target` scaled."""
        return output

    @abstractmethod
    def measure(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        """The figures of one whole image, as cheap as they can be: every validation asks for them.

        Args:
            estimate: the map in the task's unit, ``(K, h, w)``.
            sample: with the truth.
            shape: H and W of the image.
        """

    def examine(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        """Further figures of one image, which only an evaluation asks for; arguments as for :meth:`measure`."""
        return {}

    def check(self, samples: Sequence[Sample]) -> None:
        """Refuse training samples that cannot be learned from, before anything is trained."""

    def prior(self, samples: Sequence[Sample]) -> Figures:
        """What the training samples tell without looking at an image, such as their mean; the model keeps it."""
        return {}

    def summarise(self, rows: Sequence[Figures], prior: Mapping[str, Any]) -> Figures:
        """The figures of a whole set from those of its images: by default the mean of each.

        Args:
            rows: an image's figures each, of which those of :meth:`examine` may be missing.
            prior: see :meth:`prior`.
        """
        return {name: mean([row.get(name) for row in rows]) for name, value in rows[0].items() if is_number(value)}

    @property
    def readings(self) -> dict[str, Callable[[np.ndarray], Any]]:
        """What is read from an estimated map ``(K, h, w)``, by name: its sum, its peak, the map itself.

        Each is a method of a model (``model.count(image)``); those that are numbers are what ``predict`` writes.
        """
        return {}

    def densities(self, estimate: np.ndarray) -> dict[str, np.ndarray]:
        """What a map ``(K, h, w)`` counts, by label: ``(h, w)`` each, that sum to counts; none where it counts not."""
        return {}

    def numbers(self, estimate: np.ndarray) -> dict[str, float]:
        """Those readings of a map ``(K, h, w)`` that are numbers."""
        values = {name: read(estimate) for name, read in self.readings.items()}
        return {name: float(value) for name, value in values.items() if np.ndim(value) == 0}

    def in_graph(self, estimate: Tensor) -> dict[str, Tensor]:
        """Those of :meth:`numbers` that an exported model gives beside its maps ``(K, h, w)``: scalars by name."""
        return {}

    def draw(self, image: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """An image ``(H, W, 3)`` uint8 RGB with the estimate drawn over it; by default the first map in colours."""
        from nni_count.pictures.overlays import blend

        caption = ", ".join(f"{name} {value:.4g}" for name, value in self.numbers(estimate).items())
        return blend(image, estimate[0], caption)

    def panels(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
        """What an evaluation draws beside an image: titles and maps of the image's size or smaller, truth first."""
        import torch

        truth = self.estimate(torch.from_numpy(checked_target(self, sample, shape, 1)), 1).numpy()
        number = "" if self.target_channels == 1 else " {}"
        return [
            (f"{what}{number.format(channel + 1)}", maps[channel])
            for channel in range(self.target_channels)
            for what, maps in (("truth", truth), ("estimate", estimate))
        ]

    def lines(self, figures: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The figures of :meth:`summarise` as a person reads them: names and texts."""
        return [(name, f"{value:.4g}") for name, value in figures.items() if is_number(value)]

    def is_better(self, figure: float, other: float) -> bool:
        """Whether a main metric is better than another one; what is no number never is."""
        return figure > other if self.larger_is_better else figure < other

    def beside_constant(self, figure: float | None, constant: float | None) -> str | None:
        """What helps where a main metric is no better than that of always answering the training mean; else None."""
        if figure is None or constant is None or self.is_better(figure, constant):
            return None
        return (
            f"no better than always answering the training mean ({constant:.2f}): train longer, "
            "with --frozen_norms 0.4, on more images, or on images more like these"
        )


def error_share(off: Tensor, size: Tensor) -> Tensor:
    """An error as a share of itself and the size of what is right: 0 where nothing is off, 1/2 for nothing at all."""
    return off / (off + size).clamp_min(1e-6)


USUAL = "nni_count.tasks.counting.Counting"
#: what model files of version 0.1 call it
EARLIER = "nni_count.counting.Counting"


def usual_task() -> Task:
    """What is regressed where nothing else is said."""
    return create_task(USUAL)


def create_task(name: str, settings: Mapping[str, Any] | None = None, *, of_file: bool = False) -> Task:
    """A task by name or dotted path; ``of_file``: one that a file names, for which nothing is imported.

    A SettingError where there is none of that name, it is no :class:`Task`, or a setting does not fit.
    """
    name = USUAL if name == EARLIER else name
    kind = named_by_file("task", name, Task) if of_file else load("task", name)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise SettingError(f"task {name}: is no nni_count.Task; give a class that is")
    try:
        return kind(**(settings or {}))
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise SettingError(f"task {name}: {error}") from error


def checked_target(task: Task, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
    """A task's target, which has the right shape and only numbers; a DataError names the file where it has not."""
    target = np.asarray(task.target(sample, shape, stride), np.float32)
    made = f"{sample.source}: {type(task).__name__} made a target"
    if target.ndim != 3 or target.shape[0] != task.target_channels:
        expects = f"expected {task.target_channels} channel(s), rows and columns: mend its out_channels or its target"
        raise DataError(f"{made} of shape {target.shape}; {expects}")
    rows, columns = (-(-side // stride) for side in shape)
    if target.shape[1:] != (rows, columns):
        has = f"an image of {shape[0]}×{shape[1]} pixels has {rows}×{columns} of {stride} pixels a side"
        raise DataError(f"{made} of {target.shape[1]}×{target.shape[2]} cells; {has}")
    if np.isfinite(target).all():
        return target
    raise DataError(f"{made} with NaN or infinity in it; mend the annotation")


def middles(maps: np.ndarray, stride: int) -> np.ndarray:
    """The values in the middle of each cell: ``(K, H, W)`` → ``(K, ceil(H / stride), ceil(W / stride))``."""
    rows, columns = (np.minimum(np.arange(0, side, stride) + stride // 2, side - 1) for side in maps.shape[1:])
    return maps[:, rows[:, None], columns]


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those values that are finite numbers; None where none is."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(numbers)) if numbers else None


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
