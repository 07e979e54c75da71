"""NNI's manager as a search keeps it: for this machine alone, however slow to start, and gone when the search is."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from nni_count.errors import TrainingError
from nni_count.runs.files import write_text
from nni_count.searching.multi_trial.watchman import watching
from nni_count.searching.nni import launcher

# it tells of tracebacks what we tell in a line
logging.getLogger("nni.experiment").setLevel(logging.CRITICAL)

#: NNI listens on all interfaces, without a password and without asking
LISTEN_HERE = """const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...others) {
    return listen.apply(this, typeof port === 'number' ? [port, '127.0.0.1', ...others] : [port, ...others]);
};
"""

STUCK = 60  # seconds in which the processor has done nothing for a manager that starts


@contextmanager
def keeping(folder: Path, *, public: bool) -> Iterator[None]:
    """What a manager that is started within needs; afterwards nothing runs on, also where this process is killed.

    Args:
        folder: of its experiments; what a search that was killed has left running there is ended first.
        public: whether it answers other machines too.
    """
    place = str(folder.resolve())
    folder.mkdir(parents=True, exist_ok=True)
    options = {}
    if not public:
        script = folder.resolve() / "listen_here.js"
        write_text(script, LISTEN_HERE)
        options["NODE_OPTIONS"] = f"--require {json.dumps(str(script))}"
    with watching(place, **options):
        yield


def _wait(port: int, *_: object, **__: object) -> None:
    """Wait until a manager answers; NNI's own wait is three tries, and then it tells of JSON."""
    used, since = 0.0, time.monotonic()
    while True:
        with suppress(OSError, ValueError):
            with urllib.request.urlopen(f"http://localhost:{port}/api/v1/nni/check-status", timeout=20) as answer:
                json.load(answer)
            return
        managers = [one for one in psutil.Process().children() if _is_manager(one, port)]
        if not managers:
            raise TrainingError("NNI's manager ended while it started; see nni/*/log in the run folder")
        with suppress(psutil.Error):
            now = sum(managers[0].cpu_times()[:2])
            if now > used:
                used, since = now, time.monotonic()
        if time.monotonic() - since > STUCK:
            raise TrainingError(
                f"NNI's manager has not begun to answer on port {port}; see nni/*/log in the run folder"
            )
        time.sleep(0.2)


def _is_manager(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):  # a child between fork and exec has our own arguments
        return process.status() != psutil.STATUS_ZOMBIE and (
            str(port) in process.cmdline() or process.cmdline() == psutil.Process().cmdline()
        )
    return False


launcher._check_rest_server = _wait
