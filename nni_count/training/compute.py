"""On what a training runs: devices, machines, precision."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn

from nni_count.errors import SettingError
from nni_count.networks.devices import IMITATED, badly_learnt, find_device, imitates_bfloat16
from nni_count.runs.ranges import Range, check
from nni_count.training.meeting import Meeting, environment, number
from nni_count.training.settings import check_choice

PRECISIONS = ("32-true", "bf16-mixed", "64-true")  # 16-mixed would clip gradients that are still scaled


@dataclass(frozen=True)
class Compute:
    """On what a training runs, in Lightning's words.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu`` …
        devices: how many of them, of each machine, train at once, each in a process of its own (DDP, which starts the
            command or script again for each); a step then takes a batch a device.
        num_nodes: machines that train together, each of which is given the same command, by torchrun or Slurm, or with
            ``NODE_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``; they share the run folder.
        precision: ``32-true``, ``bf16-mixed``, which is faster where the processor has bfloat16, or ``64-true``.
    """

    accelerator: str = "auto"
    devices: Annotated[int, Range(1)] = 1
    num_nodes: Annotated[int, Range(1)] = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)
        check(Compute, vars(self))

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.devices * self.num_nodes

    @property
    def process(self) -> int:
        """Which of them this one is, from 0."""
        return number(self.devices, self.num_nodes)

    def together(self, *plugins: Any) -> dict[str, Any]:
        """What Lightning's trainer takes of it, and its plugins.

        Raises:
            SettingError: whoever started the processes told them something else.
        """
        # some layers have no gradient in some step: of drawn paths, while warming up, of nodes that nothing follows;
        # norms' statistics, which training itself does not use, are the first one's where images are judged
        alone = self.processes == 1
        strategy = "auto" if alone else Meeting(find_unused_parameters=True, broadcast_buffers=False)
        return {
            **vars(self),
            "strategy": strategy,
            "plugins": [*plugins, environment(self.devices, self.num_nodes)],
            "use_distributed_sampler": False,  # our loaders deal out batches themselves
        }

    @property
    def on_cpu(self) -> bool:
        """Whether this is the processor alone."""
        return self.accelerator == "cpu" or (self.accelerator == "auto" and not torch.cuda.is_available())

    def warn(self) -> None:
        """Warn of bfloat16 on a processor that only imitates it.

        Raises:
            SettingError: the accelerator is not here, or fewer devices than asked for; or see :meth:`together`.
        """
        environment(self.devices, self.num_nodes)
        if self.accelerator != "auto":
            find_device(self.accelerator)
        there = self.devices if self.on_cpu or not torch.cuda.is_available() else torch.cuda.device_count()
        if there < self.devices:
            raise SettingError(f"devices: {self.devices}; {there} of them are here, give as many at most")
        if self.precision == "bf16-mixed" and self.on_cpu and imitates_bfloat16():
            warnings.warn(IMITATED, stacklevel=3)

    def check(self, model: nn.Module) -> None:
        """A :class:`SettingError` where a convolution would learn wrongly by this precision, a fault of oneDNN's."""
        if self.precision == "bf16-mixed" and self.on_cpu and (found := badly_learnt(model)):
            told = f"precision: bf16-mixed; by it this processor computes gradients of {found} wrongly"
            raise SettingError(f"{told}; choose a width that makes them a multiple of 16, or --precision 32-true")
