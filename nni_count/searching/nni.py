"""The one door to NNI 3.0: imported without its harmless warnings, and mended (NNI is archived, its bugs stay).

All that searches imports NNI's names from here, since NNI's modules import one another and another order leaves its
strategies out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from nni_count.errors import SettingError

if find_spec("nni") is None:
    raise SettingError(
        "searches, trials and strategies need NNI, which a light installation leaves out; pip install nni==3.0"
    )

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    # gym, which NNI's PolicyBasedRL needs, tells everyone on stderr to leave it
    # NNI goes through the classes of torch.nn and warns of two that are no modules
    warnings.filterwarnings("ignore", ".* is found to be not a nn.Module", RuntimeWarning)
    import nni.nas.strategy as nni_strategies  # isort: skip - first
    import nni
    from nni.experiment import launcher
    from nni.mutable import Categorical, CategoricalMultiple
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
    from nni.nas.execution import ExecutionEngine, TrainingServiceExecutionEngine
    from nni.nas.execution.event import FinalMetricEvent, ModelEventType, TrainingEndEvent
    from nni.nas.experiment import NasExperiment
    from nni.nas.experiment.config import NasExperimentConfig
    from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace
    from nni.nas.nn.pytorch.base import MutableModule
    from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
    from nni.nas.oneshot.pytorch.differentiable import (
        DartsLightningModule,
        GumbelDartsLightningModule,
        LinearTemperatureScheduler,
    )
    from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
    from nni.nas.oneshot.pytorch.supermodule import differentiable, proxyless
    from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
    from nni.nas.oneshot.pytorch.supermodule.differentiable import (
        DifferentiableMixedInput,
        DifferentiableMixedLayer,
        GumbelSoftmax,
    )
    from nni.nas.space import ModelStatus, SimplifiedModelSpace
    from nni.nas.strategy import Random, Strategy
    from nni.runtime.trial_command_channel import set_default_trial_command_channel
    from nni.runtime.trial_command_channel.v3 import TrialCommandChannelV3

for handler in logging.getLogger("nni").handlers:
    handler.setLevel(logging.WARNING)  # what else it has to say stands in its log files

# we say ourselves why a strategy ends
logging.getLogger("nni.nas.strategy.base").setLevel(logging.CRITICAL)

# it tells that there are no validation data, and that this is as it should be
logging.getLogger("nni.nas.evaluator.pytorch.lightning").addFilter(
    lambda record: "Safe to ignore" not in str(record.msg)
)

#: label → choice → probability; a choice is an operation's name (α) or an earlier node's number (β)
Probabilities = dict[str, dict[Any, float]]


class KnownChoices(BaseOneShotLightningModule):
    """NNI's search loop, whose choices are looked for once: doing so in every step costs a tenth of GDAS's."""

    _choices: Sequence[Any] = ()

    def set_model(self, model: nn.Module) -> None:
        super().set_model(model)
        self._choices = list(super().supernet_modules())

    def supernet_modules(self) -> Sequence[Any]:
        return self._choices


def architecture_parameters(module: BaseOneShotLightningModule) -> list[nn.Parameter]:
    """α and β, each once, in the order of the network.

    NNI orders them by address, so that a resumed optimiser swaps their moments or fails.
    """
    return list(
        dict.fromkeys(
            parameter
            for layer in module.supernet_modules()
            if hasattr(layer, "arch_parameters")
            for parameter in layer.arch_parameters()
        )
    )


def mend(module: BaseOneShotLightningModule) -> None:
    """Mend the module of any one-shot strategy, NNI's own included."""
    if hasattr(module, "arch_parameters"):
        module.arch_parameters = lambda: architecture_parameters(module)
    # it would log noisy probabilities every few steps; the search logs exact ones after every epoch
    module.log_probs = lambda probs: None


def architecture_logits(space: nn.Module) -> dict[str, nn.Parameter]:
    """Label → α or β of a mutated space; empty for strategies without such parameters."""
    return {
        str(layer.label): layer._arch_alpha
        for layer in space.modules()
        if isinstance(layer, (LayerChoice, InputChoice)) and isinstance(getattr(layer, "_arch_alpha", None), Tensor)
    }


def kept_edges(space: nn.Module) -> dict[str, int]:
    """Label of a choice of edges → how many of them an architecture keeps."""
    return {str(layer.label): layer.n_chosen or 1 for layer in space.modules() if isinstance(layer, InputChoice)}


def read_probabilities(module: BaseOneShotLightningModule) -> tuple[Probabilities, Probabilities]:
    """softmax(α) and softmax(β), taken from the parameters, since what strategies export may hold noise.

    Returns:
        Those of operations and those of edges, or what the module's own ``probabilities()`` gives; empty for
        strategies without either.
    """
    if hasattr(module, "probabilities"):
        own: tuple[Probabilities, Probabilities] = module.probabilities()
        return own
    alphas: Probabilities = {}
    betas: Probabilities = {}
    for layer in module.supernet_modules():
        parameter = getattr(layer, "_arch_alpha", None)
        if isinstance(parameter, Tensor):
            values = torch.softmax(parameter.detach().double().cpu(), -1).tolist()
            if isinstance(layer, LayerChoice):
                alphas[str(layer.label)] = dict(zip(layer.names, values, strict=True))
            else:
                betas[str(layer.label)] = dict(enumerate(values))
    return alphas, betas


def export_sample(module: BaseOneShotLightningModule) -> dict[str, Any]:
    """The choices of a searched module, label → choice."""
    sample: dict[str, Any] = module.export()
    for layer in module.supernet_modules():
        # Proxyless draws what it exports, though it says that it ranks
        if type(layer) is proxyless.ProxylessMixedLayer:
            sample.update(differentiable.DifferentiableMixedLayer.export(layer, {}))
        elif type(layer) is proxyless.ProxylessMixedInput:
            sample.update(differentiable.DifferentiableMixedInput.export(layer, {}))
    return {str(label): choice for label, choice in sample.items()}  # NNI's labels are a class of their own
