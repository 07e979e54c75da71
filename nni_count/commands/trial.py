"""A trial of an NNI experiment: search, retrain, judge on held-out training images, and report to the portal."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import psutil
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from nni_count.architecture import Architecture, read_architecture
from nni_count.commands.evaluate import evaluate
from nni_count.commands.retrain import retrain
from nni_count.commands.search import search
from nni_count.data import open_data
from nni_count.data.dataset import Dataset
from nni_count.data.held_out import HeldOut
from nni_count.errors import DataError, Interrupted, RunError, SettingError
from nni_count.model import load_model
from nni_count.pictures.drawing import draw_cells
from nni_count.runs.files import write_text
from nni_count.runs.run import can_resume, open_run
from nni_count.searching.nni import ModelSpace, OneShotStrategy, Random
from nni_count.searching.random_search import random_search
from nni_count.tasks.task import Task, usual_task

#: settings of the search that the retraining shares, unless it is given others
SHARED = ("augmentation", "cache_gb", "num_workers", "accelerator")

#: what a search logs after an epoch, beside the main metric → what the portal calls it
INTERMEDIATE = {
    "alpha_entropy": "alpha_entropy",
    "loss/weights": "loss",
    "loss/architecture": "architecture_loss",
    "cost": "cost",
}

RESULT = "result.json"


def trial(
    *,
    data: str | Path | Dataset,
    space: ModelSpace,
    strategy: OneShotStrategy | Random,
    out: str | Path,
    seed: int = 0,
    data_settings: dict[str, Any] | None = None,
    task: Task | None = None,
    validation_fraction: float = 0.2,
    retrain_settings: dict[str, Any] | None = None,
    random_settings: dict[str, Any] | None = None,
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
        data_settings: the reader's, e.g. ``format`` and ``outside``.
        task: what is regressed; counting by default.
        validation_fraction: share of the training images on which the model is judged.
        retrain_settings: of the retraining, e.g. ``max_steps``; see :func:`nni_count.retrain`.
        random_settings: of ``Random``: ``seconds``, ``evaluations``, and ``steps`` of each short training.
        resume: continue the trial in ``out``.
        settings: of the search; see :func:`nni_count.search`.

    Returns:
        What ``result.json`` holds: ``mae`` and ``rmse`` (or the main metric of another task), ``parameters``,
        ``flops`` (an image), ``search_seconds``, ``memory_mb`` (the peak of the search), and how they were obtained.
    """
    budget = _random_budget(random_settings or {}, needed=isinstance(strategy, Random))
    held_out = HeldOut(_open(data, data_settings or {}), validation_fraction)
    task = task or usual_task()
    shared = {**{name: settings[name] for name in SHARED if name in settings}, "task": task, "seed": seed}
    training = {**shared, **_checked(retrain_settings or {})}
    if isinstance(strategy, Random) and training.get("validation_fraction") == 0:
        raise SettingError("retrain.validation_fraction: 0 leaves random search nothing to choose by; give a share")
    everything = {
        **settings,
        "data": data,
        "space": space,
        "strategy": strategy,
        "seed": seed,
        "data_settings": data_settings,
        "task": task.settings,
        "validation_fraction": validation_fraction,
        "retrain_settings": retrain_settings,
        "random_settings": random_settings,
    }
    run = open_run(out, "trial", everything, resume=resume, checkpointed=False)
    folders = {name: run.folder / name for name in ("search", "retrain", "evaluation")}
    try:
        done = run.folder / "search.json"
        if not done.is_file():
            report = Report(task.main_metric)
            if isinstance(strategy, Random):
                architecture = _at_random(held_out, space, folders["search"], seed, training, budget, report)
            else:
                architecture = search(
                    data=held_out,
                    space=space,
                    strategy=strategy,
                    out=folders["search"],
                    seed=seed,
                    task=task,
                    resume=can_resume(folders["search"]),
                    callbacks=[report],
                    **settings,
                )
            write_text(done, json.dumps({**report.facts(), "memory_mb": round(_peak_memory())}))
        architecture = read_architecture(folders["search"] / "architecture.yaml")
        draw_cells(architecture, folders["search"] / "cells.png")
        if (folders["retrain"] / "model.safetensors").is_file():
            model = load_model(folders["retrain"] / "model.safetensors")
        else:
            model = retrain(
                data=held_out,
                architecture=architecture,
                out=folders["retrain"],
                resume=can_resume(folders["retrain"]),
                **training,
            )
    except Interrupted as error:
        raise Interrupted(
            f"{run.folder}: interrupted; nni-count trial --config {run.folder}/config.yaml --resume goes on"
        ) from error
    can_resume(folders["evaluation"])  # one that was not finished is done again
    evaluation = evaluate(model=model, data=held_out, split="validation", out=folders["evaluation"])
    searched = json.loads(done.read_text())
    of_task = [name for name in (task.main_metric, "rmse") if name in evaluation]
    figures = {
        **{name: evaluation[name] for name in (*of_task, "parameters", "flops")},
        "search_seconds": searched["search_seconds"],
        "memory_mb": searched["memory_mb"],
    }
    result = {
        "strategy": _name(strategy),
        "seed": seed,
        "main_metric": task.main_metric,
        "larger_is_better": task.larger_is_better,
        **figures,
        **searched,
        "data": held_out.name,
        "images": evaluation["images"],
        "retraining": {name: model.facts[name] for name in ("steps", "seconds", "training_images")},
        "network": architecture.network,
    }
    write_text(run.folder / RESULT, json.dumps(result, indent=2) + "\n")
    _report(nni.report_final_result, {"default": figures.pop(task.main_metric), **figures})
    return result


