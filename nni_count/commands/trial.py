"""``nni-count trial``: search, retrain, judge on held-out training images, and report to NNI's portal."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jsonargparse import ArgumentParser

from nni_count.architecture import Architecture, read_architecture
from nni_count.commands.evaluate import evaluate
from nni_count.commands.retrain import retrain as train_network
from nni_count.commands.search import search
from nni_count.data import DataSetting, open_data
from nni_count.data.dataset import Dataset
from nni_count.data.held_out import HeldOut
from nni_count.errors import DataError, Interrupted, SettingError
from nni_count.model import Model, load_trained
from nni_count.pictures.cells import draw_cells
from nni_count.runs.describe import describe
from nni_count.runs.files import write_text
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import can_resume, open_run
from nni_count.runs.states import read_state, write_state
from nni_count.searching.nni import ModelSpace, OneShotStrategy, Random, nni
from nni_count.searching.portal import Report, tell
from nni_count.searching.random_search import RandomBudget, random_search
from nni_count.tasks.task import Task, usual_task
from nni_count.training.names import nested
from nni_count.training.settings import Budget

RESULT = "result.json"
#: what the trial itself gives to the retraining
GIVEN = {"data", "task", "out", "architecture", "resume", "callbacks", "seed"}
#: settings of the search that the retraining shares, unless it is given others
SHARED = {"crops": ("augmentation", "cache_gb", "num_workers"), "compute": ("accelerator",)}


def trial(
    *,
    data: DataSetting,
    space: ModelSpace,
    strategy: OneShotStrategy | Random,
    out: str | Path,
    seed: Annotated[int, Range(0, 4294967295)] = 0,
    task: Task | None = None,
    validation_fraction: Annotated[float, Range(0, 1, above=True, below=True)] = 0.2,
    retrain: Mapping[str, Any] | None = None,
    retrainings: Annotated[int, Range(1, 100)] = 1,
    random: RandomBudget = RandomBudget(),
    resume: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Search, retrain what was found, and judge it on training images that neither has seen.

    In a trial of an NNI experiment the parameters come from NNI, each a setting by its dotted name, over those of the
    command line, and ``out`` is the folder ``run`` in the trial's own. Every epoch of the search is reported to the
    portal, and the figures at the end. A trial that NNI starts again goes on where it was.

    Args:
        data: folder of a data set, or ``synthetic``; its test part is never read.
        space: what is searched.
        strategy: a one-shot strategy, or NNI's ``Random``: architectures are drawn and trained briefly, one after
            another.
        out: run folder; gets ``search``, ``retrain`` and ``evaluation``, each a run folder, and ``result.json``.
        seed: of search and retraining; the validation part is the same for all seeds.
        task: what is regressed; counting by default.
        validation_fraction: share of the training images on which the model is judged.
        retrain: settings of the retraining, e.g. ``{"max_steps": 400}``; see :func:`nni_count.retrain`.
        retrainings: trainings of what was found, with this seed and those that follow it; the figures are their
            means. From two on, ``nni-count compare`` tells what is the strategies' and what is chance of a training.
        random: how long ``Random`` goes on.
        resume: continue the trial in ``out``.
        settings: of the search; see :func:`nni_count.search`.

    Returns:
        What ``result.json`` holds: ``mae`` and ``rmse`` (or the main metric of another task), ``parameters``,
        ``flops`` (an image), ``search_seconds``, ``memory_mb`` (the peak of the search), and how they were obtained.
    """
    check(trial, {"seed": seed, "validation_fraction": validation_fraction, "retrainings": retrainings})
    at_random = isinstance(strategy, Random)
    if at_random and random.seconds is None and random.evaluations is None:
        raise SettingError("random: give a time, --random.seconds, or a number of architectures, --random.evaluations")
    held_out = HeldOut(_open(data), validation_fraction)
    task = task or usual_task()
    training = {**_of_retraining(retrain or {}, settings), "task": task, "seed": seed}
    if at_random and training["recipe"].validation_fraction == 0:
        raise SettingError("retrain.validation_fraction: 0 leaves random search nothing to choose by; give a share")
    everything = {
        "data": held_out.dataset,
        "space": space,
        "strategy": strategy,
        "seed": seed,
        "task": task,
        "validation_fraction": validation_fraction,
        "retrain": retrain,
        "retrainings": retrainings,
        "random": random,
        **settings,
    }
    with open_run(out, "trial", everything, resume=resume, checkpointed=False) as run:
        searched_in = run.folder / "search"

        def trained(architecture: Architecture, folder: Path, **other: Any) -> Model:
            return train_network(
                data=held_out, architecture=architecture, out=folder, resume=can_resume(folder), **{**training, **other}
            )

        def again(architecture: Architecture, number: int) -> tuple[Model, dict[str, Any]]:
            """A training of what was found, and how it is judged."""
            folder, judged = (
                run.folder / (f"{name}_{number}" if number else name) for name in ("retrain", "evaluation")
            )
            finished = folder / "model.safetensors"
            model = (
                load_trained(finished)
                if finished.is_file()
                else trained(architecture, folder, seed=(seed + number) % 2**32)
            )
            can_resume(judged)  # one that was not finished is done again
            return model, evaluate(model=model, data=held_out, split="validation", out=judged)

        try:
            done = run.folder / "search.json"
            if not done.is_file():
                report = Report(task.main_metric)
                if at_random:
                    briefly = {"budget": Budget(max_steps=random.steps)}
                    report.first_step()
                    random_search(
                        space=space,
                        train=lambda found, folder: trained(found, folder, **briefly),
                        out=searched_in,
                        budget=random,
                        settings={**training, **briefly},
                        seed=seed,
                        after=report.after_evaluation,
                        resume=(searched_in / "config.yaml").is_file(),
                    )
                else:
                    search(
                        data=held_out,
                        space=space,
                        strategy=strategy,
                        out=searched_in,
                        seed=seed,
                        task=task,
                        resume=can_resume(searched_in),
                        callbacks=[report],
                        **settings,
                    )
                write_state(done, {**report.facts(), "memory_mb": round(_peak_memory())})
            searched = read_state(done, "search_seconds", "memory_mb")
            architecture = read_architecture(searched_in / "architecture.yaml")
            draw_cells(architecture, searched_in / "cells.png")
            trainings = [again(architecture, number) for number in range(retrainings)]
        except Interrupted as error:
            raise Interrupted(
                f"{run.folder}: interrupted; nni-count trial --config {run.folder}/config.yaml --resume goes on"
            ) from error
        model, evaluation = trainings[0]
        of_task = [name for name in (task.main_metric, "rmse") if name in evaluation]
        figures = {
            **{name: float(np.mean([report[name] for _, report in trainings])) for name in of_task},
            **{name: evaluation[name] for name in ("parameters", "flops")},
            "search_seconds": searched["search_seconds"],
            "memory_mb": searched["memory_mb"],
        }
        result = {
            "strategy": "random" if at_random else type(strategy).__name__,
            "seed": seed,
            "main_metric": task.main_metric,
            "larger_is_better": task.larger_is_better,
            **figures,
            **searched,
            "data": held_out.name,
            "images": evaluation["images"],
            "retraining": {name: model.facts[name] for name in ("steps", "seconds", "training_images")},
            "network": architecture.network,
            "trainings": [report[task.main_metric] for _, report in trainings],
            "verification": architecture.provenance.get("verification"),
        }
        write_text(run.folder / RESULT, json.dumps(result, indent=2) + "\n")
        tell(nni.report_final_result, {"default": figures.pop(task.main_metric), **figures})
        return result


def _open(data: DataSetting) -> Dataset:
    try:
        return open_data(data)
    except DataError as error:
        if "NNI_TRIAL_JOB_ID" not in os.environ:
            raise
        raise DataError(f"{error}; this trial runs on {socket.gethostname()}, which needs the data too") from error


def _of_retraining(given: Mapping[str, Any], of_search: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the retraining, made and checked as the command line would; some are those of the search."""
    parser = ArgumentParser(exit_on_error=False)
    own = parser.add_function_arguments(
        train_network, as_group=False, as_positional=False, fail_untyped=False, skip=GIVEN
    )
    shared = {
        f"{group}.{name}": describe(getattr(of_search[group], name))
        for group, names in SHARED.items()
        for name in names
        if group in of_search
    }
    try:
        made = parser.instantiate_classes(parser.parse_object(nested({**shared, **describe(given)}, ())))
    except Exception as error:  # jsonargparse lets through whatever a constructor raises
        raise SettingError(f"retrain: {' '.join(str(error).split())} (nni-count retrain --help lists them)") from error
    return {name: made[name] for name in {name.partition(".")[0] for name in own}}


def _peak_memory() -> float:
    """Most memory that this process has held, in MiB; the graphics card's where one is used."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
