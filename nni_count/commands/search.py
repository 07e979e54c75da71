"""``nni-count search``: a space, a strategy and data become an architecture."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from nni_count.architecture import Architecture
from nni_count.commands.retrain import retrain
from nni_count.data import DataSetting, open_data
from nni_count.data.dataset import Dataset
from nni_count.errors import Interrupted, SettingError
from nni_count.model import Model
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import Run, can_resume
from nni_count.searching.decoding import write
from nni_count.searching.job import Job, prepare
from nni_count.searching.multi_trial.record import Trials
from nni_count.searching.multi_trial.search import search_by_trials
from nni_count.searching.nni import ModelSpace, OneShotStrategy, Strategy
from nni_count.searching.one_shot import search_one_shot
from nni_count.searching.settings import Decoding, SearchBudget
from nni_count.searching.verification import verify
from nni_count.tasks.task import Task, usual_task
from nni_count.training.compute import Compute
from nni_count.training.settings import Budget, Crops, Recipe, TrainingRecipe

VALIDATION = 0.2  # the share of the training images on which candidates are compared


def search(
    *,
    data: DataSetting,
    space: ModelSpace,
    strategy: Strategy,
    out: str | Path,
    budget: SearchBudget = SearchBudget(),
    crops: Crops = Crops(),
    recipe: Recipe = Recipe(),
    decoding: Decoding = Decoding(),
    trials: Trials = Trials(),
    task: Task | None = None,
    compute: Compute = Compute(),
    seed: Annotated[int, Range(0, 4294967295)] = 0,
    resume: bool = False,
    callbacks: list[Callback] | None = None,
) -> Architecture:
    """Search a space on the training images, one half for the weights and one for the architecture.

    The defaults are the paper's recipe (NAS-Count, section 4.1.1), without its warm-up, which is the strategy's
    ``warmup_epochs``. The test part is never read.

    Args:
        data: folder of a data set (its layout is recognised), or ``synthetic``; with settings of its reader as
            ``{"path": ..., "max_side": 1024}``.
        space: what is searched, an NNI model space that is a :class:`nni_count.searching.space.Space`. It stays as it
            is: one with its settings is built anew, so that its weights start from the seed.
        strategy: what searches it, ours or NNI's. A one-shot strategy trains all choices at once. A multi-trial one,
            such as Random, proposes architectures; each is trained on the half for the weights, in a process of NNI's
            training service, and judged by the task's main metric on the half for the architecture.
        out: run folder; after every epoch, or every trial, it holds ``architecture.yaml``, ``cells.png``,
            ``metrics.csv`` and ``checkpoints/last.ckpt``.
        budget: how long to search, and how candidates are verified by short trainings at its end: these get
            ``verification`` in the run folder.
        crops: what a step learns from.
        recipe: how the weights are trained.
        decoding: how a one-shot search reads its architecture after an epoch, and judges it.
        trials: how many architectures a multi-trial strategy tries, and NNI's portal.
        task: what is regressed; counting by default.
        compute: on what.
        seed: of the halves, the first weights, α, β and the crops.
        resume: continue the run in ``out`` from its last whole epoch, or trial.
        callbacks: Lightning's, beside our own, of a one-shot search.

    Returns:
        The architecture that stands in ``architecture.yaml``.

    Raises:
        SettingError: the space, the strategy or a setting does not fit or would be ignored, or no architecture is
            within the budget; before anything is trained.
        TrainingError: the loss is no longer a number; the checkpoint of the epoch before is kept.
        Interrupted: after Ctrl-C; a second one is a KeyboardInterrupt.
    """
    check(search, {"seed": seed})
    task = task or usual_task()
    compute.warn()
    first = compute.process == 0
    dataset = open_data(data)
    pl.seed_everything(seed, verbose=False)
    job = prepare(
        dataset,
        space,
        strategy,
        task,
        crops=crops,
        recipe=recipe,
        budget=budget,
        compute=compute,
        seed=seed,
        begun=out if resume else None,
    )
    settings = {
        "data": dataset,
        "space": job.space,
        "strategy": strategy,
        "budget": budget,
        "crops": crops,
        "recipe": recipe,
        "task": task,
        "compute": compute,
        "seed": seed,
    }
    if isinstance(strategy, OneShotStrategy):
        if trials != Trials():
            raise SettingError(f"trials: {type(strategy).__name__} is a one-shot strategy and makes none; leave it out")
        candidates = search_one_shot(
            job, out, {**settings, "decoding": decoding}, decoding=decoding, callbacks=callbacks or [], resume=resume
        )
    else:
        if decoding != Decoding() or callbacks:
            what = "callbacks" if callbacks else "decode, cost and validation_images"
            raise SettingError(
                f"{what}: of one-shot searches; {type(strategy).__name__} tries architectures, leave it out"
            )
        candidates = search_by_trials(job, trials, out, {**settings, "trials": trials}, resume=resume)
    if not budget.verify.candidates or not first:
        return candidates[0]
    return _verified(candidates, job, dataset, Run(Path(out)))


def _verified(candidates: list[Architecture], job: Job, dataset: Dataset, run: Run) -> Architecture:
    """The best of the candidates after short trainings, which then stands in the run folder."""

    def train(architecture: Architecture, folder: Path, seconds: int) -> Model:
        return retrain(
            data=dataset,
            out=folder,
            architecture=architecture,
            task=job.task,
            budget=Budget(max_time=f"{seconds // 86_400:02}:{time.strftime('%H:%M:%S', time.gmtime(seconds))}"),
            crops=job.crops,
            recipe=TrainingRecipe(validation_fraction=VALIDATION, loss=job.recipe.loss),
            compute=replace(job.compute, devices=1, num_nodes=1),
            seed=job.seed,
            resume=can_resume(folder),
        )

    try:
        best = verify(candidates, train, run.folder / "verification", job.budget.verify, job.task)
    except Interrupted as error:
        raise Interrupted(f"{run.folder}: interrupted in its verification; continue with --resume") from error
    write(best, run)
    return best
