"""Training one drawn path of the space at a time, and ranking paths with the weights that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import Annotated, Any, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import Categorical, CategoricalMultiple, KnownChoices, ModelSpace, nni_strategies
from nni_count.tasks.task import Task

#: label → choice, or the list of chosen ones
Path = dict[str, Any]

HELD_BATCHES = 8  # of the half for the architecture, on which paths are compared


def options_of(space: ModelSpace) -> dict[str, list[Any]]:
    """What each label may be; choosing n of m is one choice among all combinations.

    Raises:
        SettingError: a choice is not among countably many, or any number of its candidates may be taken.
    """
    options: dict[str, list[Any]] = {}
    for label, mutable in space.simplify().items():
        if isinstance(mutable, Categorical):
            options[str(label)] = list(mutable.values)
        elif isinstance(mutable, CategoricalMultiple) and mutable.n_chosen is not None:
            options[str(label)] = [list(some) for some in combinations(mutable.values, mutable.n_chosen)]
        else:
            raise SettingError(
                f"space: {label} is a {type(mutable).__name__}, of which no path can be drawn; write it as a "
                "LayerChoice or an InputChoice with n_chosen, or search this space with Random"
            )
    return options


class PathModule(KnownChoices):
    """Each step trains the weights along one path, drawn evenly; :meth:`export` gives the best path it knows.

    Args:
        training_module: how a network is trained, and its ``task``.
        candidates: paths that are drawn and compared for an export.
    """

    def __init__(self, training_module: LightningModule, *, candidates: int):
        super().__init__(training_module)
        self.candidates = candidates
        self.options: dict[str, list[Any]] = {}
        self.best: Path | None = None
        self.held: deque[Any] = deque(maxlen=HELD_BATCHES)
        self._ranked = False

    def set_model(self, model: ModelSpace) -> None:
        super().set_model(model)
        self.options = options_of(model)

    def draw(self) -> Path:
        """A path, all equally probable; it depends on torch's seed alone, so that all processes draw the same."""
        return {label: some[int(torch.randint(len(some), ()))] for label, some in self.options.items()}

    def follow(self, path: Path) -> Path:
        """Let the space compute that path."""
        for layer in self.supernet_modules():
            layer.resample(memo=path)
        return path

    def resample(self) -> Path:
        return self.follow(self.draw())

    def on_train_epoch_start(self) -> None:
        self.held.clear()  # a resumed run has seen the batches of this epoch alone
        super().on_train_epoch_start()

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        self.held.append(batch["val"])
        self._ranked = False
        self.learn_to_draw(batch["val"])
        self.resample()
        loss: Tensor = self.training_module.training_step(batch["train"], batch_idx)
        self.advance_optimization(loss, batch_idx)
        self.advance_lr_schedulers(batch_idx)
        return loss

    def learn_to_draw(self, batch: Any) -> None:
        """Drawn evenly, there is nothing to learn; the error on the half for the architecture is logged."""
        self.resample()
        self.error(batch)

    def error(self, batch: Any, log: bool = True) -> float:
        """How far off the path that is followed is, 0 to 1: what the task says (:meth:`nni_count.Task.batch_error`).

        Args:
            batch: images ``(B, 3, H, W)``, targets ``(B, K, h, w)``, and points where the loss needs them.
        """
        images, targets, *_ = batch
        task = cast(Task, self.training_module.task)
        with torch.no_grad(), batch_statistics(self.model):
            output = self.model(images).float()
            error = task.batch_error(task.read(output, images.shape[-1] // output.shape[-1]), targets)
        if log:
            size = len(images)
            self.log("error/architecture", error, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return float(error)

    def rank(self) -> Path:
        """The best of some drawn paths, and the best one so far, on the same batches."""
        paths = self.proposals() + ([self.best] if self.best else [])
        errors = []
        for path in paths:
            self.follow(path)
            errors.append(sum(self.error(batch, log=False) for batch in self.held))
        return paths[errors.index(min(errors))]

    def proposals(self) -> list[Path]:
        return [self.draw() for _ in range(self.candidates)]

    def export(self) -> Path:
        if self.best is None or not self._ranked:
            self.best, self._ranked = self.rank(), True
        return dict(self.best)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["best_path"] = self.best
        self.training_module.on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best = checkpoint.get("best_path")  # one of another strategy is refused later
        self.training_module.on_load_checkpoint(checkpoint)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise by the batch and leave running statistics alone: those of a path are not those of all paths."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, state in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = state


class RandomOneShot(nni_strategies.RandomOneShot):
    """Evenly drawn paths train shared weights, which then rank drawn paths (Li and Talwalkar, Random search and
    reproducibility for neural architecture search, UAI 2019; Guo et al., Single path one-shot, ECCV 2020).

    With NNI's own, what is exported is an arbitrary path.

    Args:
        candidates: paths that are compared after every epoch, on batches of the half for the architecture.
    """

    def __init__(self, *, candidates: Annotated[int, Range(1)] = 20):
        super().__init__()
        check(RandomOneShot.__init__, {"candidates": candidates}, "strategy.")
        self.candidates = candidates

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        options_of(model)  # says which choice cannot be drawn
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: LightningModule) -> PathModule:
        return PathModule(training_module, candidates=self.candidates)

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> dict[str, Any]:
        return {"train": train_dataloader_fn(), "val": val_dataloader_fn()}

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> None:
        return None
