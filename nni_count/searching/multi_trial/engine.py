"""NNI's execution engines as a multi-trial search needs them: what trains is its service, or a pool of ours."""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from nni_count.architecture import Architecture
from nni_count.errors import Interrupted, NNICountError, TrainingError
from nni_count.runs.run import Stop
from nni_count.searching.multi_trial.process import last_line
from nni_count.searching.multi_trial.record import CombinedSpace, Record, Trial
from nni_count.searching.nni import (
    ExecutionEngine,
    FinalMetricEvent,
    ModelEventType,
    ModelStatus,
    NasExperiment,
    TrainingEndEvent,
    TrainingServiceExecutionEngine,
)

PATIENCE = 3  # trials that may fail before any succeeds
LOOK = 0.02  # seconds between two looks at what trains


class RecordedEngine(ExecutionEngine):
    """Keeps the models that are trained, and answers those that a resumed run has trained before.

    NNI keeps weak references alone: it loses the results of strategies that keep no models themselves, such as Random.

    Args:
        arguments: of the engine beside it.
        record: of the trials.
        stop: whether the user asked for a stop.
        total: trials that are wanted.
    """

    def __init__(self, *arguments: Any, record: Record, stop: Stop, total: int):
        super().__init__(*arguments)
        self.record = record
        self.stop = stop
        self.total = total
        self.running: dict[int, tuple[CombinedSpace, Trial]] = {}
        self.submitted = 0
        self._ended: queue.SimpleQueue[CombinedSpace] = queue.SimpleQueue()
        self.register_model_event_callback(ModelEventType.FinalMetric, self._keep_figures)
        self.register_model_event_callback(ModelEventType.TrainingEnd, lambda event: self._ended.put(event.model))

    def train(self, model: CombinedSpace, trial: Trial) -> None:
        """Begin a trial, whose events follow."""
        raise NotImplementedError

    def submit_models(self, *models: CombinedSpace) -> None:
        for model in models:
            self.submitted += 1
            known = self.record.known(model.sample)
            if known is None:
                trial = Trial(self.submitted, dict(model.sample))
                self.running[id(model)] = model, trial
                self.train(model, trial)
            else:
                self.answer(model, known.figures)

    def answer(self, model: CombinedSpace, figures: dict[str, float]) -> None:
        """Tell the strategy how a model did, without figures that it failed."""
        model.status = ModelStatus.Training
        if figures:
            figure = figures[self.record.task.main_metric]
            objective = figure if self.record.task.larger_is_better else -figure
            self.dispatch_model_event(FinalMetricEvent(model, {"default": objective, **figures}))
        self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained if figures else ModelStatus.Failed))

    def budget_available(self) -> bool:
        self.settle()  # strategies ask again and again, in the main thread
        return self.submitted < self.total

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
            said = f"failed: {self.last_words(trial)}" if trial.failed else f"{name} {trial.figures[name]:.2f}"
            print(f"trial {trial.number} of {self.total}: {said} (best {best.figures[name]:.2f})", flush=True)
        elif len(self.record.trials) >= min(PATIENCE, self.total):
            raise TrainingError(f"no trial succeeded; the last one ended with: {self.last_words(trial)}")

    def last_words(self, trial: Trial) -> str:
        """What a trial that failed has said."""
        raise NotImplementedError


class ServiceEngine(RecordedEngine, TrainingServiceExecutionEngine):
    """NNI's training service trains, and its manager shows it on the portal."""

    def train(self, model: CombinedSpace, trial: Trial) -> None:
        TrainingServiceExecutionEngine.submit_models(self, model)

    def budget_available(self) -> bool:
        return super().budget_available() and bool(TrainingServiceExecutionEngine.budget_available(self))

    def wait_models(self, *models: Any) -> None:
        while self.running:
            self.settle()
            if self.nodejs_binding.get_status() in ("STOPPED", "ERROR"):
                raise TrainingError("NNI's manager ended before the trials; see nni/*/log in the run folder")
            time.sleep(0.2)

    def last_words(self, trial: Trial) -> str:
        files = (self.record.run.folder / "nni").glob("*/environments/*/trials/*/trial.stderr")
        newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
        said = last_line(newest) if newest else ""
        return f"{said} ({newest})" if said else "no message"


class Pool(Protocol):
    """What trains architectures elsewhere: processes, a folder that workers share, a cluster."""

    def submit(self, name: str, architecture: Architecture) -> None:
        """Take a trial; its name is that of its number and its architecture, the same in a resumed run."""

    def ended(self) -> Iterable[tuple[str, dict[str, float] | str]]:
        """The trials that have ended since the last call, each once: its figures, or why it failed. What was told
        before is in the record by now, and may be forgotten."""


class PoolEngine(RecordedEngine):
    """A :class:`Pool` trains.

    Args:
        pool: which one.
        concurrency: trials that it is given at once.
        others: see :class:`RecordedEngine`.
    """

    def __init__(self, pool: Pool, concurrency: int, **others: Any):
        super().__init__(**others)
        self.pool = pool
        self.concurrency = concurrency
        self.names: dict[str, CombinedSpace] = {}
        self.failed: dict[int, str] = {}

    def train(self, model: CombinedSpace, trial: Trial) -> None:
        try:
            architecture = self.record.space.architecture(model.choices)
        except NNICountError as error:  # a choice that the space does not build
            self.failed[trial.number] = str(error)
            return self.answer(model, {})
        digest = hashlib.blake2b(str(architecture.to_dict()).encode(), digest_size=4).hexdigest()
        name = f"{trial.number:05}-{digest}"
        self.names[name] = model
        model.status = ModelStatus.Training
        self.pool.submit(name, architecture)

    def settle(self) -> None:
        for name, outcome in self.pool.ended():
            model = self.names.pop(name)
            if isinstance(outcome, str):
                self.failed[self.running[id(model)][1].number] = outcome
            self.answer(model, {} if isinstance(outcome, str) else outcome)
        super().settle()

    def idle_worker_available(self) -> bool:
        while len(self.running) >= self.concurrency:  # strategies would sleep for a second
            self.settle()
            time.sleep(LOOK)
        return True

    def wait_models(self, *models: Any) -> None:
        while self.running:
            self.settle()
            time.sleep(LOOK)

    def list_models(self, status: ModelStatus | None = None) -> Iterator[CombinedSpace]:
        return (model for model in self.names.values() if status in (None, model.status))

    def last_words(self, trial: Trial) -> str:
        return self.failed[trial.number]


class Experiment(NasExperiment):
    """NNI's, with a :class:`ServiceEngine` and a :class:`CombinedSpace`."""

    def __init__(self, *arguments: Any, record: Record, stop: Stop, total: int):
        super().__init__(*arguments)
        self._engine_settings = (record, stop, total)

    def execution_engine_factory(self, config: Any) -> ServiceEngine:
        record, stop, total = self._engine_settings
        return ServiceEngine(self, record=record, stop=stop, total=total)

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
