"""A pass through a space, recorded once on a CUDA device and replayed: the host calls its operations no longer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nni_count.errors import shortened

#: of a replay from the pass itself, relative; half precision sums in another order
LARGEST_DIFFERENCE = 0.1


class Recorded:
    """Maps of a space and their gradients, as CUDA graphs, one for each half; elsewhere as the space does.

    A step of a search calls thousands of small operations, which takes the host longer than the device. Every pass must
    call the same operations on tensors that stay where they are. The first pass of a half runs as it is, the second
    records. Batches of another shape or precision, and what needs no gradients, run as they are; so does all where the
    recording fails, or gives something else than the space, with a warning.

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
        if self._known.get(architecture) != kind:
            self._known.setdefault(architecture, kind)  # the first pass sets up what a recording must not
            return cast(Tensor, self.space(images))
        if architecture not in self._replays:
            self._replays[architecture] = self._record(images, precision)
        return self._replays[architecture](images)

    def _record(self, images: Tensor, precision: torch.dtype | None) -> Callable[[Tensor], Tensor]:
        before = [buffer.clone() for buffer in self.space.buffers()]
        replay: Callable[[Tensor], Tensor] = self.space
        # weights that were cast once would not be cast again in a replay
        with torch.autocast("cuda", precision, enabled=precision is not None, cache_enabled=False):
            try:
                sample = torch.empty_like(images).copy_(images)
                # in a module around it, since the forward pass of what is recorded is replaced
                around = nn.Sequential(self.space)
                graphed = torch.cuda.make_graphed_callables(around, (sample,), allow_unused_input=True)
                replay = cast(Callable[[Tensor], Tensor], graphed)
                self._check(replay, images)
            except RuntimeError as error:
                reason = shortened(" ".join(str(error).split()), 200)
                warnings.warn(f"the search goes on, slower: its pass cannot be recorded ({reason})", stacklevel=2)
                replay = self.space
        for buffer, kept in zip(self.space.buffers(), before, strict=True):
            buffer.copy_(kept)  # the passes before the recording have changed the norms' statistics
        return replay

    def _check(self, replay: Callable[[Tensor], Tensor], images: Tensor) -> None:
        """Refuse a recording with other maps or gradients, by more than what a device's sums differ in."""
        learning = [parameter for parameter in self.space.parameters() if parameter.requires_grad]
        found = []
        for way in (replay, self.space):
            maps = way(images)
            slopes = torch.autograd.grad(maps.float().square().mean(), learning, allow_unused=True)
            known = [one.float().flatten() for one in slopes if one is not None]
            found.append([maps.detach().float().clone(), torch.cat(known)])
        for recorded, plain in zip(*found, strict=True):
            if not torch.linalg.norm(recorded - plain) <= LARGEST_DIFFERENCE * torch.linalg.norm(plain):
                raise RuntimeError("a replay gives something else")
