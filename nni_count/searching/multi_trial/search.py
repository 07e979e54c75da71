"""Multi-trial search: a strategy proposes architectures, and what the user has chosen trains each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np

from nni_count.architecture import Architecture
from nni_count.data.origin import keep_parts
from nni_count.errors import RunError, SettingError
from nni_count.runs.run import Stop, graceful_stop, open_run
from nni_count.searching.job import Job
from nni_count.searching.multi_trial.candidate import Candidate
from nni_count.searching.multi_trial.cluster import SlurmPool, check_cluster, job_name
from nni_count.searching.multi_trial.engine import Pool, PoolEngine
from nni_count.searching.multi_trial.folder import FolderPool
from nni_count.searching.multi_trial.local import LocalPool
from nni_count.searching.multi_trial.record import CombinedSpace, Record, Trials
from nni_count.searching.multi_trial.service import check_port, search_by_service
from nni_count.searching.multi_trial.shared import Shared
from nni_count.searching.multi_trial.watchman import watching
from nni_count.searching.nni import Strategy
from nni_count.searching.settings import SearchBudget
from nni_count.searching.space import Space
from nni_count.searching.verification import distinct
from nni_count.training.compute import Compute


def search_by_trials(
    job: Job, trials: Trials, out: str | Path, settings: Mapping[str, Any], *, resume: bool
) -> list[Architecture]:
    """Let a multi-trial strategy propose architectures until ``trials.number`` have been trained.

    A strategy with a seed proposes the same again, so a resumed run asks it from the start and answers what has been
    trained from the record; with trials at once, it may propose others after them.

    Args:
        job: what is searched, by a multi-trial strategy.
        trials: how many.
        out: run folder.
        settings: what its ``config.yaml`` holds.
        resume: continue the run in ``out``.

    Returns:
        The architecture of the best trial, which stands in ``architecture.yaml``; after it those of the next ones, as
        many as are to be verified.

    Raises:
        SettingError: the port is in use, the space cannot be imported by the processes of the trials, or a setting is
            none of a multi-trial search.
        Interrupted: after Ctrl-C.
        TrainingError: the first trials failed, or NNI's manager.
    """
    space, strategy = job.space, job.strategy
    _check(job)
    shared = trials.engine in ("folder", "slurm")  # by several machines, each of which has its own processors
    candidate = Candidate(
        *job.parts,
        task=job.task,
        recipe=job.recipe,
        crops=job.crops,
        epochs=job.budget.max_epochs,
        limit_batches=job.batches,
        concurrency=1 if shared else trials.concurrency,
        accelerator=job.compute.accelerator,
        seed=job.seed,
    )
    with ExitStack() as stack:
        train = _engine(trials, candidate, Path(out), stack)
        run = stack.enter_context(open_run(out, "search", settings, resume=resume))
        keep_parts(run.folder, job.dataset, job.parts)
        record = Record(run, cast(Space, space), job.task, job.provenance, resume=resume)
        missing = trials.number - len(record.trials)
        if missing > 0:
            run.checkpoints.mkdir(exist_ok=True)
            if not resume:
                record.save()
            seed_strategy(strategy, job.seed)
            with graceful_stop() as stop:
                train(job, record, stop, missing)
        if record.best is None:
            raise RunError(
                f"{run.folder}: no trial has finished; see what stands there, remove the folder, start again"
            )
        return distinct(record.ranked(), max(1, job.budget.verify.candidates))


def _check(job: Job) -> None:
    """Refuse what this search would ignore."""
    name = type(job.strategy).__name__
    if job.compute.processes != 1:
        raise SettingError(f"devices: {job.compute.processes}; a trial trains on one, give trials.concurrency instead")
    if job.compute.precision != Compute().precision:
        raise SettingError(f"precision: {job.compute.precision}; the trials of {name} train in 32-true, leave it out")
    if job.budget.max_time is not None:
        raise SettingError(
            f"max_time: {job.budget.max_time}; {name} ends after its trials, give trials.number and max_epochs"
        )
    if job.budget.early_stop != SearchBudget().early_stop:
        raise SettingError(f"early_stop: of one-shot searches; {name} ends after trials.number, leave it out")
    if type(job.space).__module__ == "__main__":
        raise SettingError(
            f"space: {type(job.space).__name__} stands in the script that runs, from which trials cannot import it; "
            "put it into a module of its own"
        )


Search = Callable[[Job, Record, Stop, int], None]


def _engine(trials: Trials, candidate: Candidate, out: Path, stack: ExitStack) -> Search:
    """What searches with the trials' engine; refuses what cannot work before the run folder is touched."""
    if trials.engine == "nni":
        port = check_port(trials)
        return lambda job, record, stop, missing: search_by_service(job, trials, candidate, record, stop, missing, port)
    folder, file = out / "trials", out / "checkpoints" / "candidate.pkl"
    shared = None
    if trials.engine == "slurm":
        check_cluster(trials.slurm or {})
    if trials.folder is not None:
        shared = FolderPool(Shared(trials.folder, "trials.folder"), candidate.learns_from(), out, trials.timeout)
        stack.push(shared.close)

    def search(job: Job, record: Record, stop: Stop, missing: int) -> None:
        candidate.save(file)
        pool: Pool
        if shared is not None:
            candidate.save(shared.shared.candidate)
            shared.begin()
            pool = shared
        elif trials.engine == "slurm":
            stack.enter_context(watching(str(folder.resolve()), job_name(folder)))
            pool = SlurmPool(folder, file, trials.slurm or {})
        else:
            pool = LocalPool(folder, file, trials.concurrency, candidate.accelerator)
            stack.callback(pool.close)
        engine = PoolEngine(pool, trials.concurrency, record=record, stop=stop, total=trials.number)
        job.strategy(CombinedSpace.from_model(job.space), engine)
        engine.wait_models()

    return search


def seed_strategy(strategy: Strategy, seed: int) -> None:
    """Make the draws of NNI's strategies depend on the run's seed, and let its tuners maximise, as the others do."""
    if hasattr(strategy, "_random_state"):
        strategy._random_state = np.random.RandomState(seed)
    tuner: Any = getattr(strategy, "tuner", None)
    if hasattr(tuner, "rng"):
        tuner.rng = np.random.default_rng(seed)
    if hasattr(tuner, "optimize_mode"):
        tuner.optimize_mode = type(tuner.optimize_mode)("maximize")
