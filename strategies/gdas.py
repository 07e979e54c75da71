"""GDAS: one operation drawn for each choice and step, and only that one computed (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import DartsLightningModule, DifferentiableMixedInput, DifferentiableMixedLayer, ModelSpace
from strategies.darts import DARTS, GumbelDartsModule, SharedGumbelSoftmax
from strategies.functions import WeightedSum, flat


class Draws(SharedGumbelSoftmax):
    """What is drawn for each α, once a phase: the largest entry of softmax((α + g) / τ), in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[Tensor, tuple[int, Tensor]] = {}
        self._before: list[Tensor] = []

    def clear(self) -> None:
        self._before = list(self.noise) or self._before
        super().clear()
        self.drawn.clear()

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[int, Tensor]:  # type: ignore[override]
        """The number of the entry, and its derivative by α; kept, since many layers share an α."""
        if inputs not in self.drawn:
            # with all that the phase before drew: a GPU has to be waited for once, not for each α
            self._draw([alpha for alpha in dict.fromkeys([*self._before, inputs]) if alpha not in self.drawn])
        return self.drawn[inputs]

    def _draw(self, alphas: list[Tensor]) -> None:
        for alpha in alphas:
            if alpha not in self.noise:
                exponential = torch.empty_like(alpha, dtype=torch.float32).exponential_()
                self.noise[alpha] = -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()
        alike = [[alpha for alpha in alphas if len(alpha) == size] for size in sorted({len(alpha) for alpha in alphas})]
        rows = [torch.stack([alpha.float() + self.noise[alpha] for alpha in some]) / self.tau for some in alike]
        softs = [torch.softmax(row, 1) for row in rows]
        largest = [soft.argmax(1, keepdim=True) for soft in softs]
        numbers = iter(torch.cat(largest).flatten().tolist())
        for some, soft, number in zip(alike, softs, largest, strict=True):
            entry = soft.gather(1, number)
            slopes = (soft * -entry).scatter_add_(1, number, entry) / self.tau
            self.drawn.update((alpha, (next(numbers), slope)) for alpha, slope in zip(some, slopes, strict=True))


class _StraightThrough(torch.autograd.Function):
    """The output as it is; its gradient is that of a product with a weight, which counts as 1.

    The slope is the weight's derivative by α.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, alpha: Tensor, slope: Tensor) -> Tensor:
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(output, slope)
        return output.view_as(output)  # the product would be one map more to keep

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (gradient,) = gradients
        if not ctx.needs_input_grad[1]:
            return gradient, None, None
        output, slope = ctx.saved_tensors
        return gradient, flat(gradient) @ flat(output) * slope, None


class SampledLayer(DifferentiableMixedLayer):
    """A choice that computes the drawn candidate alone; the most probable one where no gradients are wanted.

    What it gives is the candidate's own output. The gradient reaches α straight through the draw, as if the output
    had been weighted by its entry of softmax((α + g) / τ).
    """

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return self._of(int(self._arch_alpha.argmax()), *args, **kwargs)
        number, slope = self._softmax(self._arch_alpha)
        return cast(Tensor, _StraightThrough.apply(self._of(number, *args, **kwargs), self._arch_alpha, slope))

    def _of(self, number: int, *args: Any, **kwargs: Any) -> Tensor:
        output: Tensor = self[self.names[number]](*args, **kwargs)
        return output

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        if self.label in memo:
            return {}
        number, _ = self._softmax(self._arch_alpha)
        return {self.label: self.names[number]}


class WeightedInput(DifferentiableMixedInput):
    """Edges weighted by softmax(β), in one step where all are maps of one shape."""

    def _reduction(self, items: list[Any], weights: Any) -> Any:
        if all(isinstance(item, Tensor) and item.shape == items[0].shape for item in items):
            return WeightedSum.apply(weights, *items)
        return super()._reduction(items, weights)


@dataclass(frozen=True)
class Annealing:
    """τ falls evenly over the epochs in which α is trained, from ``first`` to ``last``, which the last one has."""

    first: float
    last: float
    warmup_epochs: float

    def step(self, current: int, total: int) -> float:
        """τ in epoch ``current``, counted from 0, of ``total``."""
        still = self.warmup_epochs * total if self.warmup_epochs < 1 else self.warmup_epochs
        passed = max(0.0, current - still) / max(1.0, total - still - 1)
        return self.first + (self.last - self.first) * min(1.0, passed)


class GDAS(DARTS):
    """Gradient-based search with a differentiable sampler (Dong and Yang, Searching for a robust neural architecture
    in four GPU hours, CVPR 2019).

    Before each phase one operation is drawn for every label, by Gumbel-max from softmax(α), for all cells that share
    it. Only the drawn operations are computed, so that a step costs about as much as one of a found network. As in
    the original, all edges are kept while searching: they are weighted by softmax(β) as with :class:`DARTS`, and so
    are NNI's choices other than ``LayerChoice``.

    Args:
        temperature: τ of the gradient's softmax in the first and the last epoch in which α is trained; it falls evenly.
        others: settings of :class:`DARTS`; operations are drawn from the first epoch on, also while warming up.

    Raises:
        SettingError: a temperature is not positive, or the last above the first.
    """

    def __init__(
        self, *, temperature: Annotated[tuple[float, float], Range(0, above=True)] = (10.0, 0.1), **others: Any
    ):
        super().__init__(**others)
        check(GDAS.__init__, {"temperature": temperature}, "strategy.")
        if not temperature[0] >= temperature[1] > 0:
            raise SettingError(f"strategy.temperature: {temperature}; it falls from the first to a last above 0")
        self.temperature = temperature

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        self._draws = Draws()
        return super().mutate_model(model)

    def default_mutation_hooks(self) -> list[Any]:
        return [self._sampled, WeightedInput.mutate, *super().default_mutation_hooks()]

    def _sampled(self, module: nn.Module, name: str, memo: dict[str, Any], settings: dict[str, Any]) -> Any:
        return SampledLayer.mutate(module, name, memo, {**settings, "softmax": self._draws})

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsLightningModule:
        annealing = Annealing(*self.temperature, self.warmup_epochs)
        return GumbelDartsModule(training_module, annealing, **self.module_settings())
