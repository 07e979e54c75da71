"""What a network answers, and how it is read: the maps that a task regresses are not always all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nni_count.data.sample import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from nni_count.losses.blocks import Blocks


class Output:
    """The part of a task that a network's last layer and the losses of points depend on.

    Attributes:
        out_channels: channels of a network's output, C; the networks follow.
    """

    out_channels: int = 1

    @property
    def target_channels(self) -> int:
        """Maps that are regressed, K; the channels of an output, where it has no more."""
        return self.out_channels

    def follows(self, teacher: Output) -> bool:
        """Whether a network of this task can learn the maps of one of another: they mean the same, but for a factor."""
        return type(self) is type(teacher) and vars(self) == vars(teacher)

    def read(self, output: Tensor, stride: int) -> Tensor:
        """The maps that a network's output says, as the target has them: ``(B, C, h, w)`` → ``(B, K, h, w)``."""
        return output

    def points(self, sample: Sample) -> Sequence[np.ndarray] | None:
        """For losses of points: those of each map, K of ``(N, 2)``, x y in pixels; None where the task has none.

        Args:
            sample: a crop, whose points may also lie outside it; those are left out by whoever asks.
        """
        return None

    def blocks(self, output: Tensor, stride: int) -> Blocks | None:
        """What an output ``(B, C, h, w)`` says of counts of blocks, for the loss ``zip``; None without that head."""
        return None
