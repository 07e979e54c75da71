"""Multi-trial search: a strategy proposes architectures, NNI's training service trains each, its portal shows them."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from nni_count.architecture import Architecture, read_architecture
from nni_count.errors import Interrupted, RunError, SettingError, TrainingError
from nni_count.runs.files import write_text
from nni_count.runs.run import Run, Stop, graceful_stop, open_run
from nni_count.searching.job import Job
from nni_count.searching.multi_trial.candidate import Candidate, run_candidate
from nni_count.searching.multi_trial.record import CombinedSpace, Record, Trial, Trials
from nni_count.searching.nni import (
    FinalMetricEvent,
    FunctionalEvaluator,
    ModelEventType,
    ModelStatus,
    NasExperiment,
    NasExperimentConfig,
    Strategy,
    TrainingEndEvent,
    TrainingServiceExecutionEngine,
)
from nni_count.searching.settings import SearchBudget
from nni_count.searching.space import Space
from nni_count.training.settings import Compute

# we say ourselves why a strategy ends
logging.getLogger("nni.nas.strategy.base").setLevel(logging.CRITICAL)

PATIENCE = 3  # trials that may fail before any succeeds


class Engine(TrainingServiceExecutionEngine):
    """NNI's, which also keeps the models that it trains, and answers those that a resumed run has trained before.

    NNI keeps weak references alone: it loses the results of strategies that keep no models themselves, such as Random.

    Args:
        experiment: which knows the manager.
        record: of the trials.
        stop: whether the user asked for a stop.
        total: trials that are wanted.
    """

    def __init__(self, experiment: NasExperiment, record: Record, stop: Stop, total: int):
        super().__init__(experiment)
        self.record = record
        self.stop = stop
        self.total = total
        self.running: dict[int, tuple[CombinedSpace, Trial]] = {}
        self.submitted = 0
        self._ended: queue.SimpleQueue[CombinedSpace] = queue.SimpleQueue()
        self.register_model_event_callback(ModelEventType.FinalMetric, self._keep_figures)
        self.register_model_event_callback(ModelEventType.TrainingEnd, lambda event: self._ended.put(event.model))

    def submit_models(self, *models: CombinedSpace) -> None:
        for model in models:
            self.submitted += 1
            known = self.record.known(model.sample)
            if known is None:
                self.running[id(model)] = model, Trial(self.submitted, dict(model.sample))
                super().submit_models(model)
            else:
                model.status = ModelStatus.Training
                figure = known.figures[self.record.task.main_metric]
                objective = figure if self.record.task.larger_is_better else -figure
                self.dispatch_model_event(FinalMetricEvent(model, objective))
                self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    def budget_available(self) -> bool:
        self.settle()  # strategies ask again and again, in the main thread
        return self.submitted < self.total and bool(super().budget_available())

    def wait_models(self, *models: Any) -> None:
        while self.running:
            self.settle()
            if self.nodejs_binding.get_status() in ("STOPPED", "ERROR"):
                raise TrainingError("NNI's manager ended before the trials; see nni/*/log in the run folder")
            time.sleep(0.2)

    def settle(self) -> None:
        """Write down what has ended.

        Raises:
            Interrupted: the user asked for a stop.
            TrainingError: the first trials failed, all of them.
        """
        while not self._ended.empty():
            model = self._ended.get()
            if id(model) in self.running:
                _, trial = self.running.pop(id(model))
                self.record.add(trial)
                self._tell(trial)
        if self.stop.requested:
            raise Interrupted(
                f"{self.record.run.folder}: interrupted after {len(self.record.trials)} trials; continue with --resume"
            )

    def _keep_figures(self, event: FinalMetricEvent) -> None:
        if id(event.model) in self.running:
            figures = {name: value for name, value in event.metric.items() if name != "default"}
            self.running[id(event.model)][1].figures.update(figures)

    def _tell(self, trial: Trial) -> None:
        best = self.record.best
        if best is not None:
            name = self.record.task.main_metric
            said = f"failed: {self._last_words()}" if trial.failed else f"{name} {trial.figures[name]:.2f}"
            print(f"trial {trial.number} of {self.total}: {said} (best {best.figures[name]:.2f})", flush=True)
        elif len(self.record.trials) >= min(PATIENCE, self.total):
            raise TrainingError(f"no trial succeeded; the last one ended with: {self._last_words()}")

    def _last_words(self) -> str:
        files = (self.record.run.folder / "nni").glob("*/environments/*/trials/*/trial.stderr")
        newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
        lines = newest.read_text(encoding="utf-8", errors="replace").split("\n") if newest else []
        said = [line.strip() for line in lines if line.strip()]
        return f"{said[-1]} ({newest})" if said else "no message"


class Experiment(NasExperiment):
    """NNI's, with an :class:`Engine` and a :class:`CombinedSpace`."""

    def __init__(self, *arguments: Any, record: Record, stop: Stop, total: int):
        super().__init__(*arguments)
        self._engine_settings = (record, stop, total)

    def execution_engine_factory(self, config: Any) -> Engine:
        return Engine(self, *self._engine_settings)

    def executable_model_factory(self, config: Any) -> CombinedSpace:
        return CombinedSpace.from_model(self.model_space, self.evaluator)

    def _send_space_to_nni_manager(self) -> None:
        """Show the portal the combinations, of which NNI knows no legacy form otherwise."""
        mutables = self._exec_model_space.simplify().items()
        self.update_search_space({label: _legacy(mutable) for label, mutable in mutables})


