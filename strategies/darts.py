"""DARTS and its Gumbel-softmax variant: NNI's own, made resumable and exact, with the rates of NAS-Count."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_count.runs.ranges import Range, check
from nni_count.searching.halves import Halves
from nni_count.searching.nni import (
    DartsLightningModule,
    GumbelDartsLightningModule,
    GumbelSoftmax,
    KnownChoices,
    LinearTemperatureScheduler,
    ModelSpace,
    architecture_parameters,
    nni_strategies,
    read_probabilities,
)


class DartsModule(KnownChoices, DartsLightningModule):
    """NNI's search loop with α and β in a fixed order, the checkpoint hooks that NNI forgets to pass on, and no
    gradients that nobody uses: of the weights on the half for α and β, and the other way round.

    Args:
        arc_weight_decay: of α and β.
        others: as for NNI's ``DartsLightningModule``.
    """

    def __init__(self, *others: Any, arc_weight_decay: float, **settings: Any):
        super().__init__(*others, **settings)
        self.arc_weight_decay = arc_weight_decay

    def set_model(self, model: ModelSpace) -> None:
        super().set_model(model)
        self.training_module.halves = Halves(self.arch_parameters(), model)

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.arch_parameters(), self.arc_learning_rate, betas=(0.5, 0.999), weight_decay=self.arc_weight_decay
        )

    def arch_parameters(self) -> list[nn.Parameter]:
        return architecture_parameters(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.training_module.on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.training_module.on_load_checkpoint(checkpoint)


class GumbelDartsModule(DartsModule, GumbelDartsLightningModule):
    """Draws the noise anew before each phase."""

    def set_model(self, model: ModelSpace) -> None:
        super().set_model(model)
        self._noisy = [module for module in self.modules() if isinstance(module, SharedGumbelSoftmax)]

    def resample(self) -> dict[str, Any]:
        for softmax in self._noisy:
            softmax.clear()
        sample: dict[str, Any] = super().resample()
        return sample

    def export_probs(self) -> dict[str, Any]:
        alphas, betas = read_probabilities(self)
        return {**alphas, **betas}


class SharedGumbelSoftmax(GumbelSoftmax):
    """softmax((α + g) / τ), Gumbel noise g drawn once a phase for each α.

    With NNI's own, every layer draws its own noise, so that cells which share α are different cells, and estimate
    and target pass different poolings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noise: dict[Tensor, Tensor] = {}

    def clear(self) -> None:
        """Forget what was drawn."""
        self.noise.clear()

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs not in self.noise:
            self.noise[inputs] = -torch.empty_like(inputs).exponential_().log()
        return torch.softmax((inputs + self.noise[inputs]) / self.tau, self.dim)


class DARTS(nni_strategies.DARTS):
    """Differentiable architecture search, first order: weights and α, β in turn, each on its half of the images.

    α and β are trained by Adam with betas (0.5, 0.999) (NAS-Count, section 4.1.1; Liu et al., DARTS: Differentiable
    Architecture Search, ICLR 2019).

    Args:
        arc_learning_rate: of α and β; the paper's.
        arc_weight_decay: of α and β; the paper's.
        warmup_epochs: epochs, or below 1 a share of the search, at the start in which α and β stay; the
            paper takes 40 of 80.
    """

    def __init__(
        self,
        *,
        arc_learning_rate: Annotated[float, Range(0)] = 6e-4,
        arc_weight_decay: Annotated[float, Range(0)] = 1e-3,
        warmup_epochs: Annotated[float, Range(0)] = 0,
    ):
        check(DARTS.__init__, locals(), "strategy.")
        super().__init__(arc_learning_rate=arc_learning_rate, warmup_epochs=warmup_epochs)
        self.arc_weight_decay = arc_weight_decay

    def module_settings(self) -> dict[str, Any]:
        """What all modules of this family take."""
        return {
            "arc_learning_rate": self.arc_learning_rate,
            "arc_weight_decay": self.arc_weight_decay,
            "warmup_epochs": self.warmup_epochs,
        }

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsLightningModule:
        return DartsModule(training_module, **self.module_settings())


class GumbelDARTS(DARTS):
    """:class:`DARTS` with Gumbel-softmax in place of softmax (Xie et al., SNAS, ICLR 2019). It is not GDAS: every
    operation is computed.

    Args:
        temperature: one, or the first and the last, between which it falls evenly over the epochs.
        others: settings of :class:`DARTS`.
    """

    def __init__(
        self, *, temperature: Annotated[float | tuple[float, float], Range(0, above=True)] = (1.0, 0.33), **others: Any
    ):
        check(GumbelDARTS.__init__, {"temperature": temperature}, "strategy.")
        super().__init__(**others)
        self.temperature = temperature

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        self._softmax = SharedGumbelSoftmax()
        return super().mutate_model(model)

    def configure_softmax(self) -> nn.Module:
        return self._softmax

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsLightningModule:
        first, last = self.temperature if isinstance(self.temperature, (tuple, list)) else [self.temperature] * 2
        schedule = LinearTemperatureScheduler(float(first), float(last))  # NNI refuses integers
        return GumbelDartsModule(training_module, schedule, **self.module_settings())
