"""Several processes that train one network: who judges which image, and norms that see the batches of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

T = TypeVar("T")


def share(total: int, process: int, processes: int) -> list[int]:
    """Which of so many images a process judges; at least one, since all of them meet afterwards."""
    return list(range(process, total, processes)) or [process % total]


def gather(rows: Mapping[int, T], processes: int) -> list[T]:
    """What all processes found, by the number of the image, in that order; the same everywhere."""
    found: list[Mapping[int, T]] = [rows] * processes
    if processes > 1:
        dist.all_gather_object(found, rows)
    everything = {number: row for some in found for number, row in some.items()}
    return [everything[number] for number in sorted(everything)]


def of_the_first(tensors: Iterable[Tensor]) -> None:
    """Give each process the first one's values, in place."""
    for tensor in tensors:
        dist.broadcast(tensor, 0)


class SharedNorm(nn.BatchNorm2d):
    """A batch norm whose mean and variance are those of the batches of all processes, as if they were one batch.

    torch's ``SyncBatchNorm`` does the same on GPUs alone. All batches must be of one size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` → the same shape."""
        if not self.training:
            return super().forward(x)
        mean = _mean(x.mean((0, 2, 3)))
        centred = x - mean[:, None, None]
        variance = _mean(centred.square().mean((0, 2, 3)))
        if self.running_mean is not None and self.running_var is not None:
            count = dist.get_world_size() * x.numel() / x.shape[1]
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), momentum)
            spread = variance.detach() * (count / max(1.0, count - 1))
            self.running_var.lerp_(spread.to(self.running_var.dtype), momentum)
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        normal = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.weight is None:
            return normal
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def _mean(value: Tensor) -> Tensor:
    """Of all processes; in single precision at least, since their sum is of more terms than one's."""
    total: Tensor = all_reduce(value.float() if value.itemsize < 4 else value)  # type: ignore[no-untyped-call]
    return total / dist.get_world_size()


@contextmanager
def shared_norms(network: nn.Module, on: bool) -> Iterator[None]:
    """While it lasts, the network's batch norms are :class:`SharedNorm`; its weights and their names stay."""
    norms = [module for module in network.modules() if type(module) is nn.BatchNorm2d] if on else []
    for norm in norms:
        norm.__class__ = SharedNorm
    try:
        yield
    finally:
        for norm in norms:
            norm.__class__ = nn.BatchNorm2d
