"""Trials through NNI's training service, on this machine, shown by its portal."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

from nni_count.errors import SettingError, TrainingError
from nni_count.runs.run import Stop
from nni_count.searching.job import Job
from nni_count.searching.multi_trial.candidate import Candidate, run_candidate
from nni_count.searching.multi_trial.engine import Experiment
from nni_count.searching.multi_trial.manager import keeping
from nni_count.searching.multi_trial.record import Record, Trials
from nni_count.searching.nni import FunctionalEvaluator, NasExperimentConfig
from nni_count.searching.own_parameters import FOR_NNI


def check_port(trials: Trials) -> int:
    """The port of the portal, a free one where none is given; a :class:`SettingError` where it is in use."""
    port = trials.port or _free_port()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SettingError(f"trials.port: {port} is in use; give another, or none for a free one")
    return port


def search_by_service(
    job: Job, trials: Trials, candidate: Candidate, record: Record, stop: Stop, missing: int, port: int
) -> None:
    """Search as far as trials are missing; see :func:`search_by_trials`."""
    candidate_file = record.run.checkpoints / "candidate.pkl"
    candidate.save(candidate_file)
    evaluator = FunctionalEvaluator(run_candidate, candidate_file=str(candidate_file.resolve()))
    folder = record.run.folder / "nni"
    config = NasExperimentConfig("ts", "simplified", "local")
    config.experiment_name = record.run.folder.name
    config.experiment_working_directory = str(folder.resolve())
    config.max_trial_number = missing
    config.trial_concurrency = trials.concurrency
    config.log_level = "warning"
    config._trial_command_params = {"envs": FOR_NNI}
    experiment = Experiment(job.space, evaluator, job.strategy, config, record=record, stop=stop, total=trials.number)
    with keeping(folder, public=trials.public):
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
