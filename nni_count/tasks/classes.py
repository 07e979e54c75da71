"""Counting several kinds at once: a density map a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from nni_count.data.files import as_seen
from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError
from nni_count.runs.ranges import Range, check
from nni_count.tasks.counting import Counting
from nni_count.tasks.output import Output
from nni_count.tasks.task import Figures, Task

if TYPE_CHECKING:  # as in :mod:`nni_count.tasks.task`
    from torch import Tensor

#: what else is read from an image, or stands beside it in a table
TAKEN = {"total", "image", "overlay", "map"}


@dataclass(frozen=True)
class CountingClasses(Task):
    """Counting by class: the k-th map is the density of the points with the k-th label; its sum counts them.

    Points of other labels are nobody's.

    Args:
        classes: the labels, whatever their capitals; ``nni-count doctor`` lists those of a data set.
        sigma: of the Gaussian that a point becomes, in pixels.
    """

    classes: Sequence[str] = ()
    sigma: Annotated[float, Range(0, 255, above=True)] = 4.0

    main_metric = "mae"  # the mean of the classes' own
    unit = "objects per pixel"
    noun = "count"

    def __post_init__(self) -> None:
        check(CountingClasses, vars(self), "task.")
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if not self.classes:
            raise SettingError("task.classes: none; give the labels to count, which nni-count doctor lists")
        if len(set(map(as_seen, self.classes)) - TAKEN) < len(self.classes):
            raise SettingError(
                f"task.classes: {', '.join(self.classes)}; give each once, none called {' or '.join(TAKEN)}"
            )

    @property
    def out_channels(self) -> int:  # type: ignore[override]
        return len(self.classes)

    @property
    def one(self) -> Counting:
        """How one class alone is counted."""
        return Counting(sigma=self.sigma, kernel_size=round(4 * self.sigma) + 1)

    def alone(self, sample: Sample) -> list[Sample]:
        """The sample for each class with the points of that alone.

        Raises:
            DataError: its points have no labels.
        """
        if sample.labels is None and sample.count:
            raise DataError(
                f"{sample.source}: its points have no labels, by which CountingClasses counts; "
                "give data that has them (clicks with a column label, VOC, COCO, LabelMe, CVAT), or leave --task out"
            )
        kinds, places = np.unique([] if sample.labels is None else sample.labels, return_inverse=True)
        seen = np.array([as_seen(str(kind)) for kind in kinds], str)
        return [replace(sample, points=sample.points[(seen == as_seen(name))[places]]) for name in self.classes]

    def check(self, samples: Sequence[Sample]) -> None:
        """Every class is among the training images' labels."""
        totals = np.sum([[kind.count for kind in self.alone(sample)] for sample in samples], 0)
        if not totals.all():
            labels = {str(label) for sample in samples if sample.labels is not None for label in sample.labels}
            missing = self.classes[int(np.argmin(totals))]
            found = ", ".join(sorted(labels)[:20]) or "none"
            raise SettingError(f"task.classes: no training image has a {missing!r}; the labels are: {found}")

    def target(self, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
        return np.concatenate([self.one.target(kind, shape, stride) for kind in self.alone(sample)])

    def estimate(self, output: Tensor, stride: int) -> Tensor:
        return self.one.estimate(output, stride)

    def follows(self, teacher: Output) -> bool:
        names = getattr(teacher, "classes", ())
        return type(self) is type(teacher) and [*map(as_seen, names)] == [*map(as_seen, self.classes)]

    def points(self, sample: Sample) -> Sequence[np.ndarray]:
        return [kind.points for kind in self.alone(sample)]

    def batch_error(self, estimate: Tensor, target: Tensor) -> Tensor:
        return self.one.batch_error(estimate, target)

    def measure(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        figures: Figures = {}
        for name, density, kind in zip(self.classes, estimate, self.alone(sample), strict=True):
            one = self.one.measure(density[None], kind, shape)
            figures |= {f"truth_{name}": one["truth"], f"estimate_{name}": one["estimate"]}
        return figures

    def prior(self, samples: Sequence[Sample]) -> Figures:
        means = np.mean([[kind.count for kind in self.alone(sample)] for sample in samples], 0)
        return {f"training_mean_{name}": float(mean) for name, mean in zip(self.classes, means, strict=True)}

    def summarise(self, rows: Sequence[Figures], prior: Mapping[str, Any]) -> Figures:
        truths, estimates = (
            np.array([[row[f"{what}_{name}"] for name in self.classes] for row in rows], float)
            for what in ("truth", "estimate")
        )
        each = dict(zip(self.classes, np.abs(estimates - truths).mean(0).tolist(), strict=True))
        figures = {"mae": float(np.mean(list(each.values()))), **{f"mae_{name}": mae for name, mae in each.items()}}
        figures["mae_total"] = float(np.abs((estimates - truths).sum(1)).mean())
        means = [prior.get(f"training_mean_{name}") for name in self.classes]
        if None not in means:
            figures["constant_mae"] = float(np.abs(truths - np.array(means, float)).mean())
        return figures

    @property
    def readings(self) -> dict[str, Callable[[np.ndarray], Any]]:
        each = {name: partial(_sum, channel=channel) for channel, name in enumerate(self.classes)}
        return {**each, "total": np.sum}

    def densities(self, estimate: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.classes, estimate, strict=True))

    def in_graph(self, estimate: Tensor) -> dict[str, Tensor]:
        return {**{name: estimate[k].sum() for k, name in enumerate(self.classes)}, "total": estimate.sum()}

    def draw(self, image: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """The image once for each class, side by side."""
        from nni_count.pictures.overlays import overlay

        kinds = zip(self.classes, estimate, strict=True)
        return np.hstack([overlay(image, density, float(density.sum()), name) for name, density in kinds])

    def panels(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
        return [
            (f"{name}: {title}", panel)
            for name, density, kind in zip(self.classes, estimate, self.alone(sample), strict=True)
            for title, panel in self.one.panels(density[None], kind, shape)
        ]


def _sum(estimate: np.ndarray, channel: int) -> float:
    return float(estimate[channel].sum(dtype=np.float64))