def _legacy(mutable: Any) -> dict[str, Any]:
    try:
        legacy: dict[str, Any] = mutable.as_legacy_dict()
    except NotImplementedError:
        return {"_type": "choice", "_value": [str(mutable)]}
    return legacy


def search_by_trials(
    job: Job, trials: Trials, out: str | Path, settings: Mapping[str, Any], *, resume: bool
) -> Architecture:
    """Let a multi-trial strategy propose architectures until ``trials.number`` have been trained.

    A strategy with a seed proposes the same again, so a resumed run asks it from the start and answers what has been
    trained from the record; with trials at once, it may propose others after them.

    Args:
        job: what is searched, by a multi-trial strategy.
        trials: how many.
        out: run folder.
        settings: what its ``config.yaml`` holds.
        resume: continue the run in ``out``.

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
    run = open_run(out, "search", settings, resume=resume)
    record = Record(run, cast(Space, space), job.task, job.provenance, resume=resume)
    missing = trials.number - len(record.trials)
    if missing > 0:
        run.checkpoints.mkdir(exist_ok=True)
        if not resume:
            write_text(run.last_checkpoint, "[]")
        candidate_file = run.checkpoints / "candidate.pkl"
        candidate.save(candidate_file)
        seed_strategy(strategy, candidate.seed)
        evaluator = FunctionalEvaluator(run_candidate, candidate_file=str(candidate_file.resolve()))
        with graceful_stop() as stop:
            experiment = Experiment(
                space, evaluator, strategy, _config(run, trials, missing), record=record, stop=stop, total=trials.number
            )
            _run(experiment, port)
    if record.best is None:
        raise RunError(f"{run.folder}: no trial has finished; see {run.folder / 'nni'}, remove the folder, start again")
    return read_architecture(run.folder / "architecture.yaml")


def _check(job: Job) -> None:
    """Refuse what this search would ignore."""
    name = type(job.strategy).__name__
    if job.compute.devices != 1:
        raise SettingError(f"devices: {job.compute.devices}; a trial trains on one, give trials.concurrency instead")
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


def _run(experiment: Experiment, port: int) -> None:
    with _paths_for_trials(), _handling(signal.SIGTERM, _leave):
        try:
            print(f"web portal: http://127.0.0.1:{port}", flush=True)
            experiment.start(port)
            experiment._engine.wait_models()
        finally:
            with _handling(signal.SIGINT, signal.SIG_IGN):  # a further one would leave the manager and its trials
                experiment.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def _paths_for_trials() -> Iterator[None]:
    """Let the processes of the trials import what this one can."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


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
