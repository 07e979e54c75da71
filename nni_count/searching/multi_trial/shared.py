"""A folder through which a search and its workers speak, on any machines that share it.

A trial is the file of an architecture. The search puts it into ``waiting``; a worker moves it into ``taken`` under a
name that ends with the worker's, and leaves the figures in ``done``. Every step is a file that appears whole, or an
atomic rename. Who is alive is told by files whose content changes, so that clocks need not agree.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import nni_count
from nni_count.errors import RunError, SettingError
from nni_count.runs.files import UNFINISHED
from nni_count.runs.states import read_state, write_state

BEATS = 10  # of a heart within the time after which it is given up


class Shared:
    """The places in the folder.

    Args:
        path: of the folder.
        setting: that names it.

    Raises:
        SettingError: it is none, or cannot be written.
    """

    def __init__(self, path: str | Path, setting: str):
        self.path = Path(path)
        if not self.path.is_dir():
            raise SettingError(f"{setting}: {path} is no folder; make one that the search and all its workers see")
        try:
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise SettingError(f"{setting}: {path} cannot be written ({error.strerror}); give another") from error
        self.waiting, self.taken, self.done, self.beats, self.refused, self.work = (
            self.path / name for name in ("waiting", "taken", "done", "beats", "refused", "work")
        )
        self.candidate = self.path / "candidate.pkl"
        self.places = (self.waiting, self.taken, self.done, self.beats, self.refused, self.work)
        for file in (*self.places, self.candidate, self.path / "search.json"):
            inside = file != self.work and file.is_dir() and [one for one in file.iterdir() if one.is_dir()]
            if inside or (file.exists() and file.is_dir() != (file in self.places)):
                raise SettingError(f"{setting}: {inside[0] if inside else file} is none of ours; give another folder")

    def begin(self, search: dict[str, Any]) -> None:
        """Say what is searched; workers begin with it."""
        for place in self.places:
            place.mkdir(exist_ok=True)
        write_state(self.path / "search.json", search)

    def search(self) -> dict[str, Any] | None:
        """What :meth:`begin` said last; None before."""
        file = self.path / "search.json"
        if not file.exists():
            return None
        try:
            return read_state(file, "project", "learns_from", "run", "host", "timeout", "ended")
        except RunError as error:
            raise RunError(f"{file}: is damaged; remove what is in the folder, or give another") from error

    @staticmethod
    def clear(place: Path) -> None:
        """Remove the files in a place, where it is there."""
        for file in place.glob("*"):
            file.unlink(missing_ok=True)

    @staticmethod
    def names(place: Path) -> list[str]:
        """The files in a place that are whole, in order."""
        return sorted(name for name in os.listdir(place) if not name.startswith(UNFINISHED))

    def holders(self) -> dict[str, str]:
        """The files of trials that are taken → the worker that has each."""
        return {name: name.partition("@")[2].removesuffix(".yaml") for name in self.names(self.taken)}


def move(source: Path, target: Path) -> bool:
    """Move a file where nobody else has done so before."""
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    return True


class Pulse:
    """Whether whoever writes a file is alive: its content changes, by this machine's clock alone.

    Args:
        path: of the file.
        trusted: whether it counts as alive before the first change.
    """

    def __init__(self, path: Path, *, trusted: bool):
        self.path = path
        self.changed = time.monotonic() if trusted else -float("inf")
        self.seen = self._read()

    def still(self) -> float:
        """For how many seconds nothing has changed."""
        now = self._read()
        if now != self.seen:
            self.seen, self.changed = now, time.monotonic()
        return time.monotonic() - self.changed

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError:
            return b""


@contextmanager
def beating(path: Path, seconds: float) -> Iterator[None]:
    """Change a file's content so often, in place, which other machines see sooner than a new file."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            with suppress(OSError):
                path.write_bytes(os.urandom(8))
            if ended.wait(seconds):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def project() -> str:
    """What computes a trial here: the versions, and a digest of our sources."""
    root = Path(nni_count.__file__).parent
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    torch = metadata.version("torch").partition("+")[0]  # builds for a GPU and without are the same version
    return f"nni-count {metadata.version('nni-count')} of sources {digest.hexdigest()}, torch {torch}"


def check_alone(shared: Shared, learns_from: str, run: str) -> None:
    """Refuse a folder that another search uses, or has left; its lock is held already, where there are locks.

    Raises:
        RunError: naming the run.
    """
    before = shared.search()
    if before is None or before["ended"]:
        return
    if before["host"] != socket.gethostname():
        pulse, end = Pulse(shared.beats / "search", trusted=False), time.monotonic() + 3
        while time.monotonic() < end:
            if pulse.still() < 3:
                raise RunError(f"{shared.path}: {before['run']} on {before['host']} uses it; choose another folder")
            time.sleep(0.2)
    if (before["learns_from"], before["run"]) != (learns_from, run):
        raise RunError(
            f"{shared.path}: holds trials of {before['run']}, which has not ended; continue that, or remove the folder"
        )
