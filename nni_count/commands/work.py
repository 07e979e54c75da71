"""``nni-count work``: takes trials of a search from a folder that both see, on this machine or another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from nni_count.runs.ranges import Range, check
from nni_count.runs.run import graceful_stop
from nni_count.searching.multi_trial.shared import Shared
from nni_count.searching.multi_trial.worker import Worker


def work(folder: str | Path, *, idle: Annotated[float, Range(0)] | None = None) -> str:
    """Train what a search with ``trials.engine folder`` proposes, until that search has ended.

    Any number of workers may share a folder, on any machines; each trains one architecture at a time. After Ctrl-C or
    SIGTERM it gives its trial back; that of a worker that is killed, or whose machine goes down, is another's after a
    while. Where the search dies, workers finish what they train and wait for its ``--resume``.

    Args:
        folder: ``trials.folder`` of the search, which may begin later.
        idle: seconds without a trial after which the worker ends by itself; by default it stays for the search's end.

    Returns:
        How many trials it has trained.

    Raises:
        SettingError: there is no such folder, or it cannot be written.
        RunError: the search is of another version of the project, or of other images.
        Interrupted: after Ctrl-C, or a kill.
    """
    check(work, {"idle": idle})
    shared = Shared(folder, "folder")
    with graceful_stop() as stop:
        return f"{Worker(shared, stop, idle).work()} trials trained"
