"""Retraining: an architecture and data become a model. Knows nothing of NNI."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from nni_count.architecture import Architecture, open_architecture
from nni_count.data import DataSetting, open_data
from nni_count.data.origin import Origin, as_begun, keep_parts
from nni_count.errors import SettingError, TrainingError
from nni_count.losses import create_loss
from nni_count.model import Model, load_trained, save_model
from nni_count.networks import create, initialise, named, number_of_parameters
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import Run, open_run
from nni_count.tasks.checking import check_task
from nni_count.tasks.task import Task, usual_task
from nni_count.training.compute import Compute
from nni_count.training.datamodule import TrainingData
from nni_count.training.fitting import fit
from nni_count.training.learner import Length, Retraining
from nni_count.training.objective import Objective
from nni_count.training.settings import Budget, Crops, TrainingRecipe
from nni_count.training.teacher import Teacher
from nni_count.training.together import shared_norms


def retrain(
    *,
    data: DataSetting,
    out: str | Path,
    architecture: Mapping[str, Any] | str | Path | Architecture | None = None,
    network: Mapping[str, Any] | str = "amsnet",
    from_model: str | Path | Model | None = None,
    task: Task | None = None,
    budget: Budget = Budget(),
    crops: Crops = Crops(size=192, batch_size=6),
    recipe: TrainingRecipe = TrainingRecipe(),
    compute: Compute = Compute(),
    seed: Annotated[int, Range(0, 4294967295)] = 0,
    resume: bool = False,
    callbacks: list[Callback] | None = None,
) -> Model:
    """Train a network and keep the weights that do best on a validation part.

    The test part is never read. The weights or their moving average are saved, as the validation part decides.

    Args:
        data: folder of a data set (its layout is recognised), or ``synthetic``; with settings of its reader as
            ``{"path": ..., "max_side": 1024}``.
        out: run folder; gets ``model.safetensors``, ``metrics.csv``, ``checkpoints/`` and ``config.yaml``.
        architecture: the cells, a file that a search wrote.
        network: what is trained, by name; with settings as ``{"name": "amsnet", "cells": 8, "width": 64}``, of which
            those that are not given stay as the search had them.
        from_model: a ``model.safetensors``, or a model, whose network and weights the training begins with; for other
            data than it was trained on, or more.
        task: what is regressed; that of ``from_model``, else counting by default.
        budget: how long to train; 100 passes over the training images where nothing is given.
        crops: what a step learns from.
        recipe: how the weights are trained, and which images choose among them.
        compute: on what.
        seed: of the validation part, the first weights and the crops.
        resume: continue the run in ``out``.
        callbacks: Lightning's, beside our own.

    Returns:
        The model that was saved.

    Raises:
        SettingError, DataError, ArchitectureError, ModelError: a setting does not fit, before anything is trained.
        TrainingError: the loss is no longer a number; the last good checkpoint is kept.
        Interrupted: after Ctrl-C; a second one is a KeyboardInterrupt.
    """
    check(retrain, {"seed": seed})
    compute.warn()
    dataset = open_data(data)
    pl.seed_everything(seed, verbose=False)
    chosen, settings = named(network)
    if from_model is None:
        name, task, before = chosen, task or usual_task(), None
        cells = None if architecture is None else open_architecture(architecture)
        net = create(name, cells, **{"out_channels": task.out_channels, **settings})
        initialise(net, trunks=not resume)
    else:
        if architecture is not None or settings:
            raise SettingError("from_model: brings its own network; leave out architecture and the network's settings")
        model = from_model if isinstance(from_model, Model) else load_trained(from_model)
        if chosen not in ("amsnet", model.name):  # the first is what stands there where nothing is given
            raise SettingError(f"network: {chosen!r}, but from_model is of {model.name!r}; leave one of them out")
        net, name, cells = deepcopy(model.network).train(), model.name, model.architecture
        task, before = task or model.task, model.origin
    if net.settings["out_channels"] != task.out_channels:
        raise SettingError(
            f"network.out_channels: {net.settings['out_channels']}; the task regresses {task.out_channels} map(s)"
        )
    compute.check(net)
    criterion = create_loss(recipe.loss, cells.pooling if cells else None)
    training, validation = dataset.training_parts(recipe.validation_fraction, seed)
    if resume:
        training, validation = as_begun(out, "retrain", dataset, (training, validation))
    check_task(task, training)
    batches = TrainingData(
        training,
        validation,
        task,
        crops,
        stride=net.map_stride,
        seed=seed,
        with_points=criterion.needs_points,
        process=compute.process,
        processes=compute.processes,
    )
    objective = Objective(task, criterion, net.map_stride, teacher=_teacher(recipe))
    objective.check(training, crops.size)
    length = Length.of(budget, timer := budget.timer(), len(batches.crops))
    given = {
        "data": dataset,
        "architecture": None if from_model else cells,
        "network": {"name": chosen, **settings} if settings else chosen,
        "from_model": from_model,
        "task": task,
        "budget": budget,
        "crops": crops,
        "recipe": recipe,
        "compute": compute,
        "seed": seed,
    }
    # of several processes, the first opens the folder before Lightning starts the others
    first = compute.process == 0
    with open_run(out, "retrain", given, resume=resume) if first else Run(Path(out)) as run:
        prints = keep_parts(run.folder, dataset, (training, validation)) if first else {}
        module = Retraining(
            net.to(memory_format=torch.channels_last),
            objective,
            recipe=recipe,
            length=length,
            timer=timer,
            loader=batches.crops,
            validation=validation,
        )
        teacher, shared = objective.teacher, recipe.shared_norms and compute.processes > 1
        with shared_norms(net, on=shared), teacher.followed_by(net) if teacher else nullcontext():
            fit(module, batches, run, callbacks or [], compute, resume=resume)
        if not validation:
            module.keep_last()
        if not module.best:
            raise TrainingError(f"no validation gave a number for {task.main_metric}; look at {run.folder}/metrics.csv")
        net.load_state_dict(module.best["state"])
        prior = task.prior(training)
        beside = task.summarise(module.rows["raw"], prior) if validation else {}
        facts = {
            f"validation_{task.main_metric}": module.best["metric"],
            f"constant_{task.main_metric}": beside.get(f"constant_{task.main_metric}"),
            "weights": module.best["weights"],
            "step": module.best["step"],
            "loss": criterion.settings,
            "teacher": teacher and number_of_parameters(teacher.network),
            "steps": module.global_step,
            "seconds": round(timer.time_elapsed("train"), 1),
            "data": dataset.name,
            "training_images": len(training),
            "validation_images": len(validation),
            **prior,
            "seed": seed,
        }
        trained = Model(net.cpu(), name, cells, task, facts, Origin.of(dataset, prints, before))
        if first:
            save_model(trained, run.folder / "model.safetensors")
        return trained


def _teacher(recipe: TrainingRecipe) -> Teacher | None:
    """The trained network that a recipe has another follow."""
    if recipe.teacher is None:
        return None
    model = load_trained(recipe.teacher)
    return Teacher(model.network, model.task, recipe.teacher_weight)
