"""Where whatever went wrong becomes one line and an exit code."""

from __future__ import annotations

import codecs
import errno
import io
import os
import platform
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import metadata
from typing import IO, Any

from nni_count.errors import Interrupted, NNICountError

#: what libraries in C have said, of each call of a command
_SAID: list[IO[bytes]] = []

MEMORY = {
    **dict.fromkeys(("retrain", "search", "trial"), "lower --batch_size, --crop_size or --cache_gb"),
    **dict.fromkeys(("evaluate", "doctor"), "lower --data.max_side"),
    "demo": "end what else runs",
}
REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "choose a folder that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "it may have been moved or removed; check the path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk",
}
#: in what PyTorch says where another process can no longer be heard
BETWEEN_PROCESSES = ("by peer", "gloo", "nccl", "remote process exited")


def answer(error: BaseException, command: str) -> tuple[str, int]:
    """The line and the exit code for what ended a command: 130 where it was interrupted, else 2.

    What nobody foresaw is one line as well; its traceback is in a log that the line names.
    """
    from nni_count.runs.memory import is_for_memory
    from nni_count.runs.run import RESUMABLE

    again = "continue with --resume" if command in RESUMABLE else "run it again in another --out"
    again = "start it again" if command == "work" else again
    if isinstance(error, Interrupted):
        return str(error) if command in (*RESUMABLE, "work") else f"interrupted; {again}", 130
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):  # in a class's body
        resumable = "; continue with --resume if the run has a checkpoint" if command in RESUMABLE else ""
        return f"interrupted{resumable}", 130
    if isinstance(error, NNICountError):
        return str(error), 2
    said = str(error).lower()
    system = isinstance(error, OSError) and error.errno is not None
    if is_for_memory(error):
        return f"not enough memory ({_first_line(error)}); {MEMORY.get(command, 'give smaller images')}", 2
    if "dataloader worker" in said:
        return f"a process that prepares batches was ended, for want of memory perhaps; lower --num_workers, {again}", 2
    if isinstance(error, RuntimeError) and any(word in said for word in BETWEEN_PROCESSES):
        return f"one of the processes that train together has ended; {again}", 2
    if isinstance(error, OSError) and system:
        what = error.strerror or os.strerror(error.errno or 0)
        remedy = REMEDIES.get(error.errno or 0)
        place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else "the system"
        return f"{place}: {what}; {f'{remedy}, then ' if remedy else ''}{again}", 2
    return (
        f"{type(error).__name__}: {_first_line(error)}; this is a fault of NNI-Count's: report it, with {_log(error)}",
        2,
    )


def tell(line: str) -> None:
    """Write a line of ours on stderr, below a bar that stands there."""
    if getattr(sys.stdout, "inline", False):
        with suppress(OSError):  # no room
            print(flush=True)
    print("\n" * getattr(sys.stderr, "inline", False) + f"nni-count: {line}", file=sys.stderr)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _log(error: BaseException) -> str:
    """Where the traceback was written."""
    versions = {name: metadata.version(name) for name in ("nni-count", "torch") if _installed(name)}
    head = (
        f"nni-count {' '.join(sys.argv[1:])}\n{platform.platform()}, Python {platform.python_version()}, {versions}\n"
    )
    try:
        handle, name = tempfile.mkstemp(prefix="nni-count-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + "".join(traceback.format_exception(error)))
            for said in _SAID[-1:]:
                said.seek(0)
                file.write(said.read().decode(errors="replace"))
    except OSError as full:
        return f"the traceback, for which there was no room in {tempfile.gettempdir()} ({full.strerror})"
    return name


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:  # run from its sources
        return False


@contextmanager
def guarded() -> Iterator[None]:
    """Answer a kill as Ctrl-C is answered, go on where nobody reads the output any more (``| head``), and let libraries
    in C, which write of damaged images past Python, speak to the log alone.
    """
    _open_streams()
    main = threading.current_thread() is threading.main_thread()  # signals are not ours elsewhere
    before = signal.signal(signal.SIGTERM, _interrupt) if main else None
    of_threads, threading.excepthook = threading.excepthook, _to_log
    try:
        with _own_stderr() as stderr, redirect_stdout(Patient(sys.stdout)), redirect_stderr(Patient(stderr)):
            yield
    finally:
        threading.excepthook = of_threads
        if main:
            signal.signal(signal.SIGTERM, before)


def _open_streams() -> None:
    """Where a caller has closed a stream (``>&-``), what is said is dropped; a file would get its number else."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as Python runs


@contextmanager
def _own_stderr() -> Iterator[Any]:
    """What Python writes to instead of descriptor 2, which is a file without a name meanwhile."""
    try:
        ours = os.dup(2)
        _SAID.append(tempfile.TemporaryFile())  # noqa: SIM115 - closed below
    except OSError:  # it is closed, or there is no room
        yield sys.stderr
        return
    os.dup2(_SAID[-1].fileno(), 2)
    try:
        # not closed, since handlers of logs keep it
        yield open(os.dup(ours), "w", encoding=sys.stderr.encoding, buffering=1) if _is_two(sys.stderr) else sys.stderr  # noqa: SIM115
    finally:
        os.dup2(ours, 2)
        os.close(ours)
        _SAID.pop().close()


def _to_log(failed: threading.ExceptHookArgs) -> None:
    """What ends a thread of a library, such as tensorboard's, which tells the one that waits for it."""
    os.write(2, "".join(traceback.format_exception(failed.exc_value)).encode(errors="replace"))


def _is_two(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 2)
    except (OSError, ValueError, AttributeError):  # it writes to no file
        return False


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a stream shows in place of letters that its encoding has not; bytes of file names stay."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.lookup_error("backslashreplace")(error)


codecs.register_error("nni-count", _shown)


class Patient:
    """A stream whose reader may leave: what is written after that is dropped.

    Letters that it cannot show are escaped.
    """

    inline = False  # whether a line is begun, such as a bar

    def __init__(self, stream: Any):
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nni-count" if stream is sys.stdout else "backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self.inline = text[-1] not in "\r\n" if text else self.inline
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
