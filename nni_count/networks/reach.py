"""How far networks and their stages see, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from nni_count.networks.network import Network

FARTHEST, BREADTH = 2048, 64  # pixels: half the length and the breadth of the strip on which a network's reach is found


def reach(network: Network, channels: int = 3) -> int | None:
    """How far from a pixel, in pixels, a map may depend on it: a multiple of ``network.multiple``.

    None where that is more than :data:`FARTHEST`, or the map depends on the size of the image, as of networks that pool
    over all of it.

    Args:
        network: in evaluation mode.
        channels: of its images.
    """
    like = next(network.parameters())
    return reach_of(lambda image: [network(image)], [channels], network.map_stride, network.multiple, like)


@torch.inference_mode()
def reach_of(
    compute: Callable[..., Sequence[Tensor]],
    channels: Sequence[int],
    stride: int | Fraction,
    multiple: int,
    like: Tensor,
    farthest: int | None = None,
    breadth: int | None = None,
) -> int | None:
    """What :func:`reach` finds of a network, of anything that makes maps of maps, ``(1, channels, h, w)`` each.

    Args:
        compute: maps of one size → maps of another.
        channels: of each map that it takes.
        stride: by how much those that it makes are smaller.
        multiple: what sides of those that it takes are multiples of.
        like: of the device and type of its numbers.
        farthest: what is more is None; :data:`FARTHEST` where not given.
        breadth: of the strip on which it is tried; :data:`BREADTH` where not given.
    """
    middle, across = (-(-cells // multiple) * multiple for cells in (farthest or FARTHEST, breadth or BREADTH))
    draw = torch.Generator().manual_seed(0)
    strips = [torch.randn(1, number, across, 2 * middle, generator=draw).to(like) for number in channels]
    spots = [strip.clone() for strip in strips]
    for spot in spots:
        spot[..., middle : middle + multiple] = torch.nan  # which all that depends on it is, too
    halves = [strip[..., :middle] for strip in strips]
    far = 0
    for axes in ((-1, -1), (-2, -1)):  # along rows, and along columns
        with torch.autocast(like.device.type, enabled=False):
            made = [
                [found.transpose(*axes) for found in compute(*(part.transpose(*axes) for part in parts))]
                for parts in (spots, halves, strips)
            ]
        for spotted, half, whole in zip(*made, strict=True):
            told = spotted.isnan().flatten(0, -2).any(0).nonzero()
            first, last = (int(told.min()), int(told.max())) if len(told) else (0, spotted.shape[-1] - 1)
            far = max(far, middle - int(first * stride), -int(-(last + 1) * stride // 1) - middle)
            cells = int((middle - far) / stride)
            noise = 1e-4 * float(whole.abs().max())
            if cells <= 0 or not torch.allclose(half[..., :cells], whole[..., :cells], rtol=0, atol=noise):
                return None
    return -(-far // multiple) * multiple
