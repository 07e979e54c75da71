"""Ends what NNI or submitit runs for a search: called, or in a process of its own once the search has ended, however it
did.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def watching(folder: str, *name: str, **environment: str) -> Iterator[None]:
    """End what works in a folder, as :func:`end` does, before and after, also where this process is killed.

    Args:
        folder, name: see :func:`end`.
        environment: of what is started meanwhile, which also imports what this process can.
    """
    end(folder, *name)
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    before = {key: os.environ.get(key) for key in environment}
    nowhere = subprocess.DEVNULL
    watchman = subprocess.Popen(
        [sys.executable, __file__, folder, *name],
        stdin=subprocess.PIPE,
        stdout=nowhere,
        stderr=nowhere,
        start_new_session=True,  # Ctrl-C is not for it
    )
    os.environ.update(environment)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            os.environ.update({} if value is None else {key: value})
        watchman.communicate()


def end(folder: str, *name: str) -> None:
    """End the managers whose experiments are in a folder, their trials, and what these have started.

    Args:
        folder: its absolute path.
        name: of Slurm's jobs, which are taken back.
    """
    if name and shutil.which("scancel"):
        subprocess.run(["scancel", "--me", "--name", *name], check=False)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if _works_in(process, folder):
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
        except psutil.Error:  # it ended meanwhile, or is another user's
            continue
    for number in ("terminate", "kill"):
        for process in found.values():
            try:
                getattr(process, number)()
            except psutil.Error:
                continue
        until = time.monotonic() + 5
        while any(map(_runs, found.values())) and time.monotonic() < until:
            time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # its parent may be long in asking for it
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, folder: str) -> bool:
    arguments = process.cmdline()
    if arguments[-3:-1] == ["-m", "submitit.local._local"]:  # which tries jobs on this machine
        return bool(arguments[-1].startswith(folder + os.sep))
    if "--experiments-directory" in arguments:
        return bool(arguments[arguments.index("--experiments-directory") + 1] == folder)
    return bool(process.environ().get("NNI_OUTPUT_DIR", "").startswith(folder + os.sep))


if __name__ == "__main__":
    sys.stdin.read()  # ends with the process that has the other end
    end(*sys.argv[1:])
