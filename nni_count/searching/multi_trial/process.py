"""A trial in a process of its own, which ends with the process that has begun it, however that ends.

It imports nothing that is slow, so that what a trial takes to start is what its training needs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from nni_count.errors import shortened
from nni_count.runs.memory import keep_memory
from nni_count.runs.states import read_state, write_state


def run(result: Path, candidate: Path, architecture: Path | None = None) -> None:
    """Train an architecture as a candidate says and write its figures, or without one what the candidate learns from.

    Args:
        result: what is written, whole or not at all.
        candidate: where :meth:`Candidate.save` wrote.
        architecture: its file.
    """
    made = cloudpickle.loads(candidate.read_bytes())
    write_state(result, made.run(architecture) if architecture else {"learns_from": made.learns_from()})


@dataclass(frozen=True)
class Job:
    """What submitit calls in a job; see :func:`run` for the files."""

    result: Path
    candidate: Path
    architecture: Path

    def __call__(self) -> None:
        if not self.result.exists():
            run(self.result, self.candidate, self.architecture)

    def checkpoint(self) -> Any:
        """What is queued in its place when it is pre-empted: the same, from its beginning."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Process:
    """:func:`run` in another process; its output stands beside the result, and is removed where all went well.

    Args:
        result, arguments: see :func:`run`.
        environment: beside this process's.
    """

    def __init__(self, result: Path, *arguments: Path, environment: Mapping[str, str] | None = None):
        self.result = result
        self.log = result.with_suffix(".log")
        path = os.pathsep.join(os.path.abspath(place) for place in sys.path)  # it imports what we can
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, result, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **(environment or {})},
                start_new_session=True,  # Ctrl-C is not for it
            )

    def outcome(self) -> dict[str, float] | str | None:
        """The figures, or why there are none; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        self.kill()
        if code == 0:
            self.log.unlink(missing_ok=True)
            return read_state(self.result)
        return failure(self.log, f"killed by signal {-code}" if code < 0 else None)

    def kill(self) -> None:
        """End it, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def failure(log: Path, reason: str | None = None) -> str:
    """Why a trial failed: the reason, else the last line of its output; and where that stands."""
    return f"{reason or shortened(last_line(log) or 'no message', 300)} ({log})"


def last_line(log: Path) -> str:
    """What an output ends with; nothing where there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    said = [line.strip() for line in text.split("\n") if line.strip()]
    return said[-1] if said else ""


def _end_with_parent() -> None:
    os.read(0, 1)  # until the parent's end of the pipe is closed, by whatever
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    run(*map(Path, sys.argv[1:]))
