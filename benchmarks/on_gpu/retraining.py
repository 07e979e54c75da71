"""AMSNet trained on ShanghaiTech A for the minutes that are left, and judged on the test part once.

Put together from the parts of ``nni_count.retrain``, whose epochs of 300 images would be a second each on a GPU, with a
checkpoint after every one.
"""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch.utils.data import DataLoader

from nni_count.architecture import read_architecture
from nni_count.data.dataset import Dataset
from nni_count.errors import TrainingError
from nni_count.losses import create_loss
from nni_count.model import Model, save_model
from nni_count.networks import Network, initialise, number_of_parameters
from nni_count.tasks.task import Task, usual_task
from nni_count.training.batches import WholeImages, crop_loader
from nni_count.training.learner import Length, Retraining
from nni_count.training.objective import Objective
from nni_count.training.settings import Augmentation, Crops, TrainingRecipe
from on_gpu.curve import Autotune, Curve, Waits
from on_gpu.device import CPU
from on_gpu.inference import ARCHITECTURE, build
from on_gpu.judging import judge
from on_gpu.results import Part
from on_gpu.sizes import Sizes
from on_gpu.workers import workers

#: the usual one: Adam, a cosine, the moving average of the weights
RECIPE = TrainingRecipe(learning_rate=1e-3)
#: every crop enlarged or shrunk: a few minutes on a GPU see each image some hundred times
AUGMENTATION = Augmentation(scale=(0.75, 1.5))
SEED = 0
#: below this a training says nothing
LEAST_SECONDS = 20.0


def retraining(part: Part, device: CPU, sizes: Sizes, data: Dataset, width: int, out: Path) -> None:
    """Train, keep the weights that are best on the validation part, save them, and judge them on the test part."""
    device.release()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    pl.seed_everything(SEED, verbose=False)
    task = usual_task()
    network = build("amsnet", {"cells": sizes.training_cells, "width": width})
    initialise(network)
    processes = workers(sizes.workers)
    part.set(
        network=f"AMSNet M={sizes.training_cells}, C={width}",
        settings=network.settings,
        parameters=number_of_parameters(network),
        crop=sizes.training_crop,
        batch=sizes.training_batch,
        scale=list(AUGMENTATION.scale),
        precision="bf16-mixed",
        learning_rate=RECIPE.learning_rate,
        seed=SEED,
        workers=processes,
    )
    module, training = _learner(network, task, sizes, data, part.left, processes)
    with part.row("trainings") as row:
        part.need(sizes.training_seconds or LEAST_SECONDS)
        _train(module, part, device, sizes, row)
    if not module.best:
        raise TrainingError("no validation gave a number; the trainings' row says why")
    network.load_state_dict(module.best["state"])
    facts = {"validation_mae": module.best["metric"], "weights": module.best["weights"], "step": module.best["step"]}
    part.set(chosen=facts)
    facts |= {"data": data.name, "training_images": len(training), **task.prior(training), "seed": SEED}
    model = Model(network.to(device.name), "amsnet", read_architecture(ARCHITECTURE), task, facts)
    save_model(model, out / "model.safetensors")
    for figures in judge(model, data, processes):
        part.set(test=figures)


def _learner(
    network: Network, task: Task, sizes: Sizes, data: Dataset, seconds: float, processes: int
) -> tuple[Retraining, Any]:
    """As ``nni_count.retrain`` sets it up, with a loader whose epochs are longer than a pass."""
    training, validation = data.training_parts(RECIPE.validation_fraction, SEED)
    loader = crop_loader(
        training,
        task,
        Crops(sizes.training_crop, sizes.training_batch, AUGMENTATION, num_workers=processes),
        stride=network.map_stride,
        seed=SEED,
        limit_batches=sizes.epoch,
    )
    seconds = sizes.training_seconds or max(LEAST_SECONDS, seconds)
    module = Retraining(
        network.to(memory_format=torch.channels_last),
        Objective(task, create_loss(None, read_architecture(ARCHITECTURE).pooling), network.map_stride),
        recipe=RECIPE,
        length=Length(None, seconds),
        timer=Timer(timedelta(seconds=seconds), interval="step", verbose=False),
        loader=loader,
        validation=validation,
    )
    return module, training


def _train(module: Retraining, part: Part, device: CPU, sizes: Sizes, row: dict[str, Any]) -> None:
    """Until the timer ends it; the row gets the figures of the training itself, also of one that fails."""
    assert module.length.seconds
    waits, validation = Waits(), DataLoader(WholeImages(module.validation), batch_size=None)
    device.forget_peak()
    trainer = pl.Trainer(
        accelerator=device.accelerator,
        devices=1,
        precision="bf16-mixed",
        max_epochs=-1,
        num_sanity_val_steps=0,
        val_check_interval=timedelta(seconds=module.length.seconds / (sizes.validations + 1)),
        check_val_every_n_epoch=None,
        callbacks=[module.timer, waits, Autotune(), Curve(part, module)],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    try:
        trainer.fit(module, module.loader, validation)
    finally:
        seconds = module.timer.time_elapsed("train")
        row |= {"steps": module.global_step, "seconds": round(seconds, 1), **waits.figures(sizes.training_batch)}
        row["peak_gib"] = round(device.peak() / 2**30, 3)
    trainer.validate(module, validation, verbose=False)
