"""Retraining: an architecture and data become a model. Knows nothing of NNI."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from nni_count.architecture import Architecture, read_architecture
from nni_count.data import open_data
from nni_count.data.dataset import Dataset
from nni_count.errors import SettingError, TrainingError
from nni_count.losses import create_loss
from nni_count.model import Model, load_model, save_model
from nni_count.networks import create, initialise
from nni_count.runs.loggers import run_loggers
from nni_count.runs.run import Run, Stop, graceful_stop, open_run
from nni_count.tasks.task import Task, check_task, describe_task, usual_task
from nni_count.training.crops import USUAL, Augmentation
from nni_count.training.datamodule import TrainingData
from nni_count.training.learner import Budget, Retraining
from nni_count.training.settings import check_choice, check_precision, run_timer

VALIDATIONS = 6  # a run; more would cost training time, and the last one wins nearly always


class StopAtStep(Callback):
    """Saves and ends the run after a step when the user asked for it."""

    def __init__(self, run: Run, stop: Stop):
        self.run = run
        self.stop = stop

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.stop.requested:
            trainer.save_checkpoint(self.run.last_checkpoint)
            self.stop.interrupt(self.run.folder, trainer.global_step)


def retrain(
    *,
    data: str | Path | Dataset,
    out: str | Path,
    architecture: str | Path | Architecture | None = None,
    network: str = "amsnet",
    network_settings: dict[str, Any] | None = None,
    from_model: str | Path | Model | None = None,
    data_settings: dict[str, Any] | None = None,
    task: Task | None = None,
    loss: dict[str, Any] | str | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    max_time: str | None = None,
    crop_size: int = 192,
    batch_size: int = 6,
    learning_rate: float = 1e-3,
    gradient_clip: float | None = 0.2,
    schedule: str = "cosine",
    average_decay: float = 0.998,
    frozen_norms: float = 0.0,
    validation_fraction: float = 0.1,
    augmentation: Augmentation = USUAL,
    cache_gb: float = 2.0,
    num_workers: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    seed: int = 0,
    resume: bool = False,
    callbacks: list[Callback] | None = None,
) -> Model:
    """Train a network and keep the weights that do best on a validation part.

    The test part is never read. Beside the weights their moving average is kept; which of the two is saved, and from
    when, is decided on the validation part.

    Args:
        data: folder of a data set (its layout is recognised), or ``synthetic``.
        out: run folder; gets ``model.safetensors``, ``metrics.csv``, ``checkpoints/`` and ``config.yaml``.
        architecture: the cells, a file that a search wrote.
        network: what is trained, by name.
        network_settings: the network's, e.g. ``cells`` and ``width``; the others stay as the search had them.
        from_model: a ``model.safetensors``, or a model, whose network and weights the training begins with; for other
            data than it was trained on, or more.
        data_settings: the reader's, e.g. ``format`` and ``outside``.
        task: what is regressed; that of ``from_model``, else counting by default.
        loss: a name (mse, sppl, sal, scl, euclidean_ssim, count), or names with weights such as {sppl: 1, scl: 0.1};
            by default the scale pyramid loss (sppl) with the pyramid of the architecture, and mse where there is none.
        max_epochs: passes over the training images; 100 where no budget is given.
        max_steps: optimiser steps.
        max_time: time to train, ``DD:HH:MM:SS``.
        crop_size: side of the training crops in pixels.
        batch_size: crops a step.
        learning_rate: Adam's, at the start.
        gradient_clip: largest norm of the gradient; null for no limit.
        schedule: ``cosine`` to zero over the budget, or ``paper``: ×0.8 every 15,000 steps.
        average_decay: of the moving average of the weights.
        frozen_norms: the share of the budget, at its end, in which batch norms no longer follow each batch but keep
            their averaged statistics; for small batches of crops that differ much, e.g. 0.3.
        validation_fraction: share of the training images that choose the weights, where the data set has no
            validation part of its own (:meth:`nni_count.data.dataset.Dataset.training_parts`); with 0 all of them
            train, and the moving average at the end is kept.
        augmentation: how crops are turned, scaled and placed.
        cache_gb: bound of the memory for decoded images in gigabytes; those beyond are decoded each time.
        num_workers: processes that prepare batches; 0 for none.
        precision: ``32-true`` or ``bf16-mixed``, which is faster where the processor has bfloat16.
        accelerator: Lightning's, e.g. ``cpu`` or ``gpu``.
        seed: of the validation part, the first weights and the crops.
        resume: continue the run in ``out``.
        callbacks: Lightning's, beside our own.

    Returns:
        The model that was saved.
    """
    settings = dict(locals())
    settings["augmentation"] = asdict(augmentation)
    check_choice("schedule", schedule, ("cosine", "paper"))
    check_precision(precision, accelerator)
    if not 0 <= frozen_norms < 1:
        raise SettingError(f"frozen_norms: {frozen_norms}; give a share of the budget from 0 to below 1")
    dataset = open_data(data, **(data_settings or {}))
    pl.seed_everything(seed, verbose=False)
    if from_model is None:
        task = task or usual_task()
        cells = read_architecture(architecture) if isinstance(architecture, (str, Path)) else architecture
        net = create(network, cells, **{"out_channels": task.out_channels, **(network_settings or {})})
        initialise(net)
    else:
        if architecture is not None or network_settings:
            raise SettingError("from_model: brings its own network; leave out architecture and the network's settings")
        model = from_model if isinstance(from_model, Model) else load_model(from_model)
        net, network, cells = deepcopy(model.network).train(), model.name, model.architecture
        task = task or model.task
    if net.settings["out_channels"] != task.out_channels:
        raise SettingError(
            f"network.out_channels: {net.settings['out_channels']}; the task regresses {task.out_channels} map(s)"
        )
    criterion = create_loss(loss, cells.pooling if cells else None)
    training, validation = dataset.training_parts(validation_fraction, seed)
    check_task(task, training[0])
    settings["task"] = describe_task(task)
    batches = TrainingData(
        training,
        validation,
        task,
        crop_size=crop_size,
        batch_size=batch_size,
        stride=net.map_stride,
        seed=seed,
        num_workers=num_workers,
        augmentation=augmentation,
        cache_gb=cache_gb,
    )
    criterion.check(task.out_channels, *2 * [crop_size // net.map_stride])
    if max_epochs is None and max_steps is None and max_time is None:
        max_epochs = 100
    timer = run_timer(max_time)
    steps = min((n for n in (max_steps, max_epochs and max_epochs * len(batches.crops)) if n is not None), default=None)
    budget = Budget(steps, timer.time_remaining())
    run = open_run(out, "retrain", settings, resume=resume)

    module = Retraining(
        net.to(memory_format=torch.channels_last),
        criterion,
        task,
        learning_rate=learning_rate,
        schedule=schedule,
        budget=budget,
        timer=timer,
        average_decay=average_decay,
        frozen_norms=frozen_norms,
        gradient_clip=gradient_clip,
        loader=batches.crops,
        validation=validation,
    )
    trainer_settings = {"precision": precision, "accelerator": accelerator}
    _fit(module, batches, run, callbacks or [], trainer_settings, resume=resume)
    if not validation:
        module.keep("average", None)
    if not module.best:
        raise TrainingError(f"no validation gave a number for {task.main_metric}; look at {run.folder}/metrics.csv")
    net.load_state_dict(module.best["state"])
    facts = {
        f"validation_{task.main_metric}": module.best["metric"],
        "weights": module.best["weights"],
        "step": module.best["step"],
        "loss": criterion.settings,
        "steps": module.global_step,
        "seconds": round(timer.time_elapsed("train"), 1),
        "data": dataset.name,
        "training_images": len(training),
        "validation_images": len(validation),
        **task.prior(training),
        "seed": seed,
    }
    model = Model(net.cpu(), network, cells, task, facts)
    save_model(model, run.folder / "model.safetensors")
    return model


def _fit(
    module: Retraining,
    batches: TrainingData,
    run: Run,
    callbacks: list[Callback],
    settings: dict[str, Any],
    *,
    resume: bool,
) -> None:
    budget = module.budget
    with graceful_stop() as stop:
        trainer = pl.Trainer(
            **settings,
            devices=1,
            max_epochs=-1,
            max_steps=budget.steps or -1,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            **_validate_every(budget),
            limit_val_batches=None if module.validation else 0,
            callbacks=[
                module.timer,
                StopAtStep(run, stop),
                *callbacks,
                _checkpoint(run, every_n_epochs=1, save_on_train_epoch_end=True),
                _checkpoint(run, train_time_interval=timedelta(minutes=5)),
            ],
            logger=run_loggers(run),
            enable_model_summary=False,
        )
        checkpoint = str(run.last_checkpoint) if resume else None
        trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
        if module.validation:
            trainer.validate(module, datamodule=batches, verbose=False)


def _checkpoint(run: Run, **when: Any) -> ModelCheckpoint:
    return ModelCheckpoint(dirpath=run.checkpoints, filename="last", enable_version_counter=False, **when)


def _validate_every(budget: Budget) -> dict[str, Any]:
    if budget.seconds:
        return {
            # they count as training time, so a run of ten minutes has only the one after its end
            "val_check_interval": timedelta(seconds=max(600.0, budget.seconds / VALIDATIONS)),
            "check_val_every_n_epoch": None,
        }
    assert budget.steps
    return {"val_check_interval": max(50, budget.steps // VALIDATIONS), "check_val_every_n_epoch": None}
