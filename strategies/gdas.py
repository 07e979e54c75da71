"""GDAS: one operation drawn for each choice and step, and only that one computed (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

from typing import Any, cast

import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_count.errors import SettingError
from strategies.darts import DARTS, GumbelDartsModule, SharedGumbelSoftmax


class Draws(SharedGumbelSoftmax):
    """softmax((α + g) / τ) in single precision, g drawn once a phase for each α; its largest entry is the draw."""

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs not in self.noise:
            exponential = torch.empty_like(inputs, dtype=torch.float32).exponential_()
            self.noise[inputs] = -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()
        return torch.softmax((inputs.float() + self.noise[inputs]) / self.tau, self.dim)


class _StraightThrough(torch.autograd.Function):
    """The output as it is; its gradient is that of a product with the weight, which counts as 1."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(output)
        return output.view_as(output)  # the product would be one map more to keep

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,), (output,) = gradients, ctx.saved_tensors
        return gradient, (gradient * output).sum()


class SampledLayer(DifferentiableMixedLayer):
    """A choice that computes the drawn candidate alone; the most probable one where no gradients are wanted.

    What it gives is the candidate's own output. The gradient reaches α straight through the draw, as if the output
    had been weighted by its entry of softmax((α + g) / τ).
    """

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return self._of(int(self._arch_alpha.argmax()), *args, **kwargs)
        soft: Tensor = self._softmax(self._arch_alpha)
        drawn = int(soft.argmax())
        return cast(Tensor, _StraightThrough.apply(self._of(drawn, *args, **kwargs), soft[drawn]))

    def _of(self, number: int, *args: Any, **kwargs: Any) -> Tensor:
        output: Tensor = self[self.names[number]](*args, **kwargs)
        return output

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        if self.label in memo:
            return {}
        return {self.label: self.names[int(self._softmax(self._arch_alpha).argmax())]}


class Annealing:
    """τ falls evenly over the epochs in which α is trained, from ``first`` to ``last``, which the last one has."""

    def __init__(self, first: float, last: float, warmup_epochs: int):
        self.first = first
        self.last = last
        self.warmup_epochs = warmup_epochs

    def step(self, current: int, total: int) -> float:
        """τ in epoch ``current``, counted from 0, of ``total``."""
        passed = max(0, current - self.warmup_epochs) / max(1, total - self.warmup_epochs - 1)
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
        arc_learning_rate: of α and β.
        arc_weight_decay: of α and β.
        warmup_epochs: epochs at the start in which α and β stay; operations are drawn from the first on.

    Raises:
        SettingError: a temperature is not positive, or the last above the first.
    """

    def __init__(
        self,
        *,
        temperature: tuple[float, float] = (10.0, 0.1),
        arc_learning_rate: float = 6e-4,
        arc_weight_decay: float = 1e-3,
        warmup_epochs: int = 0,
    ):
        super().__init__(
            arc_learning_rate=arc_learning_rate, arc_weight_decay=arc_weight_decay, warmup_epochs=warmup_epochs
        )
        if not temperature[0] >= temperature[1] > 0:
            raise SettingError(f"strategy.temperature: {temperature}; it falls from the first to a last above 0")
        self.temperature = temperature

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        self._draws = Draws()
        return super().mutate_model(model)

    def default_mutation_hooks(self) -> list[Any]:
        return [self._sampled, *super().default_mutation_hooks()]

    def _sampled(self, module: nn.Module, name: str, memo: dict[str, Any], settings: dict[str, Any]) -> Any:
        return SampledLayer.mutate(module, name, memo, {**settings, "softmax": self._draws})

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsLightningModule:
        return GumbelDartsModule(
            training_module, Annealing(*self.temperature, self.warmup_epochs), **self.module_settings()
        )
