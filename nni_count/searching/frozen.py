"""The network of one architecture, taken out of a space with its weights, and how good it is."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from nni_count.searching.nni import MutableModule

M = TypeVar("M", bound=nn.Module)


def frozen(space: M, sample: Mapping[str, Any]) -> M:
    """A space with only what a sample chose, as a copy; weights are those of the space, which stays as it is.

    NNI's own ``freeze`` copies every cell with all of its candidates first.

    Args:
        space: mutated by a strategy, or not.
        sample: label → choice.
    """
    return copy.deepcopy(view(space, dict(sample)))


def view(module: M, sample: dict[str, Any], still: Container[str] = ()) -> M:
    """What :func:`frozen` copies, sharing all weights; choices whose label is in ``still`` remain open."""
    seen = copy.copy(module)
    seen._modules = {
        name: child.freeze(sample)
        if isinstance(child, MutableModule) and str(getattr(child, "label", "")) not in still
        else child and view(child, sample, still)
        for name, child in module._modules.items()
    }
    return seen


def recalibrate(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Take the statistics of all batch norms anew, as means over batches of images ``(B, 3, S, S)``.

    Those of a space belong to the mixture of all candidates, not to a network of some of them.
    """
    update_bn(images, network)
    network.eval()
