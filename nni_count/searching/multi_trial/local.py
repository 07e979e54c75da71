"""Trials as processes of this machine: no manager, no port, and none outlives the search."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from nni_count.architecture import Architecture, write_architecture
from nni_count.searching.multi_trial.process import Process


class LocalPool:
    """Trains in processes of its own, on the devices in turn.

    Args:
        folder: for the files of the trials; the output of those that fail stays there.
        candidate: where :meth:`Candidate.save` wrote.
        concurrency: processes at once.
        accelerator: Lightning's; devices are dealt out unless it is ``cpu``.
    """

    def __init__(self, folder: Path, candidate: Path, concurrency: int, accelerator: str):
        self.folder = folder
        self.candidate = candidate
        self.concurrency = concurrency
        self.devices = [] if accelerator == "cpu" else _devices()
        self.waiting: deque[str] = deque()
        self.running: dict[str, tuple[Process, str | None]] = {}
        folder.mkdir(exist_ok=True)

    def submit(self, name: str, architecture: Architecture) -> None:
        write_architecture(architecture, self.folder / f"{name}.yaml")
        self.waiting.append(name)

    def ended(self) -> Iterator[tuple[str, dict[str, float] | str]]:
        for name, (process, _) in list(self.running.items()):
            outcome = process.outcome()
            if outcome is not None:
                del self.running[name]
                for suffix in (".yaml", ".json"):
                    (self.folder / name).with_suffix(suffix).unlink(missing_ok=True)
                yield name, outcome
        while self.waiting and len(self.running) < self.concurrency:
            name, device = self.waiting.popleft(), self._free_device()
            there = self.folder / name
            process = Process(
                there.with_suffix(".json"),
                self.candidate,
                there.with_suffix(".yaml"),
                environment={} if device is None else {"CUDA_VISIBLE_DEVICES": device},
            )
            self.running[name] = process, device

    def close(self) -> None:
        """End what runs."""
        for process, _ in self.running.values():
            process.kill()

    def _free_device(self) -> str | None:
        """The one on which the fewest train."""
        taken = [device for _, device in self.running.values()]
        return min(self.devices, key=taken.count, default=None)


def _devices() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
