"""Searching: a space, a strategy and data become an architecture. NNI mutates the space, Lightning runs it."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from nni_count.architecture import Architecture, read_architecture
from nni_count.data import halves, open_data, split_off
from nni_count.data.dataset import Dataset
from nni_count.errors import RunError, SettingError
from nni_count.plugins import path_of
from nni_count.runs.loggers import run_loggers
from nni_count.runs.run import Run, graceful_stop, open_run, rank
from nni_count.searching.after_epoch import AfterEpoch, EarlyStop, Validation, WarmUpBar
from nni_count.searching.cost import Cost, cost_table
from nni_count.searching.multi_trial.candidate import Candidate
from nni_count.searching.multi_trial.record import USUAL_TRIALS, Trials
from nni_count.searching.multi_trial.search import search_by_trials
from nni_count.searching.nni import Lightning, ModelSpace, OneShotStrategy, Strategy, Trainer, architecture_logits, mend
from nni_count.searching.recipe import OPTIMIZERS, Recipe
from nni_count.searching.space import RULES, SPACE_MEMBERS, Space
from nni_count.tasks.task import Task, check_task, describe_task, usual_task
from nni_count.training.batches import CropLoader, crop_loader
from nni_count.training.cache import cache_bytes
from nni_count.training.crops import USUAL, Augmentation
from nni_count.training.settings import check_choice, check_precision, run_timer

NEVER = EarlyStop()


def search(
    *,
    data: str | Path | Dataset,
    space: ModelSpace,
    strategy: Strategy,
    out: str | Path,
    max_epochs: int = 80,
    max_time: str | None = None,
    crop_size: int = 128,
    batch_size: int = 4,
    limit_train_batches: int | None = None,
    seed: int = 0,
    optimizer: str = "adam",
    learning_rate: float = 1e-3,
    final_learning_rate: float = 4e-4,
    weight_decay: float = 1e-4,
    gradient_clip: float | None = None,
    cost: Cost | None = None,
    decode: str = "paper",
    early_stop: EarlyStop = NEVER,
    validation_images: int = 10,
    data_settings: dict[str, Any] | None = None,
    task: Task | None = None,
    resume: bool = False,
    augmentation: Augmentation = USUAL,
    cache_gb: float = 2.0,
    num_workers: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int = 1,
    trials: Trials = USUAL_TRIALS,
    callbacks: list[Callback] | None = None,
) -> Architecture:
    """Search a space on the training images, one half for the weights and one for the architecture.

    The defaults are the paper's recipe (NAS-Count, section 4.1.1), without its warm-up, which is the strategy's
    ``warmup_epochs``. The test part is never read. The space that is given stays as it is: one with its settings is
    built anew, so that its weights start from the seed.

    Args:
        data: folder of a data set (its layout is recognised), or ``synthetic``.
        space: an NNI model space that is a :class:`nni_count.searching.nni.Space`.
        strategy: ours or NNI's. A one-shot strategy trains all choices at once. A multi-trial one, such as Random,
            proposes architectures; each is trained on the half for the weights, in a process of NNI's training
            service, and judged by the mean absolute error of its counts on the half for the architecture.
        out: run folder; after every epoch, or every trial, it holds ``architecture.yaml``, ``cells.png``,
            ``metrics.csv`` and ``checkpoints/last.ckpt``.
        max_epochs: passes over the half for the weights; of a multi-trial strategy, for each trial.
        max_time: time to search, ``DD:HH:MM:SS``; the search ends with the epoch in which it is over.
        crop_size: side of the training crops in pixels.
        batch_size: crops a step.
        limit_train_batches: steps an epoch; None for all images.
        seed: of the halves, the first weights, α, β and the crops.
        optimizer: of the weights: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        learning_rate: of the weights at the start; it falls along a cosine.
        final_learning_rate: of the weights at the end.
        weight_decay: of the weights.
        gradient_clip: largest norm of the weights' gradient; null for no limit.
        cost: what the network of the found architecture may cost; α and β learn to keep to it, and what still lies
            above it is replaced by cheaper operations.
        decode: how an architecture is read from α and β: ``paper``: edges by β, operations by α; ``joint``: edges by
            β × their best real operation, and that one.
        early_stop: when the search ends before its last epoch.
        validation_images: of the half for the architecture, on which the architecture that is strongest after an
            epoch is judged (``validation_mae``); 0 for none.
        data_settings: the reader's, e.g. ``format`` and ``outside``.
        task: what is regressed; counting by default.
        resume: continue the run in ``out`` from its last whole epoch.
        augmentation: how crops are turned, scaled and placed.
        cache_gb: bound of the memory for decoded images in gigabytes; those beyond are decoded each time.
        num_workers: processes that prepare batches; 0 for none.
        precision: ``32-true`` or ``bf16-mixed``, which is faster where the processor has bfloat16.
        accelerator: Lightning's, e.g. ``cpu`` or ``gpu``.
        devices: on which a one-shot search runs at once, each in a process of its own (Lightning's DDP, which starts
            the command or script again for each); a step then takes ``batch_size`` crops a device.
        trials: how many architectures a multi-trial strategy tries, and NNI's portal.
        callbacks: Lightning's, beside our own.

    Returns:
        The architecture that stands in ``architecture.yaml``.

    Raises:
        SettingError: the space, the strategy or a setting does not fit, or no architecture is within the budget.
        TrainingError: the loss is no longer a number; the checkpoint of the epoch before is kept.
        Interrupted: after Ctrl-C; a second one is a KeyboardInterrupt.
    """
    settings = dict(locals())
    task = task or usual_task()
    _check(space, strategy, task, crop_size, devices)
    check_choice("decode", decode, RULES)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_precision(precision, accelerator)
    timer = run_timer(max_time, "epoch")
    dataset = open_data(data, **(data_settings or {}))
    pl.seed_everything(seed, verbose=False)
    follows = {"out_channels": task.out_channels} if "out_channels" in cast(Space, space).settings else {}
    space = type(space)(*space.trace_args, **{**space.trace_kwargs, **follows})
    settings.update(
        task=describe_task(task),
        augmentation=asdict(augmentation),
        trials=asdict(trials),
        early_stop=asdict(early_stop),
        cost=cost and asdict(cost),
        space=_described(space, cast(Space, space).settings),
        strategy=_described(strategy, _arguments(strategy)),
    )
    provenance = {
        "strategy": settings["strategy"]["class_path"],
        "seed": seed,
        "data": dataset.name,
        "versions": {name: _version(name) for name in ("nni", "torch", "nni-count")},
    }
    parts = halves(dataset.samples("train"), seed)
    check_task(task, parts[0][0])
    batches = limit_train_batches or max(1, min(map(len, parts)) // (batch_size * devices))
    recipe = (learning_rate, final_learning_rate, weight_decay, max_epochs, optimizer, gradient_clip)
    if not isinstance(strategy, OneShotStrategy):
        if devices != 1:
            raise SettingError(f"devices: {devices}; a trial trains on one, give trials.concurrency instead")
        if cost:
            raise _without_alpha(strategy)
        candidate = Candidate(
            *parts,
            task,
            recipe,
            crop_size=crop_size,
            batch_size=batch_size,
            limit_batches=batches,
            augmentation=augmentation,
            cache_gb=cache_gb,
            num_workers=num_workers,
            concurrency=trials.concurrency,
            accelerator=accelerator,
            seed=seed,
        )
        return search_by_trials(space, strategy, candidate, trials, out, settings, provenance, resume=resume)
    loaders = [
        crop_loader(
            part,
            task,
            crop_size=crop_size,
            batch_size=batch_size,
            stride=cast(Space, space).map_stride,
            seed=2 * seed + number,
            num_workers=num_workers,
            limit_batches=batches,
            augmentation=augmentation,
            cache_bytes=cache_bytes(cache_gb) // len(parts),
            process=rank(),
            processes=devices,
        )
        for number, part in enumerate(parts)
    ]
    table = cost_table(cast(Space, space), cost) if cost else None
    # a space that the strategy cannot handle is said before a folder is made
    space = _mutated(space, strategy).to(memory_format=torch.channels_last)
    if table and not architecture_logits(space):
        raise _without_alpha(strategy)
    validation = None
    if validation_images:
        judged = split_off(parts[1], validation_images / len(parts[1]), seed)[1]
        validation = Validation(task, judged, loaders[0], cache_bytes(cache_gb) // 8)
    # the first process opens the folder before Lightning starts the others
    run = open_run(out, "search", settings, resume=resume) if rank() == 0 else Run(Path(out))
    with graceful_stop() as stop:
        trainer = Trainer(
            accelerator=accelerator,
            precision=precision,
            devices=devices,
            # drawn paths and warming up leave parameters without a gradient; our loaders deal out batches themselves
            strategy="auto" if devices == 1 else "ddp_find_unused_parameters_true",
            use_distributed_sampler=False,
            max_epochs=max_epochs,
            num_sanity_val_steps=0,
            log_every_n_steps=batches,
            callbacks=[
                WarmUpBar(),
                timer,
                AfterEpoch(
                    run,
                    stop,
                    loaders,
                    seed,
                    provenance,
                    rule=decode,
                    table=table,
                    validation=validation,
                    early_stop=early_stop,
                ),
                *(callbacks or []),
                ModelCheckpoint(
                    run.checkpoints,
                    "last",
                    enable_version_counter=False,
                    every_n_epochs=1,
                    save_on_train_epoch_end=True,
                ),
            ],
            logger=run_loggers(run),
            enable_model_summary=False,
        )
        trained = Recipe(task, *recipe, penalty=table.penalise if table else None)
        _fit(trained, trainer, space, strategy, loaders, run.last_checkpoint if resume else None)
    return read_architecture(run.folder / "architecture.yaml")


def _without_alpha(strategy: Strategy) -> SettingError:
    return SettingError(f"cost: {type(strategy).__name__} has no α that could learn to keep to it; choose DARTS")


def _mutated(space: ModelSpace, strategy: OneShotStrategy) -> ModelSpace:
    try:
        return strategy.mutate_model(space)
    except (TypeError, ValueError) as error:
        remedy = "write that choice as a LayerChoice or an InputChoice, or choose another strategy"
        if "have the same label" in str(error):  # how NNI says so
            remedy = "give one of the two another label, or both the same candidates"
        raise SettingError(
            f"strategy {type(strategy).__name__}: cannot search {type(space).__name__} ({error}); {remedy}"
        ) from error


def _fit(
    recipe: Recipe,
    trainer: Any,
    space: ModelSpace,
    strategy: OneShotStrategy,
    loaders: list[CropLoader],
    checkpoint: Path | None,
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When using training service", RuntimeWarning)  # we use none
        evaluator = Lightning(recipe, trainer, *loaders, fit_kwargs={"ckpt_path": checkpoint, "weights_only": True})
        evaluator = strategy.mutate_evaluator(evaluator)
    mend(evaluator.module)
    try:
        evaluator.evaluate(space)
    except SystemExit as error:  # how Lightning answers a second Ctrl-C
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if checkpoint is None or "loading state_dict" not in str(error):
            raise
        raise RunError(
            f"{checkpoint}: is of another space or strategy than {type(space).__name__} and {type(strategy).__name__}; "
            "resume with those that it was begun with"
        ) from error


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from its sources
        return "not installed"


def _check(space: ModelSpace, strategy: Strategy, task: Task, crop_size: int, devices: int) -> None:
    name = type(space).__name__
    missing = [member for member in SPACE_MEMBERS if not hasattr(space, member)]
    if not isinstance(space, ModelSpace) or missing:
        raise SettingError(f"space: {name} is no NNI ModelSpace with {', '.join(SPACE_MEMBERS)}; lacks {missing}")
    if not isinstance(strategy, Strategy):
        raise SettingError(f"strategy: {type(strategy).__name__} is no NNI strategy; choose one, such as DARTS")
    if devices < 1:
        raise SettingError(f"devices: {devices}; must be at least 1")
    multiple, channels = cast(Space, space).multiple, space.trace_kwargs.get("out_channels")
    if crop_size % multiple:
        raise SettingError(f"crop_size: {crop_size}; {name} needs a multiple of {multiple}")
    if channels not in (None, task.out_channels):
        raise SettingError(f"space.out_channels: {channels}; the task regresses {task.out_channels} map(s)")


def _described(thing: object, arguments: dict[str, Any]) -> dict[str, Any]:
    """A class and its arguments, as the command line writes them."""
    return {"class_path": path_of(type(thing)), "init_args": arguments}


def _arguments(thing: object) -> dict[str, Any]:
    """The constructor's arguments that an object keeps under their names."""
    names: list[str] = []
    for kind in type(thing).__mro__:
        parameters = inspect.signature(kind).parameters
        names += parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            break  # it passes nothing on to its base
    return {name: vars(thing)[name] for name in names if name in vars(thing)}
