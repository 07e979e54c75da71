"""Where CUDA and a CPU differ: what is timed with, how much memory was taken, what is asked of Lightning."""

from __future__ import annotations

import gc
import itertools
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nni_count.errors import SettingError

#: taken at the most, whatever the device has
LARGEST_GIB = 40.0
#: steps that are timed however long they take
LEAST_STEPS = 3


class CPU:
    """For the rehearsal; its times and its memory say nothing about a GPU."""

    name = "cpu"
    accelerator = "cpu"

    def __init__(self) -> None:
        torch.set_num_threads(1)  # what is rehearsed is so small that threads only wait for one another

    def describe(self) -> dict[str, Any]:
        return {"device": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}

    def times(self, step: Callable[[], Any], warm_up: int, number: int, seconds: float) -> list[float]:
        """Milliseconds of each of so many runs, or of as many as begin within so many seconds."""
        for _ in range(warm_up):
            step()
        found: list[float] = []
        start = time.perf_counter()
        while len(found) < number and (len(found) < LEAST_STEPS or time.perf_counter() - start < seconds):
            before = time.perf_counter()
            step()
            found.append(1e3 * (time.perf_counter() - before))
        return found

    def forget_peak(self) -> None:
        """Count the peak from now on; a process's cannot be."""

    def peak(self) -> int:
        """Bytes: here the largest size of the process so far."""
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def release(self) -> None:
        """Give back what is no longer used, networks before and what a failure held; on a CPU nothing needs it."""


class CUDA(CPU):
    """One CUDA device, of which no more than :data:`LARGEST_GIB` are taken."""

    name = "cuda"
    accelerator = "gpu"

    def __init__(self) -> None:
        self.properties = torch.cuda.get_device_properties(0)
        share = LARGEST_GIB * 2**30 / self.properties.total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))

    def describe(self) -> dict[str, Any]:
        return {
            "device": self.properties.name,
            "memory_gib": round(self.properties.total_memory / 2**30, 1),
            "multiprocessors": self.properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            # what torch does by default in single precision
            "tf32": {
                "convolutions": torch.backends.cudnn.allow_tf32,
                "products": torch.backends.cuda.matmul.allow_tf32,
            },
        }

    def times(self, step: Callable[[], Any], warm_up: int, number: int, seconds: float) -> list[float]:
        """From the end of one run on the device to the end of the next, so that waiting for the host counts."""
        for _ in range(warm_up):
            step()
        torch.cuda.synchronize()
        start = time.perf_counter()
        events = [_recorded()]
        while len(events) <= number and (len(events) <= LEAST_STEPS or time.perf_counter() - start < seconds):
            step()
            events.append(_recorded())
        torch.cuda.synchronize()
        return [before.elapsed_time(after) for before, after in itertools.pairwise(events)]

    def forget_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Bytes: the allocator's."""
        return torch.cuda.max_memory_allocated()

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()


def _recorded() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def open_device(rehearse: bool) -> CPU:
    """The device of the run; raises :class:`SettingError` where there is no CUDA device and it is no rehearsal."""
    if rehearse:
        return CPU()
    if not torch.cuda.is_available():
        raise SettingError("device: PyTorch finds no CUDA device here; --rehearse runs all of it on the CPU")
    return CUDA()


@contextmanager
def autotuned(on: bool = True) -> Iterator[None]:
    """cuDNN tries its algorithms at each new shape; pays where shapes stay the same. On a CPU nothing changes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
