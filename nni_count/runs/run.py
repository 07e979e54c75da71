"""The run folder: every command that takes long writes one, and can continue it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nni_count.errors import Interrupted, RunError
from nni_count.runs.describe import describe
from nni_count.runs.files import UNFINISHED, remove_unfinished, write_text
from nni_count.runs.owner import OWNER, Owner
from nni_count.runs.plain import dump_yaml, parse_yaml, read_text

#: settings that may differ when a run is continued
FREE_ON_RESUME = {
    *("resume", "out", "callbacks", "compute.accelerator", "crops.num_workers", "crops.cache_gb"),
    *("budget.max_epochs", "budget.max_steps", "budget.max_time"),
    *(f"trials.{name}" for name in ("engine", "concurrency", "port", "public", "folder", "timeout", "slurm")),
    # what is advised where the loss is no longer a number
    *("recipe.learning_rate", "recipe.final_learning_rate", "recipe.gradient_clip", "compute.precision"),
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: settings that travel together, of which a newer version may have more
GROUPS = ("budget", "crops", "recipe", "compute", "decoding", "trials")

#: commands that can continue a run
RESUMABLE = ("search", "retrain", "trial", "random search")


@dataclass(frozen=True)
class Run:
    """A folder with ``config.yaml``, ``checkpoints/`` and what the command makes.

    It belongs to this process until the end of a ``with`` block, or until nothing refers to it any more.
    """

    folder: Path
    owner: Owner | None = field(default=None, repr=False, compare=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            error.filename = os.fspath(self.folder)  # of writers that do not tell
        if self.owner is not None:
            self.owner.release()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Where the state to continue from stands, once there is one."""
        return self.checkpoints / "last.ckpt"


def open_run(
    out: str | Path, command: str, settings: Mapping[str, Any], *, resume: bool = False, checkpointed: bool = True
) -> Run:
    """Claim a folder for a run and write its ``config.yaml``, which runs it again from the command line.

    Args:
        out: the folder; made when it is missing.
        command: what runs, e.g. ``retrain``.
        settings: the function's arguments by name.
        resume: continue the run that the folder holds.
        checkpointed: whether it continues from a checkpoint; else the runs within it have theirs.

    Raises:
        RunError: another run is in the folder, it cannot be written, or there is nothing to resume.
    """
    folder = Path(out)
    config_file = folder / "config.yaml"
    configuration = {**describe(settings), "out": os.fspath(out)}
    try:
        if resume:
            _check_resumable(Run(folder), command, configuration, checkpointed)
        else:
            _check_empty(folder, command)
            folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder, Owner(folder), configuration)
        if not resume:
            _check_empty(folder, command)  # another process may have had it meanwhile
        remove_unfinished(folder)
        write_text(config_file, f"# nni-count {command}\n" + dump_yaml(configuration))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error
    return run


def _check_empty(folder: Path, command: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or any(path.name != OWNER and UNFINISHED not in path.name for path in folder.iterdir()):
        remedy = ", or continue that run with --resume" if command in RESUMABLE else ""
        raise RunError(f"{folder}: is not empty; choose another --out{remedy}")


def can_resume(folder: Path) -> bool:
    """Whether a run within a run can be continued; one that ended before its first checkpoint is removed."""
    if (folder / "config.yaml").is_file() and Run(folder).last_checkpoint.is_file():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def check_holds(folder: Path, command: str) -> dict[str, Any]:
    """The settings of a folder's run; a RunError where it holds none, or one of another command."""
    config_file = folder / "config.yaml"
    if not config_file.is_file():
        raise RunError(f"{folder}: holds no run to resume; leave out --resume")
    try:
        text = read_text(config_file)
        settings = parse_yaml(text)
        if not isinstance(settings, dict):
            raise ValueError("no settings by name")
    except (OSError, ValueError) as error:
        raise RunError(f"{config_file}: cannot be read ({error}); begin the run again in another --out") from error
    found = text.partition("\n")[0].removeprefix("# nni-count ")
    if found != command:
        raise RunError(f"{folder}: holds a run of '{found}', not of '{command}'; choose another --out")
    return settings


def _check_resumable(run: Run, command: str, configuration: dict[str, Any], checkpointed: bool) -> None:
    check_same(run.folder, check_holds(run.folder, command), configuration)
    if checkpointed and not run.last_checkpoint.is_file():
        raise RunError(f"{run.folder}: stopped before its first checkpoint; remove it and start again")


def check_same(folder: Path, before: Any, now: Any) -> None:
    """Refuse to go on with settings that are not those with which a run was begun, with a :class:`RunError`."""
    for name, was, other in differences(before, now):
        raise RunError(f"{folder}: was begun with {name} {was!r}, not {other!r}; resume with the same settings")


def differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Settings that two configurations both have and that differ, by their dotted names, but for those that may."""
    if name in FREE_ON_RESUME:
        return
    if name == "data":  # its folder may have moved: the images in it are compared, one by one
        before, now = _without_path(before), _without_path(now)
    groups = isinstance(before, dict) and isinstance(now, dict)
    newer = name in GROUPS and groups and before.keys() <= now.keys()
    if groups and (not name or newer or before.keys() == now.keys()):
        for key in [key for key in now if key in before]:
            yield from differences(before[key], now[key], f"{name}.{key}".lstrip("."))
    elif before != now:
        yield name, before, now


def _without_path(data: Any) -> Any:
    """The settings of data beside the folder."""
    return {n: value for n, value in data.items() if n != "path"} if isinstance(data, dict) else {}


@contextmanager
def graceful_stop() -> Iterator[Stop]:
    """Turn the first Ctrl-C or kill into a request to stop at the end of a step, the second into an immediate end."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    except SystemExit as error:  # how Lightning answers a second Ctrl-C
        if not stop.requested:
            raise
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class Stop:
    """Whether a stop was asked for."""

    requested = False

    def listen(self) -> None:
        """Answer the signals; again once Lightning has put its own answer before ours, which ends within a step."""
        if threading.current_thread() is threading.main_thread():  # signals are not ours elsewhere
            for number in SIGNALS:
                signal.signal(number, self.request)

    def request(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nStopping where it can go on later (Ctrl-C again to stop at once) …", flush=True)

    def interrupt(self, folder: Path, step: int) -> None:
        """Raise :class:`Interrupted` with the line that tells how to go on."""
        raise Interrupted(f"{folder}: interrupted after step {step}; continue with --resume")
