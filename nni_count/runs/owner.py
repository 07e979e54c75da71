"""A run folder belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from pathlib import Path
from typing import IO

from nni_count.errors import RunError

OWNER = ".owner"


class Owner:
    """This process's hold on a folder, until it is released or the process ends, however it does.

    The file names process and host. What counts is the lock on it, which the system drops with the process, so that a
    file that was left behind is nobody's.

    Raises:
        RunError: another process holds it.
    """

    process = 0  # of the one that holds it, once it does

    def __init__(self, folder: Path):
        self.path = folder / OWNER
        self.file = _locked(self.path)
        self.process = os.getpid()
        self.file.truncate(0)
        self.file.write(f"process {self.process} on {socket.gethostname()}")
        self.file.flush()
        _OWNERS.add(self)

    def release(self) -> None:
        """Let others have the folder."""
        if self.process == os.getpid() and not self.file.closed:
            self.path.unlink(missing_ok=True)
            self.file.close()

    __del__ = release


def _locked(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise RunError(f"{path.parent}: {holder} is running it; wait for its end, or end it") from None
        except OSError:
            return file  # a file system without locks: nobody can tell
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # the one before has just removed it


_OWNERS: weakref.WeakSet[Owner] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A process that is forked would hold the lock beyond the end of the one that has it."""
    for owner in list(_OWNERS):
        owner.file.close()


os.register_at_fork(after_in_child=_leave_to_parent)
