"""The map of a whole image, of any size and seen in several ways."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from nni_count.data.views import VIEWS, check_views
from nni_count.errors import DataError
from nni_count.networks.network import Network
from nni_count.networks.reach import reach
from nni_count.networks.stages import tiled
from nni_count.runs.memory import is_for_memory, within_memory


def whole_map(network: Network, image: Tensor, views: int = 1) -> Tensor:
    """The map of a whole image: padded to what the network needs by repeating the border, and cropped back.

    Where the memory does not suffice, it is made tile by tile, which gives the same map.

    Args:
        network: in evaluation mode.
        image: ``(3, H, W)``, normalised.
        views: 1; or the mean of the maps of this many views of the image, each turned back: 2 of it and its mirror
            image, 8 of both turned by quarters, for images without an upside.

    Returns:
        ``(1, K, ceil(H / stride), ceil(W / stride))``.

    Raises:
        SettingError: there is no such number of views.
        DataError: the image does not fit into the memory, neither whole nor in tiles.
    """
    check_views(views)
    found = _fitting(network, lambda: _map(network, image, views))
    return _by_tiles(network, image, views) if found is None else found


def _fitting(network: Network, make: Callable[[], Tensor]) -> Tensor | None:
    """What is made, or None where the memory does not suffice; what the attempt took is then free again."""
    try:
        with within_memory() if _device(network).type == "cpu" else nullcontext():
            return make()
    except (MemoryError, RuntimeError) as error:
        if not is_for_memory(error):
            raise
    return None


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device


def _map(network: Network, image: Tensor, views: int) -> Tensor:
    height, width = image.shape[-2:]
    stride, multiple = network.map_stride, network.multiple
    batch = image[None].to(_device(network), memory_format=torch.channels_last)
    missing = -width % multiple, -height % multiple
    if any(missing):
        batch = F.pad(batch, (0, missing[0], 0, missing[1]), mode="replicate")
    maps = []
    for turns, mirrored in VIEWS[views]:
        view = batch.flip(-1) if mirrored else batch
        view = torch.rot90(view, turns, (-2, -1)) if turns else view  # by none torch copies
        found = torch.rot90(network(view.contiguous(memory_format=torch.channels_last)), -turns, (-2, -1))
        maps.append(found.flip(-1) if mirrored else found)
    output = torch.stack(maps).mean(0)
    return output[..., : -(-height // stride), : -(-width // stride)]


def _by_tiles(network: Network, image: Tensor, views: int) -> Tensor:
    """:func:`whole_map` of tiles that overlap as far as the network sees, of the largest size that fits."""
    height, width = image.shape[-2:]
    margin = reach(network, image.shape[0])
    for pieces in () if margin is None else (2, 4, 8, 16, 32):
        side = -(-max(height, width) // (pieces * network.multiple)) * network.multiple
        found = _fitting(network, partial(_in_tiles, network, image, views, side, margin or 0))
        if found is not None:
            return found
    why = "" if margin is not None else ", and its network sees images as a whole, so that they cannot be cut"
    remedy = "scale it down (of a data set: with --data.max_side)"
    raise DataError(f"an image of {width}×{height} pixels does not fit into the memory{why}; {remedy}")


def _in_tiles(network: Network, image: Tensor, views: int, side: int, margin: int) -> Tensor:
    return tiled(lambda part: [_map(network, part, views)], [image], (side, side), margin, network.map_stride)[0]
