"""Counting by density, the first task: a map whose sum is the number of points."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.metrics import METRICS
from nni_count.metrics.counts import GAME_LEVELS, game, intervals, mae_by_density
from nni_count.metrics.maps import DEFAULT_PROTOCOL, MAP_PROTOCOLS, gathered, map_quality, spread
from nni_count.plugins import entries
from nni_count.runs.ranges import Range, check
from nni_count.tasks.output import Output
from nni_count.tasks.task import Figures, Task, error_share, mean

if TYPE_CHECKING:  # as in :mod:`nni_count.tasks.task`
    from torch import Tensor

    from nni_count.losses.blocks import Blocks

#: ours, and those that installed packages bring
COUNT_METRICS = ChainMap(METRICS, entries("metrics"))


@dataclass(frozen=True)
class Counting(Task):
    """Counting by density: the map is people per pixel × ``density_scale``, and its sum is the count.

    A network that answers a map of stride s gives the mean density of s×s pixels, so the values keep their size
    whatever the stride. An estimate, in people per cell, sums to the count; where the sum is negative the count is 0.

    Args:
        sigma: of the Gaussian that a head becomes, in pixels.
        kernel_size: width at which the Gaussian is cut off, in pixels.
        density_scale: what densities are multiplied with for training; never visible outside.
        beta: where given, kernels are geometry-adaptive, σ = beta × the mean distance to the 3 nearest heads of the
            image (:func:`nni_count.data.adaptive.adaptive_sigma`), and ``sigma`` and ``kernel_size`` are not used.
        things: what is counted, as tables and pictures call it, e.g. ``cells``.
        bins: where given, for the loss ``zip``: the counts that a block of ``block`` pixels a side may have, rising, up
            to the largest one, e.g. 1, 2, 3, 4, 6, 8, 12, 16. The network then answers, for each block, how probably it
            is empty and in which bin it is, and the map is read from that.
        block: pixels a side of a block; a multiple of the network's map stride.
    """

    sigma: Annotated[float, Range(0, above=True)] = 4.0
    kernel_size: Annotated[int, Range(1, 1024)] = 15
    density_scale: Annotated[float, Range(0, above=True)] = 100.0
    beta: Annotated[float, Range(0, above=True)] | None = None
    things: str = "people"
    bins: Annotated[tuple[float, ...], Range(0, above=True)] | None = None
    block: Annotated[int, Range(1, 8192)] = 16

    def __post_init__(self) -> None:
        check(Counting, vars(self), "task.")
        if self.bins is not None:
            object.__setattr__(self, "bins", tuple(self.bins))
            if len(self.bins) < 2 or any(one >= other for one, other in pairwise(self.bins)):
                raise SettingError(f"task.bins: {list(self.bins)}; give at least two counts that rise")

    main_metric = "mae"
    noun = "count"

    @property
    def out_channels(self) -> int:  # type: ignore[override]
        return 1 if self.bins is None else 1 + len(self.bins)

    @property
    def target_channels(self) -> int:
        return self.out_channels if self.bins is None else 1

    @property
    def unit(self) -> str:  # type: ignore[override]
        return f"{self.things} per pixel"

    def check(self, samples: Sequence[Sample]) -> None:
        """The bins reach the largest count of a block of the training images."""
        if self.bins is None:
            return
        for sample in samples:
            _, counts = np.unique(np.floor(sample.points / self.block), axis=0, return_counts=True)
            if (most := max(counts, default=0)) > self.bins[-1]:
                raise SettingError(
                    f"task.bins: the last is {self.bins[-1]:g}, but {sample.source} has {most} {self.things} in a "
                    f"block of {self.block}×{self.block} pixels; let them reach that, or give a smaller task.block"
                )

    def density(self, sample: Sample, shape: tuple[int, int], stride: int = 1) -> np.ndarray:
        """The truth in people per cell, ``(ceil(H / stride), ceil(W / stride))`` float32; of the points inside.

        Geometry-adaptive kernels take all points of the image, also for a crop: heads outside it are neighbours of
        those inside.
        """
        from nni_count.data.adaptive import adaptive_sigma
        from nni_count.data.density import density_map

        if self.beta is not None:
            sigma = adaptive_sigma(sample.points, beta=self.beta)
            return density_map(sample.points, shape, sigma=sigma, stride=stride)
        return density_map(sample.points, shape, sigma=self.sigma, kernel_size=self.kernel_size, stride=stride)

    def target(self, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
        return self.density(sample, shape, stride)[None] * np.float32(self.density_scale / stride**2)

    def follows(self, teacher: Output) -> bool:
        return isinstance(teacher, Counting) and type(self) is type(teacher) and self.things == teacher.things

    def points(self, sample: Sample) -> Sequence[np.ndarray]:
        return [sample.points]

    def blocks(self, output: Tensor, stride: int) -> Blocks | None:
        if self.bins is None:
            return None
        from nni_count.losses.blocks import read_blocks

        return read_blocks(output, output.new_tensor(self.bins), self.block, stride)

    def read(self, output: Tensor, stride: int) -> Tensor:
        if (blocks := self.blocks(output, stride)) is None:
            return output
        from nni_count.losses.blocks import spread_blocks

        return spread_blocks(blocks, output.shape[-2:])[:, None] * (self.density_scale / stride**2)

    def estimate(self, output: Tensor, stride: int) -> Tensor:
        if self.bins is not None and output.shape[-3] == self.out_channels:
            output = self.read(output, stride)
        return output * (stride**2 / self.density_scale)

    def batch_error(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Of the counts of all crops together, whatever their maps."""
        off, size = (maps.sum((2, 3)).abs().sum() for maps in (estimate - target, target))
        return error_share(off, size)

    def measure(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        density = estimate[0] if sample.roi is None else sample.inside(spread(estimate[0], shape))
        count = _count(density[None])
        return {"truth": sample.count, "estimate": count, "error": count - sample.count}

    def examine(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        truth, density = self._maps(estimate, sample, shape)
        answered = estimate[0] if sample.roi is None else gathered(density, estimate.shape[1:])
        figures: Figures = {}
        for protocol in MAP_PROTOCOLS:
            quality: Figures = map_quality(answered, truth, protocol) or {"psnr": None, "ssim": None}
            figures.update({_of(name, protocol): value for name, value in quality.items()})
        error = self.measure(estimate, sample, shape)["error"]  # of the count, which is never negative
        return {**figures, **game(density, sample.points), "game0": abs(error)}

    def prior(self, samples: Sequence[Sample]) -> Figures:
        return {"training_mean": sum(sample.count for sample in samples) / len(samples)}

    def summarise(self, rows: Sequence[Figures], prior: Mapping[str, Any]) -> Figures:
        truths, estimates = (np.array([row[name] for row in rows], float) for name in ("truth", "estimate"))
        constant = prior.get("training_mean")
        figures: Figures = {
            **{name: figure(estimates, truths) for name, figure in COUNT_METRICS.items()},
            "constant_mae": None if constant is None else float(np.abs(truths - constant).mean()),
            "people": int(truths.sum()),
        }
        if "psnr" not in rows[0]:
            return figures  # of a validation
        maps = {
            protocol: {name: mean([row[_of(name, protocol)] for row in rows]) for name in ("psnr", "ssim")}
            for protocol in MAP_PROTOCOLS
        }
        return {
            **figures,
            **intervals(estimates, truths),
            "by_density": mae_by_density(estimates, truths),
            **{f"game{level}": mean([row[f"game{level}"] for row in rows]) for level in GAME_LEVELS},
            **maps[DEFAULT_PROTOCOL],
            "map_protocol": DEFAULT_PROTOCOL,
            "maps": maps,
        }

    @property
    def readings(self) -> dict[str, Callable[[np.ndarray], Any]]:
        return {"count": _count, "density": lambda estimate: estimate[0]}

    def densities(self, estimate: np.ndarray) -> dict[str, np.ndarray]:
        return {self.things: estimate[0]}

    def in_graph(self, estimate: Tensor) -> dict[str, Tensor]:
        return {"count": estimate[0].sum().clamp_min(0)}

    def draw(self, image: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        from nni_count.pictures.overlays import overlay

        return overlay(image, estimate[0], _count(estimate))

    def panels(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
        truth, density = self._maps(estimate, sample, shape)
        figures = self.measure(estimate, sample, shape)
        title = f"estimate {figures['estimate']:.1f} ({figures['error']:+.1f})"
        return [(f"truth {sample.count}", truth), (title, density)]

    def lines(self, figures: Mapping[str, Any]) -> list[tuple[str, str]]:
        constant = figures["constant_mae"]
        beside = "" if constant is None else f"   (always the training mean: {constant:.2f})"
        return [
            (self.things, f"{figures['people']}"),
            ("MAE", f"{figures['mae']:.2f}{_interval(figures['mae_interval'])}{beside}"),
            *(
                (f"  {bin}", f"{row['mae']:.2f}   ({row['images']} images with so many)")
                for bin, row in figures["by_density"].items()
            ),
            ("RMSE", f"{figures['rmse']:.2f}{_interval(figures['rmse_interval'])}"),
            *(
                (name.upper(), _number(figures.get(name), ".3f"))
                for name in COUNT_METRICS
                if name not in ("mae", "rmse")
            ),
            ("GAME 0–3", " ".join(f"{figures[f'game{level}']:.2f}" for level in GAME_LEVELS)),
            *(("PSNR", f"{_number(values['psnr'], '.2f')} dB   ({name})") for name, values in figures["maps"].items()),
            *(("SSIM", f"{_number(values['ssim'], '.3f')}   ({name})") for name, values in figures["maps"].items()),
        ]

    def _maps(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Truth and estimate in people per pixel, ``(H, W)`` each."""
        return sample.inside(self.density(sample, shape)), sample.inside(spread(estimate[0], shape))


def _count(estimate: np.ndarray) -> float:
    """Never less than nobody: where a map is nearly empty, its small negative values may prevail."""
    return max(float(estimate[0].sum(dtype=np.float64)), 0.0)  # in this order NaN stays NaN


def _of(figure: str, protocol: str) -> str:
    """The name of an image's PSNR or SSIM by a protocol; that of the usual one stands alone."""
    return figure if protocol == DEFAULT_PROTOCOL else f"{figure}_{protocol}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"   95% in [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
