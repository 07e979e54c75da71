"""Trials as jobs of Slurm, through submitit: arrays of them, queued again where they are pre-empted."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nni_count.architecture import Architecture, write_architecture
from nni_count.errors import RunError, SettingError, shortened
from nni_count.runs.states import read_state
from nni_count.searching.multi_trial.process import Job, failure

MINUTES = 60  # of a job, unless timeout_min says otherwise
TOGETHER = 0.3  # seconds without another trial after which those that wait become an array
LATE = 60  # seconds for which a file of another machine may not be seen here


def check_cluster(settings: Mapping[str, Any]) -> None:
    """Refuse with a :class:`SettingError` what cannot work, before anything is computed."""
    if importlib.util.find_spec("submitit") is None:
        raise SettingError('trials.engine: slurm needs submitit; pip install "nni-count[slurm]"')
    if settings.get("cluster", "slurm") == "slurm" and shutil.which("sbatch") is None:
        raise SettingError(
            "trials.engine: slurm, but this machine has no sbatch; start the search where it has, or choose the engine "
            "folder, local or nni"
        )
    _executor(Path("nowhere"), settings)


def _executor(folder: Path, settings: Mapping[str, Any]) -> Any:
    import submitit

    parameters = {"timeout_min": MINUTES, **settings}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=parameters.pop("cluster", "slurm"))
        executor.update_parameters(**parameters)
    except (NameError, ValueError, AssertionError, RuntimeError, TypeError) as error:
        raise SettingError(f"trials.slurm: {' '.join(str(error).split())}") from error
    return executor


def job_name(folder: Path) -> str:
    """By which the jobs of a run are found again."""
    return f"nni-count-{hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()}"


class SlurmPool:
    """Submits trials in arrays.

    Args:
        folder: for the files of the trials and submitit's, on a disk that all nodes see.
        candidate: where :meth:`Candidate.save` wrote.
        settings: submitit's parameters, and ``cluster``.
    """

    def __init__(self, folder: Path, candidate: Path, settings: Mapping[str, Any]):
        self.folder = folder.resolve()
        self.candidate = candidate
        self.executor = _executor(self.folder / "jobs", {**settings, "name": job_name(folder)})
        self.waiting: list[str] = []
        self.last = 0.0
        self.jobs: dict[str, Any] = {}
        self.over: dict[str, float] = {}  # when a job without a result was first seen to have ended

    def submit(self, name: str, architecture: Architecture) -> None:
        write_architecture(architecture, self.folder / f"{name}.yaml")
        self.waiting.append(name)
        self.last = time.monotonic()

    def ended(self) -> Iterator[tuple[str, dict[str, float] | str]]:
        for name, job in list(self.jobs.items()):
            result = self.folder / f"{name}.json"
            if result.exists():
                yield name, read_state(result)
            elif self._has_failed(name, job):
                yield name, failure(job.paths.stderr)
            else:
                continue
            del self.jobs[name]
            (self.folder / f"{name}.yaml").unlink(missing_ok=True)
        if self.waiting and time.monotonic() - self.last > TOGETHER:
            try:
                jobs = self.executor.submit_array([self._job(name) for name in self.waiting])
            except Exception as error:  # submitit raises whatever sbatch has said
                remedy = "correct --trials.slurm, or wait until it takes jobs, and continue with --resume"
                raise RunError(f"trials.slurm: no job was taken ({shortened(str(error), 200)}); {remedy}") from error
            self.jobs |= dict(zip(self.waiting, jobs, strict=True))
            self.waiting = []

    def _job(self, name: str) -> Job:
        return Job(self.folder / f"{name}.json", self.candidate.resolve(), self.folder / f"{name}.yaml")

    def _has_failed(self, name: str, job: Any) -> bool:
        if not job.done():
            self.over.pop(name, None)
            return False
        told = job.paths.result_pickle.exists()  # it says itself that it failed
        return told or time.monotonic() - self.over.setdefault(name, time.monotonic()) > LATE
