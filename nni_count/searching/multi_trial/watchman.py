"""Ends what NNI runs for a search: called, or in a process of its own once the search has ended, however it did."""

from __future__ import annotations

import os
import sys

import psutil


def end(folder: str) -> None:
    """End the managers whose experiments are in a folder, their trials, and what these have started."""
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
        psutil.wait_procs(list(found.values()), timeout=5)


def _works_in(process: psutil.Process, folder: str) -> bool:
    arguments = process.cmdline()
    if "--experiments-directory" in arguments:
        return bool(arguments[arguments.index("--experiments-directory") + 1] == folder)
    return bool(process.environ().get("NNI_OUTPUT_DIR", "").startswith(folder + os.sep))


if __name__ == "__main__":
    sys.stdin.read()  # ends with the process that has the other end
    end(sys.argv[1])
