"""Trials through a folder: the search's side. Any number of ``nni-count work`` take them."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nni_count.architecture import Architecture, write_architecture
from nni_count.errors import SettingError, TrainingError
from nni_count.runs.owner import Owner
from nni_count.runs.plain import read_text
from nni_count.runs.states import read_state
from nni_count.searching.multi_trial.shared import BEATS, Pulse, Shared, beating, check_alone, move, project

MOST = 10  # workers that may vanish with a trial before it counts as failed


class FolderPool:
    """Offers trials, takes in what workers leave, and offers again what workers have vanished with.

    Args:
        shared: the folder.
        learns_from: :meth:`Candidate.learns_from`.
        run: the folder of the search's run, for those who look here.
        timeout: seconds without a heartbeat after which a worker counts as gone.

    Raises:
        RunError: another search uses the folder, or has left trials in it.
        SettingError: it is the run's own.
    """

    def __init__(self, shared: Shared, learns_from: str, run: Path, timeout: float):
        self.shared = shared
        self.timeout = timeout
        self.out: dict[str, Architecture] = {}
        self.counted: list[str] = []
        self.pulses: dict[str, Pulse] = {}
        self.vanished: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.refusals: set[str] = set()
        self.looked = time.monotonic()
        where = os.fspath(run.resolve())
        if where == os.fspath(shared.path.resolve()):
            raise SettingError(f"trials.folder: {shared.path} is the run's own; give another")
        self.owner = Owner(shared.path)
        self.beat = ExitStack()
        try:
            check_alone(shared, learns_from, where)
        except BaseException:
            self.owner.release()
            raise
        self.search: dict[str, Any] = {
            **{"project": project(), "learns_from": learns_from, "run": where},
            **{"host": socket.gethostname(), "timeout": timeout, "ended": False},
        }

    def begin(self) -> None:
        """Open it for workers; what the same search has left done, or in the hands of workers, is its own."""
        before, shared = self.shared.search() or {}, self.shared
        same = all(before.get(name) == self.search[name] for name in ("learns_from", "project"))
        for place in (shared.waiting, shared.refused, *(() if same else (shared.taken, shared.done))):
            shared.clear(place)
        shared.begin(self.search)
        self.beat.enter_context(beating(shared.beats / "search", min(1.0, self.timeout / BEATS)))

    def submit(self, name: str, architecture: Architecture) -> None:
        self.out[name] = architecture
        if name not in self._there():
            write_architecture(architecture, self.shared.waiting / f"{name}.yaml")

    def ended(self) -> Iterator[tuple[str, dict[str, float] | str]]:
        for name in self.counted:  # which stands in the record by now
            (self.shared.waiting / f"{name}.yaml").unlink(missing_ok=True)
            (self.shared.done / f"{name}.json").unlink(missing_ok=True)
        self.counted = []
        for name in [file.removesuffix(".json") for file in self.shared.names(self.shared.done)]:
            if name in self.out:
                del self.out[name]
                self.counted.append(name)
                found = read_state(self.shared.done / f"{name}.json")
                yield name, str(found["failed"]) if "failed" in found else found
        if time.monotonic() - self.looked > self.timeout / BEATS:
            self.looked = time.monotonic()
            self._look_after_workers()
            yield from self._given_up()

    def close(self, error: type[BaseException] | None, *_: object) -> None:
        """Offer nothing any more; workers end with the search, and wait where it may be continued."""
        self.shared.clear(self.shared.waiting)
        if error is None or issubclass(error, TrainingError):
            for place in (self.shared.taken, self.shared.done):
                self.shared.clear(place)
            self.shared.begin({**self.search, "ended": True})
        self.beat.close()
        self.owner.release()

    def _there(self) -> set[str]:
        """The trials that lie in the folder, whoever has them; one that moves meanwhile may be missing."""
        places = (self.shared.waiting, self.shared.taken, self.shared.done)
        return {name.rpartition(".")[0].partition("@")[0] for place in places for name in self.shared.names(place)}

    def _look_after_workers(self) -> None:
        for file, worker in self.shared.holders().items():
            name = file.partition("@")[0]
            pulse = self.pulses.setdefault(worker, Pulse(self.shared.beats / worker, trusted=True))
            if name not in self.out:  # another has done it
                (self.shared.taken / file).unlink(missing_ok=True)
            elif pulse.still() > self.timeout and move(self.shared.taken / file, self.shared.waiting / f"{name}.yaml"):
                self.vanished[name] += 1
                print(f"worker {worker} has vanished; trial {name} goes to another", flush=True)
        missing = self.out.keys() - self._there()
        for name in missing & self.lost:  # twice in a row: somebody has removed its file
            write_architecture(self.out[name], self.shared.waiting / f"{name}.yaml")
        self.lost = missing
        for worker in {*self.shared.names(self.shared.refused)} - self.refusals:
            self.refusals.add(worker)
            print(f"worker {worker} takes no trials: {read_text(self.shared.refused / worker)}", flush=True)

    def _given_up(self) -> Iterator[tuple[str, str]]:
        for name in [name for name, times in self.vanished.items() if times >= MOST and name in self.out]:
            del self.out[name]
            self.counted.append(name)
            yield name, f"{MOST} workers have vanished with it"
