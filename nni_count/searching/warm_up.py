"""The epochs at the start of a search in which only the weights are trained (NAS-Count, section 4.1.1: 40 of 80)."""

from __future__ import annotations

import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Timer

from nni_count.errors import SettingError


class WarmUp(Callback):
    """Tells the strategy's module how long α and β stay as they are: a number of epochs, or a share of the search.

    A share is one of the epochs, or of the time where a search is bounded by it, whichever is over sooner.

    Args:
        length: epochs, or below 1 a share.
        epochs: of the search.
        timer: of the search.

    Raises:
        SettingError: α and β would never be trained.
    """

    def __init__(self, length: float, epochs: int, timer: Timer):
        self.length = length
        self.epochs = epochs
        self.timer = timer
        self.over_at: int | None = None
        if length < 0:
            raise SettingError(f"strategy.warmup_epochs: {length}; give epochs, or a share of the search below 1")
        if self._warms_up(epochs - 1, 0.0):
            raise SettingError(
                f"strategy.warmup_epochs: {length:g} of {epochs} epochs would leave none in which α is trained; give "
                "fewer, or a share of the search such as 0.5, or raise --max_epochs"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"over_at": self.over_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.over_at = state_dict["over_at"]

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        if not self.length:
            return
        left, spent = self.timer.time_remaining("train"), self.timer.time_elapsed("train")
        in_time = 0.0 if left is None else spent / (spent + left)
        if self.over_at is None and not self._warms_up(trainer.current_epoch, in_time):
            self.over_at = trainer.current_epoch
        module.warmup_epochs = trainer.current_epoch + 1 if self.over_at is None else self.over_at

    def _warms_up(self, epoch: int, in_time: float) -> bool:
        """Whether α and β stay in an epoch, counted from 0, that begins when a share of the time is over."""
        return epoch < round(self.length) if self.length >= 1 else max(epoch / self.epochs, in_time) < self.length

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if self.length and self.over_at is None:
            warnings.warn(
                "the search ended while it was warming up: α and β are as they were drawn, and so is the architecture; "
                "give it more time, or a smaller strategy.warmup_epochs",
                stacklevel=1,  # further up is Lightning, whose warnings the command line keeps back
            )
