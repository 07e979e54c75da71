"""What a one-shot search needs of a space and of NNI 3.0, whose bugs are mended here (NNI is archived, they stay)."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from nni_count.architecture import Architecture
from nni_count.errors import TrainingError
from nni_count.task import Task

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    # gym, which NNI's PolicyBasedRL needs, tells everyone on stderr to leave it
    # NNI goes through the classes of torch.nn and warns of two that are no modules
    warnings.filterwarnings("ignore", ".* is found to be not a nn.Module", RuntimeWarning)
    # first: NNI's modules import one another, and another order leaves its strategies out
    import nni.nas.strategy  # noqa: F401
    from nni.nas.evaluator.pytorch import LightningModule
    from nni.nas.nn.pytorch import InputChoice, LayerChoice
    from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
    from nni.nas.oneshot.pytorch.supermodule import differentiable, proxyless

for handler in logging.getLogger("nni").handlers:
    handler.setLevel(logging.WARNING)  # what else it has to say stands in its log files

# it tells that there are no validation data, and that this is as it should be
logging.getLogger("nni.nas.evaluator.pytorch.lightning").addFilter(
    lambda record: "Safe to ignore" not in str(record.msg)
)

#: label → choice → probability; a choice is an operation's name (α) or an earlier node's number (β)
Probabilities = dict[str, dict[Any, float]]


class Space(Protocol):
    """What ``nni_count.search`` needs of a space, beside being NNI's ``ModelSpace``.

    Attributes:
        map_stride: pixels a side of a cell of the map.
        multiple: what the side of a training crop must be divisible by.
        settings: the constructor's arguments by name, plain YAML.
    """

    map_stride: int
    multiple: int
    settings: dict[str, Any]

    def __call__(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → ``(B, K, H / map_stride, W / map_stride)``."""

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """What is minimised, a scalar; it may hold choices of its own."""

    def architecture(
        self,
        sample: Mapping[str, Any],
        probabilities: Mapping[str, Mapping[Any, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        rule: str = "paper",
    ) -> Architecture:
        """The architecture that a sample (label → choice) describes; probabilities where the strategy has them.

        Args:
            rule: one of :data:`RULES`.
        """

    def sample(self, architecture: Architecture) -> dict[str, Any]:
        """The sample of an architecture, the other way round."""

    def deployed(self, **settings: Any) -> Space:
        """The space as its networks are retrained, at settings of the network; asked only for a search with a cost."""

    def joins(self) -> dict[str, tuple[str, int]]:
        """Label of an operation → label of the choice of edges on which it depends, and its number there. The labels
        are those whose choices a retrained network has; asked only for a search with a cost.
        """


#: how an architecture is read from α and β: ``paper`` takes the edges of largest β, each with its operation of largest
#: α; ``joint`` the edges of largest β × largest α of a real operation
RULES = ("paper", "joint")

SPACE_MEMBERS = ("forward", "loss", "architecture", "sample", "map_stride", "multiple", "settings")

#: name → optimiser of the weights; SGD is that of PC-DARTS
OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


class Recipe(LightningModule):
    """How a space is trained: what NNI calls the evaluator's module. The strategy decides what learns from which batch.

    Args:
        task: what is regressed.
        learning_rate: of the weights at the start.
        final_learning_rate: of the weights at the end of the cosine.
        weight_decay: of the weights.
        epochs: of the whole run.
        optimizer: of the weights, one of :data:`OPTIMIZERS`.
        gradient_clip: largest norm of the weights' gradient; None for no limit.
        penalty: makes of the space and its loss on the half for the architecture what α and β minimise.
    """

    def __init__(
        self,
        task: Task,
        learning_rate: float,
        final_learning_rate: float,
        weight_decay: float,
        epochs: int,
        optimizer: str = "adam",
        gradient_clip: float | None = None,
        penalty: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.task = task
        self.learning_rate = learning_rate
        self.final_learning_rate = final_learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.optimizer = optimizer
        self.gradient_clip = gradient_clip
        self.penalty = penalty
        self._held_out: Any = None

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS[self.optimizer](self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None, *_: Any, **__: Any) -> None:
        # strategies call it with a limit of their own, or none
        limit = self.gradient_clip if gradient_clip_val is None else gradient_clip_val
        if limit is not None:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)

    def rate(self, epoch: int) -> float:
        """The share of the first learning rate in an epoch; a resumed run may have been given more of them."""
        final = self.final_learning_rate / self.learning_rate
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, epoch / self.epochs))) / 2

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # differentiable strategies take a batch of each half and call `training_step` twice
        self._held_out = batch["val"] if isinstance(batch, dict) else None

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "architecture" if batch is self._held_out else "weights")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "architecture")

    def _loss(self, batch: list[Tensor], half: str) -> Tensor:
        images, targets = batch
        model = cast(Space, self.model)
        estimate = model(images.contiguous(memory_format=torch.channels_last)).float()
        with torch.autocast(images.device.type, enabled=False):
            loss = self.task.loss(estimate, targets, model.loss)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.trainer.fit_loop.epoch_loop.total_batch_idx} (epoch "
                f"{self.trainer.current_epoch}, half for the {half}); the checkpoint of the epoch before is kept. "
                "Lower --learning_rate, or look for faulty images with nni-count doctor"
            )
        self.log(f"loss/{half}", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        self.log(half, loss, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        return self.penalty(self.model, loss) if self.penalty and half == "architecture" else loss


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
