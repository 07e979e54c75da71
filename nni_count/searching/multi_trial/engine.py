"""NNI's execution engine and experiment, as a multi-trial search needs them."""

from __future__ import annotations

import queue
import time
from typing import Any

from nni_count.errors import Interrupted, TrainingError
from nni_count.runs.run import Stop
from nni_count.searching.multi_trial.record import CombinedSpace, Record, Trial
from nni_count.searching.nni import (
    FinalMetricEvent,
    ModelEventType,
    ModelStatus,
    NasExperiment,
    TrainingEndEvent,
    TrainingServiceExecutionEngine,
)

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
