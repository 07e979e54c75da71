"""A pass through a space, recorded once on a CUDA device and replayed: the host no longer calls each of its operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn


class Recorded:
    """Maps of a space and their gradients, as CUDA graphs, one for each half of the images; elsewhere as the space does.

    A step of a search calls thousands of small operations, which takes the host longer than the device. Every pass must
    call the same operations on tensors that stay where they are. The first pass of a half runs as it is, the second
    records. Batches of another shape or precision, and what needs no gradients, run as they are.

    Args:
        space: whose parameters ask for gradients on one half that they do not ask for on the other.
    """

    def __init__(self, space: nn.Module):
        self.space = space
        self._known: dict[bool, Any] = {}
        self._replays: dict[bool, Callable[[Tensor], Tensor]] = {}

    def __call__(self, images: Tensor, architecture: bool) -> Tensor:
        """``(B, C, H, W)`` → ``(B, K, h, w)``, which the next pass overwrites.

        Args:
            images: a batch.
            architecture: whether it is of the half for α and β.
        """
        if not images.is_cuda or not torch.is_grad_enabled() or torch.distributed.is_initialized():
            return cast(Tensor, self.space(images))
        precision = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        kind = (images.shape, images.dtype, precision, self.space.training)
        if self._known.setdefault(architecture, kind) != kind:
            return cast(Tensor, self.space(images))
        if architecture not in self._replays:
            self._replays[architecture] = self.space  # sets up what a recording must not
            return cast(Tensor, self.space(images))
        if self._replays[architecture] is self.space:
            self._replays[architecture] = self._record(images, precision)
        return self._replays[architecture](images)

    def _record(self, images: Tensor, precision: torch.dtype | None) -> Callable[[Tensor], Tensor]:
        before = [buffer.clone() for buffer in self.space.buffers()]
        # weights that were cast once would not be cast again in a replay
        with torch.autocast("cuda", precision, enabled=precision is not None, cache_enabled=False):
            replay = torch.cuda.make_graphed_callables(
                _Pass(self.space), (torch.empty_like(images).copy_(images),), allow_unused_input=True
            )
        for buffer, kept in zip(self.space.buffers(), before, strict=True):
            buffer.copy_(kept)  # the passes before the recording have changed the norms' statistics
        return cast(Callable[[Tensor], Tensor], replay)


class _Pass(nn.Module):
    """The space, with a forward pass that can be replaced."""

    def __init__(self, space: nn.Module):
        super().__init__()
        self.space = space
        self.training = space.training

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.space(images))
