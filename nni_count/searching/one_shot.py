"""One-shot search: the strategy mutates the space, and all choices are trained at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from nni_count.architecture import Architecture
from nni_count.data.origin import keep_parts
from nni_count.data.splits import take_off
from nni_count.errors import Interrupted, RunError, SettingError
from nni_count.networks.devices import find_device
from nni_count.runs.checkpoints import WholeCheckpoints, restoring
from nni_count.runs.loggers import run_loggers
from nni_count.runs.run import Run, graceful_stop, open_run
from nni_count.searching.after_epoch import AfterEpoch, WarmUpBar
from nni_count.searching.certainty import certainty
from nni_count.searching.cost import CostTable, cost_table
from nni_count.searching.decoding import strongest, write
from nni_count.searching.job import Job
from nni_count.searching.nni import Lightning, ModelSpace, OneShotStrategy, Strategy, Trainer, architecture_logits, mend
from nni_count.searching.perturbation import by_perturbation, judging_batches, load_weights
from nni_count.searching.random_search import draw
from nni_count.searching.recipe import SpaceTraining
from nni_count.searching.settings import Decoding
from nni_count.searching.space import PERTURBATION, Space
from nni_count.searching.validation import Validation
from nni_count.searching.verification import distinct, perturbed
from nni_count.searching.warm_up import WarmUp
from nni_count.training.batches import CropLoader, crop_loader


def search_one_shot(
    job: Job,
    out: str | Path,
    settings: dict[str, Any],
    *,
    decoding: Decoding,
    callbacks: list[Callback],
    resume: bool,
) -> list[Architecture]:
    """Train the whole space; after every epoch read an architecture from it.

    Args:
        job: what is searched, by a one-shot strategy.
        out: run folder.
        settings: what its ``config.yaml`` holds.
        decoding: how the architecture is read.
        callbacks: Lightning's, beside our own.
        resume: continue the run in ``out`` from its last whole epoch.

    Returns:
        The architecture that stands in ``architecture.yaml``, and after it others to be verified, if so many are asked
        for: what the search might have found with a little noise on α and β, or any where a strategy has neither.
    """
    strategy = cast(OneShotStrategy, job.strategy)
    budget, compute = job.budget, job.compute
    timer = budget.timer("epoch")
    table = cost_table(cast(Space, job.space), decoding.cost) if decoding.cost else None
    trained = SpaceTraining(job.task, job.recipe, budget.max_epochs, table.penalise if table else None)
    loaders = [
        crop_loader(
            part,
            job.task,
            job.crops,
            stride=cast(Space, job.space).map_stride,
            seed=2 * job.seed + number,
            limit_batches=job.batches,
            cache_bytes=job.crops.cache_bytes // len(job.parts),
            process=compute.process,
            processes=compute.processes,
            with_points=trained.needs_points,
        )
        for number, part in enumerate(job.parts)
    ]
    # a space that the strategy cannot handle is said before a folder is made
    space = mutated(job.space, strategy).to(memory_format=torch.channels_last)
    compute.check(space)
    if table and not architecture_logits(space):
        raise without_alpha(strategy)
    validation = None
    if decoding.validation_images:
        judged = take_off(job.parts[1], decoding.validation_images, job.seed)[1]
        validation = Validation(job.task, judged, loaders[0], job.crops.cache_bytes // 8)
    warm_up = WarmUp(getattr(strategy, "warmup_epochs", 0), budget.max_epochs, timer)
    # the first process opens the folder before Lightning starts the others
    first = compute.process == 0
    opened = open_run(out, "search", settings, resume=resume) if first else Run(Path(out))
    with opened as run, graceful_stop() as stop:
        if first:
            keep_parts(run.folder, job.dataset, job.parts)
        after_epoch = AfterEpoch(
            run,
            stop,
            loaders,
            job.seed,
            job.provenance,
            rule="paper" if decoding.rule == PERTURBATION else decoding.rule,
            table=table,
            validation=validation,
            early_stop=budget.early_stop,
            recipe=job.recipe,
        )
        trainer = Trainer(
            **compute.together(WholeCheckpoints(run)),
            max_epochs=budget.max_epochs,
            num_sanity_val_steps=0,
            log_every_n_steps=job.batches,
            callbacks=[
                warm_up,
                timer,
                after_epoch,  # all processes meet in it, before the first one's bar waits for the others' losses
                WarmUpBar(),
                *callbacks,
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
        _fit(trained, trainer, space, strategy, loaders, run.last_checkpoint if resume else None)
    if first:
        after_epoch.draw_ended(cast(Space, space))
    if first and after_epoch.epochs:
        print(f"\n{certainty(after_epoch.epochs[-1])}", flush=True)
    found, rule = after_epoch.found, after_epoch.rule
    if decoding.rule == PERTURBATION and first:
        found, rule = _perturbed(job, space, run, found), PERTURBATION
        write(
            strongest(cast(Space, space), found["sample"], found["probabilities"], found["provenance"], rule, table),
            run,
        )
    proposals = _proposals(cast(Space, space), found, table, rule, job.seed)
    return distinct(proposals, max(1, budget.verify.candidates))


def _perturbed(job: Job, space: ModelSpace, run: Run, found: dict[str, Any]) -> dict[str, Any]:
    """What :func:`by_perturbation` finds in the checkpoint that ``nni-count decode`` reads."""
    batches = judging_batches(job.parts[1], job.task, job.crops, cast(Space, space).map_stride, job.seed)
    load_weights(space, torch.load(file := run.last_checkpoint, map_location="cpu", weights_only=True), file)
    device = find_device(job.compute.accelerator)
    try:
        return by_perturbation(space, found, batches, job.task, job.seed, device)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"{run.folder}: interrupted in its decoding by perturbation; continue with --resume, or nni-count decode"
        ) from error


def _proposals(
    space: Space, found: dict[str, Any], table: CostTable | None, rule: str, seed: int
) -> Iterator[Architecture]:
    """What the search has found, whatever stands in its folder since, then what it might have found as well."""
    generator = np.random.RandomState(seed)
    learned = found["sample"], found["probabilities"]
    while True:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* won on all kept edges")  # said after the epoch
            proposed = strongest(space, *learned, found["provenance"], rule, table)
        yield proposed
        while not found["probabilities"]:
            yield draw(cast(ModelSpace, space), generator)
        learned = perturbed(found["sample"], found["probabilities"], generator)


def without_alpha(strategy: Strategy) -> SettingError:
    """What is said of a budget for a strategy that has nothing to learn it with."""
    return SettingError(f"cost: {type(strategy).__name__} has no α that could learn to keep to it; choose DARTS")


def mutated(space: ModelSpace, strategy: OneShotStrategy) -> ModelSpace:
    """A space whose choices are all trained at once, in place.

    Raises:
        SettingError: the strategy cannot search it.
    """
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
    training: SpaceTraining,
    trainer: Any,
    space: ModelSpace,
    strategy: OneShotStrategy,
    loaders: list[CropLoader],
    checkpoint: Path | None,
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When using training service", RuntimeWarning)  # we use none
        evaluator = Lightning(training, trainer, *loaders, fit_kwargs={"ckpt_path": checkpoint, "weights_only": True})
        evaluator = strategy.mutate_evaluator(evaluator)
    mend(evaluator.module)
    try:
        with restoring(trainer, checkpoint or Path()):
            evaluator.evaluate(space)
    except RunError as error:
        if "loading state_dict" not in str(error.__cause__):
            raise
        raise RunError(
            f"{checkpoint}: is of another space or strategy than {type(space).__name__} and {type(strategy).__name__}; "
            "resume with those that it was begun with"
        ) from error
