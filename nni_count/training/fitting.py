"""How Lightning trains a retraining: when it validates, saves and stops, on one device or on several."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, Timer, TQDMProgressBar

from nni_count.runs.checkpoints import WholeCheckpoints, restoring
from nni_count.runs.loggers import run_loggers
from nni_count.runs.run import Run, Stop, graceful_stop
from nni_count.training.compute import Compute
from nni_count.training.datamodule import TrainingData
from nni_count.training.learner import Length, Retraining

VALIDATIONS = 6  # a run; more would cost training time, and the last one wins nearly always
NEVER = 1 << 62  # steps


class ValidateTogether(Callback):
    """Validates after a time by the first process's clock; by their own, some would validate while others train."""

    def __init__(self, timer: Timer, length: Length):
        self.timer = timer
        self.every = _seconds_between(length)
        self.next = self.every

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        due = trainer.strategy.broadcast(self.timer.time_elapsed("train") >= self.next)
        trainer.val_check_batch = trainer.fit_loop.epoch_loop.total_batch_idx + 1 if due else NEVER
        if due:
            self.next = self.timer.time_elapsed("train") + self.every


class StopAtStep(Callback):
    """Saves and ends the run after a step when the user asked for it."""

    def __init__(self, run: Run, stop: Stop):
        self.run = run
        self.stop = stop

    def on_train_start(self, *_: Any) -> None:
        self.stop.listen()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        due = trainer.val_check_batch and not trainer.global_step % trainer.val_check_batch
        stop = trainer.strategy.reduce_boolean_decision(self.stop.requested, all=False)  # all processes at once
        if stop and not due:  # a resumed run would leave that validation out
            trainer.save_checkpoint(self.run.last_checkpoint)
            trainer._logger_connector.on_batch_end()  # the row of this step, which Lightning would write later
            trainer._logger_connector.update_train_step_metrics()
            self.stop.interrupt(self.run.folder, trainer.global_step)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # after the training, whose end is saved; several processes go on to its end, where they meet
        if self.stop.requested and trainer.state.fn == "validate" and trainer.world_size == 1:
            self.stop.interrupt(self.run.folder, trainer.global_step)


def fit(
    module: Retraining, batches: TrainingData, run: Run, callbacks: list[Callback], compute: Compute, *, resume: bool
) -> None:
    """Train a network in the folder of a run; its best weights are the module's afterwards, on every device."""
    length = module.length
    # Lightning's own choice is another bar where rich is installed, which counts up to "epoch -1"
    bars = [] if any(isinstance(callback, ProgressBar) for callback in callbacks) else [TQDMProgressBar()]
    with graceful_stop() as stop:
        trainer = pl.Trainer(
            **compute.together(WholeCheckpoints(run)),
            max_epochs=-1,
            max_steps=length.steps or -1,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            **_validate_every(length, compute.processes),
            limit_val_batches=None if module.validation else 0,
            callbacks=[
                module.timer,
                StopAtStep(run, stop),
                *([ValidateTogether(module.timer, length)] if compute.processes > 1 and length.seconds else []),
                *callbacks,
                *bars,
                _checkpoint(run, every_n_epochs=1, save_on_train_epoch_end=True),
                _checkpoint(run, train_time_interval=timedelta(minutes=5)),
            ],
            logger=run_loggers(run),
            enable_model_summary=False,
        )
        checkpoint = str(run.last_checkpoint) if resume else None
        with restoring(trainer, run.last_checkpoint):
            trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
        if module.validation:
            trainer.validate(module, datamodule=batches, verbose=False)


def _seconds_between(length: Length) -> float:
    """Two validations: they count as training time, so a run of ten minutes has only the one after its end."""
    assert length.seconds
    return max(600.0, length.seconds / VALIDATIONS)


def _checkpoint(run: Run, **when: Any) -> ModelCheckpoint:
    return ModelCheckpoint(dirpath=run.checkpoints, filename="last", enable_version_counter=False, **when)


def _validate_every(length: Length, processes: int) -> dict[str, Any]:
    if length.seconds:
        every = timedelta(seconds=_seconds_between(length)) if processes == 1 else NEVER
        return {"val_check_interval": every, "check_val_every_n_epoch": None}
    assert length.steps
    return {"val_check_interval": max(50, length.steps // VALIDATIONS), "check_val_every_n_epoch": None}
