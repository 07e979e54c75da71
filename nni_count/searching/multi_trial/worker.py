"""A worker: takes trials from a folder, one after another, until the search that puts them there has ended."""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from nni_count.errors import Interrupted, RunError, shortened
from nni_count.runs.files import write_text
from nni_count.runs.run import Stop
from nni_count.runs.states import write_state
from nni_count.searching.multi_trial.process import Process
from nni_count.searching.multi_trial.shared import BEATS, Pulse, Shared, beating, move, project

LOOK = 0.02  # seconds between two looks at a trial
LONGEST = 1.0  # between two looks for one


class Worker:
    """One trial at a time.

    Args:
        shared: the folder.
        stop: whether the user asked for a stop.
        idle: seconds without a trial after which it ends; None for the end of the search.
    """

    def __init__(self, shared: Shared, stop: Stop, idle: float | None):
        self.shared = shared
        self.stop = stop
        self.idle = idle
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self.done = 0

    def work(self) -> int:
        """Take trials; returns how many.

        Raises:
            RunError: the search is of another version of the project, or of the data.
            Interrupted: the user asked for a stop; the trial is given back.
        """
        search = self._search()
        while search is not None:
            self._check(search)
            with beating(self.shared.beats / self.name, search["timeout"] / BEATS):
                search = self._work_for(search)
        return self.done

    def _search(self) -> dict[str, Any] | None:
        """The search, once there is one; None where none has come in time."""
        begun = time.monotonic()
        while (search := self.shared.search()) is None:
            if self._wait(LONGEST, begun):
                return None
        if search["ended"]:
            print(f"{search['run']} has ended; begin the next search in this folder before its workers", flush=True)
            return None
        return search

    def _wait(self, seconds: float, since: float) -> bool:
        """Wait for a while; whether it has been for long enough."""
        if self.stop.requested:
            raise Interrupted(f"{self.shared.path}: stopped after {self.done} trials; start nni-count work again")
        time.sleep(seconds)
        return self.idle is not None and time.monotonic() - since > self.idle

    def _check(self, search: dict[str, Any]) -> None:
        here = project()
        if here != search["project"]:
            self._refuse(f"it has {here}, and the search {search['project']}; install the same on both")
        process = Process(self.shared.work / f"{self.name}.json", self.shared.candidate)
        while (found := process.outcome()) is None:
            self._wait(LOOK, time.monotonic())
        process.result.unlink(missing_ok=True)
        if isinstance(found, str):
            self._refuse(f"it cannot read what is to be done: {found}")
        elif found["learns_from"] != search["learns_from"]:
            self._refuse(
                "its training images are not those of the search; they must be the same files at the same paths"
            )

    def _refuse(self, why: str) -> None:
        write_text(self.shared.refused / self.name, why)
        raise RunError(f"{self.shared.path}: this worker takes no trials of {self._run()}: {shortened(why, 300)}")

    def _run(self) -> str:
        return str((self.shared.search() or {}).get("run"))

    def _work_for(self, search: dict[str, Any]) -> dict[str, Any] | None:
        """Until the folder's search is another; returns that, or None where the work has ended."""
        pulse = Pulse(self.shared.beats / "search", trusted=False)
        since, wait, told = time.monotonic(), LOOK, False
        while True:
            now = self.shared.search()
            if now is None or now["ended"]:
                return None
            if now != search:
                return now
            silent = pulse.still()
            if silent < search["timeout"] and (name := self._take()):
                self._train(name)
                since, wait, told = time.monotonic(), LOOK, False
                continue
            if search["timeout"] < silent < float("inf") and not told:
                told = True
                print(f"{search['run']} has not been heard of for {silent:.0f} s; waiting for its --resume", flush=True)
            wait = min(1.3 * wait, LONGEST)
            if self._wait(wait, since):
                return None

    def _take(self) -> str | None:
        names = self.shared.names(self.shared.waiting)
        random.shuffle(names)  # else all reach for the same one
        for name in (name.removesuffix(".yaml") for name in names):
            if move(self.shared.waiting / f"{name}.yaml", self._mine(name)):
                return name
        return None

    def _mine(self, name: str) -> Path:
        return self.shared.taken / f"{name}@{self.name}.yaml"

    def _train(self, name: str) -> None:
        begun = looked = time.monotonic()
        mine, done = self._mine(name), self.shared.done / f"{name}.json"
        process = Process(self.shared.work / f"{name}@{self.name}.json", self.shared.candidate, mine)
        try:
            while (outcome := process.outcome()) is None:
                self._wait(LOOK, begun)
                if time.monotonic() - looked > LONGEST:
                    if not mine.exists():
                        break
                    looked = time.monotonic()
        except Interrupted:
            move(mine, self.shared.waiting / f"{name}.yaml")
            raise
        finally:
            process.kill()
        if not mine.exists():
            process.result.unlink(missing_ok=True)
            print(f"trial {name}: is another's by now, or no longer wanted", flush=True)
            return
        if isinstance(outcome, str):
            write_state(done, {"failed": outcome})
        else:
            process.result.replace(done)
        mine.unlink(missing_ok=True)
        self.done += 1
        words = f"failed: {outcome}" if isinstance(outcome, str) else f"{time.monotonic() - begun:.1f} s"
        print(f"trial {name}: {words}", flush=True)
