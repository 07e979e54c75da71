"""Partial channels: on every edge one channel in k passes the candidates (NAS-Count, eq. 1 and 2; PC-DARTS)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import torch
from pytorch_lightning import LightningModule
from torch import nn

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import DartsLightningModule, LayerChoice, ModelSpace
from nni_count.searching.recording import Recorded
from strategies.darts import DARTS, DartsModule
from strategies.fused import fuse
from strategies.partial_layer import REMEDY, Channels, PartialLayer, narrow


class PartialModule(DartsModule):
    """Draws other channels before each phase; on a CUDA device the pass through the space is recorded where it may be.

    Args:
        channels: of all layers.
        others: as for :class:`DartsModule`.
    """

    def __init__(self, *others: Any, channels: Channels, **settings: Any):
        super().__init__(*others, **settings)
        self.channels = channels

    def set_model(self, model: ModelSpace) -> None:
        super().set_model(model)
        if getattr(model, "recorded", False):
            self.training_module.recorded = Recorded(model)

    def resample(self) -> dict[str, Any]:
        sample: dict[str, Any] = super().resample()
        self.channels.redraw()
        return sample


class PartialChannel(DARTS):
    """:class:`DARTS` in which every edge hands one channel in k to its candidates and passes the others by (NAS-Count,
    section 3.1.1, eq. 1 and 2; Xu et al., PC-DARTS, ICLR 2020).

    The candidates are built anew at a k-th of the width, so that time and memory fall. This works for any space
    whose candidates keep the channels and the size of their input and are made of ``Conv2d``, ``BatchNorm2d`` and
    modules without parameters. A choice none of whose candidates has channels, such as the poolings of the loss, is
    searched as with :class:`DARTS`. Edges are weighted by softmax(β) where the space has an ``InputChoice``.

    Args:
        k: one channel in k passes the candidates, K in the papers.
        channels: ``random`` draws them anew in each phase (NAS-Count); ``fixed`` takes the first ones and shuffles
            the channels afterwards (PC-DARTS).
        fused: compute the edges that leave a node of AMSNet's cells together: the same numbers, faster. Other cells
            are computed edge by edge.
        others: settings of :class:`DARTS`.

    Raises:
        SettingError: k is no positive integer or ``channels`` is unknown; from ``mutate_model``, where k does not
            divide the channels, or a candidate cannot be narrowed.
    """

    def __init__(
        self,
        *,
        k: Annotated[int, Range(1)] = 4,
        channels: Literal["random", "fixed"] = "random",
        fused: bool = True,
        **others: Any,
    ):
        super().__init__(**others)
        check(PartialChannel.__init__, {"k": k}, "strategy.")
        if channels not in ("random", "fixed"):
            raise SettingError(f"strategy.channels: {channels!r} is neither random nor fixed")
        self.k = k
        self.channels = channels
        self.fused = fused

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        model = super().mutate_model(model)
        if self.fused:
            fuse(model)
        return model

    def default_mutation_hooks(self) -> list[Any]:
        self._shared = Channels(self.k, self.channels == "random")
        return [self._partial, *super().default_mutation_hooks()]

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsLightningModule:
        return PartialModule(training_module, channels=self._shared, **self.module_settings())

    def _partial(self, module: nn.Module, name: str, memo: dict[str, Any], settings: dict[str, Any]) -> Any:
        """A mutation hook; None leaves a choice to the next one."""
        if type(module) is not LayerChoice:
            return None
        choice = cast(Any, module)  # NNI carries no types
        candidates: dict[str, nn.Module] = {}
        for candidate in choice.names:
            try:
                candidates[candidate] = narrow(choice[candidate], self.k)
            except (TypeError, ValueError) as error:
                raise SettingError(f"strategy.k: {name} ({choice.label}), {candidate}: {error}") from error
        widths = {_channels(candidate) for candidate in candidates.values()} - {None}
        if not widths:
            return None
        for place, candidate in candidates.items():
            for width in widths:
                _check_shape(f"{name} ({choice.label}), {place}", candidate, cast(int, width))
        listed = candidates if isinstance(choice.candidates, dict) else list(candidates.values())
        return PartialLayer(listed, memo[choice.label], settings["softmax"], choice.label, channels=self._shared)


def _channels(candidate: nn.Module) -> int | None:
    """Those of a candidate's input; None where it has no layer that tells."""
    for layer in candidate.modules():
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
            return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.num_features
    return None


def _check_shape(place: str, candidate: nn.Module, channels: int) -> None:
    features = torch.zeros(1, channels, 16, 16)
    training = candidate.training
    try:
        with torch.no_grad():
            kept = candidate.eval()(features).shape == features.shape
    except RuntimeError:  # candidates of one choice take different numbers of channels
        kept = False
    candidate.train(training)
    if not kept:
        raise SettingError(f"strategy: {place}: changes channels or size, so that channels cannot pass it by; {REMEDY}")
