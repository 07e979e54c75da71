"""How processes that train together were started, by torchrun, Slurm or Lightning itself, and how they meet."""

from __future__ import annotations

import os
import signal
import socket
import threading
from functools import cache
from typing import Any

from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import DDPStrategy

from nni_count.errors import Interrupted, SettingError
from nni_count.runs.run import SIGNALS

#: what a process that Lightning has started is told
TOLD = ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: what each machine is told where nobody else starts the processes
MACHINE = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
#: who started the processes of this machine
PARENT = "NNI_COUNT_PARENT"
LOOK = 0.2  # seconds between two looks whether all are there, or a signal is


def environment(devices: int, num_nodes: int) -> ClusterEnvironment:
    """Which of the processes this is, and where they meet; one that trains alone does not ask what others were told.

    Raises:
        SettingError: what it was told does not fit the settings, or is told by half.
    """
    found: ClusterEnvironment = LightningEnvironment()
    if devices * num_nodes == 1:
        found.set_global_rank(0)
        return found
    try:
        tasks = int(os.environ.get("SLURM_NTASKS", 0))  # where it is one, that starts the others
        if tasks > 1 and SLURMEnvironment.detect():
            found = SLURMEnvironment()
        elif TorchElasticEnvironment.detect():
            found = TorchElasticEnvironment()
        else:
            _check_told(num_nodes)
        found.validate_settings(devices, num_nodes)
        own, total = _number(found, devices), devices * num_nodes
        world = total if isinstance(found, LightningEnvironment) else found.world_size()
        if not (0 <= own < total == world and 0 <= found.local_rank() < devices):
            raise ValueError(f"this is process {own} of {world}, {found.local_rank()} on machine {found.node_rank()}")
        _check_place(os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT"))
    except (ValueError, RuntimeError, KeyError) as error:
        told = f"{error} is not set" if isinstance(error, KeyError) else str(error)[:200]
        remedy = "start it by torchrun, by srun with --ntasks-per-node, or without what they set"
        raise SettingError(f"devices: {devices}, on {num_nodes} machine(s); {told}; {remedy}") from error
    return found


@cache
def _check_place(address: str | None, port: str | None) -> None:
    """Raise a ValueError where nobody can meet there; it asks the network, so once is enough."""
    if port and not 0 < int(port) < 65536:
        raise ValueError(f"MASTER_PORT is {port}")
    try:
        if address:
            socket.getaddrinfo(address, None)
    except OSError as error:
        raise ValueError(f"MASTER_ADDR is {address}, which is not known here") from error


def _check_told(num_nodes: int) -> None:
    """Raise a ValueError where it is told by half that somebody else starts the processes."""
    begun = [name for name in ("RANK", "LOCAL_RANK") if name in os.environ]
    expected = TOLD if begun else MACHINE if num_nodes > 1 else ()
    missing = [name for name in expected if name not in os.environ] + ["TORCHELASTIC_RUN_ID"] * ("RANK" in begun)
    if missing:
        raise ValueError(f"{begun[0]} is set, {missing[0]} is not" if begun else f"{missing[0]} is not set")


def number(devices: int, num_nodes: int) -> int:
    """Which of the processes this is, from 0; :class:`SettingError` as :func:`environment`."""
    return _number(environment(devices, num_nodes), devices) if devices * num_nodes > 1 else 0


def _number(found: ClusterEnvironment, devices: int) -> int:
    own = int(found.local_rank())
    if isinstance(found, LightningEnvironment):  # which knows the other once its strategy has told it
        return int(found.node_rank()) * devices + own
    return int(found.global_rank())


class Meeting(DDPStrategy):
    """Lightning's DDP, in which Ctrl-C ends the wait for processes that do not come; so does the end of the one that
    started this one.
    """

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.parent = os.environ.get(PARENT) if "LOCAL_RANK" in os.environ else None
        if self.parent is None:
            os.environ[PARENT] = str(os.getpid())

    def setup_distributed(self) -> None:
        main = threading.current_thread() is threading.main_thread()  # signals are not ours elsewhere
        before = {signum: signal.signal(signum, _interrupt) for signum in SIGNALS if main}
        failed: list[BaseException] = []

        def meet() -> None:
            try:
                super(Meeting, self).setup_distributed()
            except BaseException as error:
                failed.append(error)

        # torch waits without a look at signals, so another thread does
        thread = threading.Thread(target=meet, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                if self.parent and str(os.getppid()) != self.parent:
                    _interrupt()
                thread.join(LOOK)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
        for error in failed:
            raise error


def _interrupt(*_: Any) -> None:
    raise Interrupted("interrupted while it waited for the other processes; start all of them again")
