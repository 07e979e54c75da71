"""Multi-trial search: a strategy proposes architectures, NNI's training service trains each, its portal shows them."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, cast

import numpy as np

from nni_count.architecture import Architecture
from nni_count.data.origin import keep_parts
from nni_count.errors import RunError, SettingError, TrainingError
from nni_count.runs.run import Run, graceful_stop, open_run
from nni_count.searching.job import Job
from nni_count.searching.multi_trial.candidate import Candidate, run_candidate
from nni_count.searching.multi_trial.engine import Experiment
from nni_count.searching.multi_trial.manager import keeping
from nni_count.searching.multi_trial.record import Record, Trials
from nni_count.searching.nni import (
    FunctionalEvaluator,
    NasExperimentConfig,
    Strategy,
)
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
    candidate = Candidate(
        *job.parts,
        task=job.task,
        recipe=job.recipe,
        crops=job.crops,
        epochs=job.budget.max_epochs,
        limit_batches=job.batches,
        concurrency=trials.concurrency,
        accelerator=job.compute.accelerator,
        seed=job.seed,
    )
    port = trials.port or _free_port()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SettingError(f"trials.port: {port} is in use; give another, or none for a free one")
    with open_run(out, "search", settings, resume=resume) as run:
        keep_parts(run.folder, job.dataset, job.parts)
        record = Record(run, cast(Space, space), job.task, job.provenance, resume=resume)
        missing = trials.number - len(record.trials)
        if missing > 0:
            run.checkpoints.mkdir(exist_ok=True)
            if not resume:
                record.save()
            candidate_file = run.checkpoints / "candidate.pkl"
            candidate.save(candidate_file)
            seed_strategy(strategy, candidate.seed)
            evaluator = FunctionalEvaluator(run_candidate, candidate_file=str(candidate_file.resolve()))
            with graceful_stop() as stop:
                experiment = Experiment(
                    space,
                    evaluator,
                    strategy,
                    _config(run, trials, missing),
                    record=record,
                    stop=stop,
                    total=trials.number,
                )
                _run(experiment, port, run.folder / "nni", public=trials.public)
        if record.best is None:
            raise RunError(
                f"{run.folder}: no trial has finished; see {run.folder / 'nni'}, remove the folder, start again"
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


def seed_strategy(strategy: Strategy, seed: int) -> None:
    """Make the draws of NNI's strategies depend on the run's seed, and let its tuners maximise, as the others do."""
    if hasattr(strategy, "_random_state"):
        strategy._random_state = np.random.RandomState(seed)
    tuner: Any = getattr(strategy, "tuner", None)
    if hasattr(tuner, "rng"):
        tuner.rng = np.random.default_rng(seed)
    if hasattr(tuner, "optimize_mode"):
        tuner.optimize_mode = type(tuner.optimize_mode)("maximize")


def _config(run: Run, trials: Trials, missing: int) -> NasExperimentConfig:
    config = NasExperimentConfig("ts", "simplified", "local")
    config.experiment_name = run.folder.name
    config.experiment_working_directory = str((run.folder / "nni").resolve())
    config.max_trial_number = missing
    config.trial_concurrency = trials.concurrency
    config.log_level = "warning"
    return config


def _run(experiment: Experiment, port: int, folder: Path, *, public: bool) -> None:
    with keeping(folder, public=public):
        try:
            print(f"web portal: http://127.0.0.1:{port}", flush=True)
            experiment.start(port)
            experiment._engine.wait_models()
        except Exception as error:
            process = experiment._proc
            if isinstance(process, Popen) and process.poll() is not None:  # however NNI puts it
                raise TrainingError("NNI's manager ended before the trials; see nni/*/log in the run folder") from error
            raise
        finally:
            with _handling(signal.SIGINT, signal.SIG_IGN):  # a further one would leave the manager and its trials
                experiment.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def _handling(number: signal.Signals, handler: Any) -> Iterator[None]:
    """Answer a signal otherwise."""
    try:
        before = signal.signal(number, handler)
    except ValueError:  # not the main thread: signals are not ours there
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
