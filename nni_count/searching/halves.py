"""What learns from the half of the images for the architecture, and from the other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class Halves:
    """Lets a backward pass reach α and β alone, or all but them: the gradients of the others would be thrown away.

    Args:
        architecture: α and β.
        space: with all weights; they are looked up once, since that takes a tenth of a step.
    """

    def __init__(self, architecture: Sequence[nn.Parameter], space: nn.Module):
        self.architecture = list(architecture)
        own = set(architecture)
        self.weights = [parameter for parameter in space.parameters() if parameter not in own]

    def learn(self, architecture: bool) -> None:
        """Let α and β learn, or the weights."""
        for parameter in self.architecture:
            parameter.requires_grad_(architecture)
        for parameter in self.weights:
            parameter.requires_grad_(not architecture)
