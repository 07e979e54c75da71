"""The map of a whole image, of any size and seen in several ways."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from nni_count.errors import SettingError
from nni_count.networks.network import Network

#: how often an image is looked at → the quarter turns, and whether it is mirrored before
VIEWS = {1: [(0, False)], 2: [(0, False), (0, True)], 8: list(product(range(4), (False, True)))}


def check_views(views: int) -> None:
    """Refuse a number of views that is not known with a :class:`SettingError`."""
    if views not in VIEWS:
        raise SettingError(
            f"views: {views!r}; choose 1, 2 (mirrored as well) or 8 (mirrored and turned by quarters as well)"
        )


def whole_map(network: Network, image: Tensor, views: int = 1) -> Tensor:
    """The map of a whole image: padded to what the network needs by repeating the border, and cropped back.

    Args:
        network: in evaluation mode.
        image: ``(3, H, W)``, normalised.
        views: 1; or the mean of the maps of this many views of the image, each turned back: 2 of it and its mirror
            image, 8 of both turned by quarters, for images without an upside.

    Returns:
        ``(1, K, ceil(H / stride), ceil(W / stride))``.

    Raises:
        SettingError: there is no such number of views.
    """
    check_views(views)
    height, width = image.shape[-2:]
    stride, multiple = network.map_stride, network.multiple
    device = next(network.parameters()).device
    batch = image[None].to(device, memory_format=torch.channels_last)
    batch = F.pad(batch, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    maps = []
    for turns, mirrored in VIEWS[views]:
        view = torch.rot90(batch.flip(-1) if mirrored else batch, turns, (-2, -1))
        found = torch.rot90(network(view.contiguous(memory_format=torch.channels_last)), -turns, (-2, -1))
        maps.append(found.flip(-1) if mirrored else found)
    output = torch.stack(maps).mean(0)
    return output[..., : -(-height // stride), : -(-width // stride)]
