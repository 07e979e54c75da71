"""Networks by name."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.ablation import Ablation
from nni_count.networks.amsnet import AMSNet
from nni_count.networks.can import CAN
from nni_count.networks.csrnet import CSRNet
from nni_count.networks.mcnn import MCNN
from nni_count.networks.network import Network, draw_weights, number_of_parameters
from nni_count.networks.sanet import SANet
from nni_count.networks.switch_cnn import SwitchCNN
from nni_count.networks.tednet import TEDNet
from nni_count.networks.trunk import load_trunks
from nni_count.networks.unet import UNet
from nni_count.plugins import entries

#: name → class; one whose first argument is ``architecture`` is searched, the others are hand-designed. Another is
#: added here, or by an entry point of any package
NETWORKS: ChainMap[str, type[Network]] = ChainMap(
    {
        "amsnet": AMSNet,
        "ablation": Ablation,
        "mcnn": MCNN,
        "csrnet": CSRNet,
        "sanet": SANet,
        "can": CAN,
        "tednet": TEDNet,
        "switch_cnn": SwitchCNN,
        "unet": UNet,
    },
    entries("networks"),
)


def named(network: Mapping[str, Any] | str) -> tuple[str, dict[str, Any]]:
    """The name of a network and its settings, written as a name, or as a ``name`` with settings beside it."""
    settings = {"name": network} if isinstance(network, str) else dict(network)
    return settings.pop("name", "amsnet"), settings


def create(name: str, architecture: Architecture | None = None, **settings: Any) -> Network:
    """The network of that name, e.g. ``create("amsnet", architecture, cells=8, width=64)`` or ``create("mcnn")``.

    Raises:
        SettingError: the name or a setting is unknown, or the network needs an architecture or takes none.
    """
    if name not in NETWORKS:
        raise SettingError(f"network: {name!r} is unknown; known: {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    if "architecture" in known:
        if architecture is None and known["architecture"].default is inspect.Parameter.empty:
            raise SettingError(f"network {name}: needs the cells that a search found; give --architecture FILE")
        return NETWORKS[name](architecture, **settings)
    if architecture is not None:
        raise SettingError(f"network {name}: is hand-designed and takes no cells; leave out --architecture")
    for setting in settings:
        if setting not in known:
            raise SettingError(f"network {name}: unknown setting {setting!r}; known: {', '.join(known)}")
    return NETWORKS[name](**settings)


def initialise(network: Network, trunks: bool = True) -> None:
    """First weights: a network's own where it has a method ``initialise()``, else Xavier's for all its convolutions
    (NAS-Count, section 4.1.2), and unless others follow those of trunks that are asked for.

    Raises:
        SettingError: a trunk's weights cannot be had.
    """
    getattr(network, "initialise", partial(draw_weights, nn.init.xavier_uniform_, network))()
    if trunks:
        load_trunks(network)


__all__ = ["NETWORKS", "AMSNet", "Ablation", "Network", "create", "initialise", "named", "number_of_parameters"]