class Report(Timer):
    """Reports every epoch of a search to NNI, and knows how long the search took, interruptions left out.

    Args:
        main_metric: the task's, which the portal draws and the tuner sees.
    """

    def __init__(self, main_metric: str) -> None:
        super().__init__(None)
        self.names = {f"validation_{main_metric}": "default", **INTERMEDIATE}
        self.overhead: float | None = None
        self.evaluations = 0
        self.spent = 0.0

    def facts(self) -> dict[str, Any]:
        """What the search took."""
        seconds = self.spent or self.time_elapsed("train")
        facts = {"search_seconds": round(seconds, 1), "overhead_seconds": self.overhead}
        return {**facts, "evaluations": self.evaluations} if self.evaluations else facts

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.first_step()

    def first_step(self) -> None:
        """Print once how long it took from the start of the process to the first step."""
        if self.overhead is None:
            self.overhead = round(time.time() - psutil.Process().create_time(), 1)
            print(f"first step {self.overhead} s after the start of the process", flush=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        super().on_train_epoch_end(trainer, *args)
        found = {
            shown: float(trainer.callback_metrics[name])
            for name, shown in self.names.items()
            if name in trainer.callback_metrics
        }
        _report(nni.report_intermediate_result, {**found, "epoch": trainer.current_epoch + 1})

    def after_evaluation(self, row: dict[str, float]) -> None:
        """Report an evaluated architecture of the random search: the best figure so far, and its own."""
        self.evaluations += 1
        self.spent += row["seconds"]
        _report(
            nni.report_intermediate_result, {"default": row["best"], "metric": row["metric"], "epoch": self.evaluations}
        )


def _report(send: Callable[[dict[str, float]], None], figures: dict[str, float]) -> None:
    """Tell NNI; a manager that is gone costs no figures, since they are in the run folder."""
    try:
        send(figures)
    except OSError:  # what NNI's channel lets through
        warnings.warn(
            f"NNI's manager does not answer, so the portal lacks {figures}; the run goes on, its figures stay in its "
            "folder, and nni-count compare reads them there",
            stacklevel=2,
        )


def from_nni() -> list[str]:
    """The options that NNI gives to the trial that this process is: ``--name=value``; none outside an experiment.

    Raises:
        RunError: NNI's manager does not answer.
    """
    if "NNI_TRIAL_JOB_ID" not in os.environ:
        return []
    out = Path(os.environ["NNI_OUTPUT_DIR"]) / "run"
    try:
        parameters = nni.get_next_parameter()
    except OSError:
        parameters = None
    if parameters is None:
        raise RunError("NNI's manager does not answer; start it again with nnictl resume ID")
    # what is named comes before its own settings: --strategy before --strategy.warmup_epochs
    names = sorted(parameters, key=lambda name: name.count("."))
    options = [f"--{name}={_text(parameters[name])}" for name in names]
    return [*options, f"--out={out}", *(["--resume"] if (out / "config.yaml").is_file() else [])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _open(data: str | Path | Dataset, settings: dict[str, Any]) -> Dataset:
    try:
        return open_data(data, **settings)
    except DataError as error:
        if "NNI_TRIAL_JOB_ID" not in os.environ:
            raise
        raise DataError(f"{error}; this trial runs on {socket.gethostname()}, which needs the data too") from error


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the retraining, checked and made as the command line would."""
    from jsonargparse import ArgumentParser

    given = {"data", "data_settings", "task", "out", "architecture", "resume", "callbacks", "seed"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(retrain, as_group=False, as_positional=False, fail_untyped=False, skip=given)
    try:
        made = parser.instantiate_classes(parser.parse_object(settings)).as_dict()
    except Exception as error:  # jsonargparse lets through whatever a constructor raises
        raise SettingError(f"retrain: {' '.join(str(error).split())} (nni-count retrain --help lists them)") from error
    return {name: value for name, value in made.items() if name in settings}


def _random_budget(settings: dict[str, Any], *, needed: bool) -> dict[str, Any]:
    """The settings of the random search, checked."""
    known = {"seconds": None, "evaluations": None, "steps": 100}
    for name in settings:
        if name not in known:
            raise SettingError(f"random.{name}: there is no such setting; known: {', '.join(known)}")
    budget = {**known, **settings}
    if needed and budget["seconds"] is None and budget["evaluations"] is None:
        raise SettingError("random: give a time, --random.seconds, or a number of architectures, --random.evaluations")
    return budget


def _at_random(
    data: Dataset,
    space: ModelSpace,
    out: Path,
    seed: int,
    training: dict[str, Any],
    budget: dict[str, Any],
    report: Report,
) -> Architecture:
    report.first_step()
    return random_search(
        data=data,
        space=space,
        out=out,
        seconds=budget["seconds"],
        evaluations=budget["evaluations"],
        seed=seed,
        retrain_settings={**training, "max_steps": budget["steps"], "max_epochs": None, "max_time": None},
        after=report.after_evaluation,
        resume=(out / "config.yaml").is_file(),
    )


def _peak_memory() -> float:
    """Most memory that this process has held, in MiB; the graphics card's where one is used."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _name(strategy: OneShotStrategy | Random) -> str:
    return "random" if isinstance(strategy, Random) else type(strategy).__name__
