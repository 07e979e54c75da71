"""Networks by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.ablation import Ablation
from nni_count.networks.amsnet import AMSNet
from nni_count.networks.amsnet import initialise as xavier
from nni_count.networks.can import CAN
from nni_count.networks.csrnet import CSRNet
from nni_count.networks.hand_designed import HandDesigned
from nni_count.networks.mcnn import MCNN
from nni_count.networks.network import Network
from nni_count.networks.sanet import SANet
from nni_count.networks.switch_cnn import SwitchCNN
from nni_count.networks.tednet import TEDNet
from nni_count.networks.unet import UNet

#: name → class that takes settings
HAND_DESIGNED: dict[str, type[HandDesigned]] = {
    "mcnn": MCNN,
    "csrnet": CSRNet,
    "sanet": SANet,
    "can": CAN,
    "tednet": TEDNet,
    "switch_cnn": SwitchCNN,
    "unet": UNet,
}

#: name → class; those that are not hand-designed take an architecture first
NETWORKS: dict[str, type[Network]] = {"amsnet": AMSNet, "ablation": Ablation, **HAND_DESIGNED}


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
    if name == "ablation":
        return Ablation(architecture, **settings)
    if name == "amsnet":
        if architecture is None:
            raise SettingError(f"network {name}: needs the cells that a search found; give --architecture FILE")
        return AMSNet(architecture, **settings)
    if architecture is not None:
        raise SettingError(f"network {name}: is hand-designed and takes no cells; leave out --architecture")
    known = inspect.signature(HAND_DESIGNED[name]).parameters
    for setting in settings:
        if setting not in known:
            raise SettingError(f"network {name}: unknown setting {setting!r}; known: {', '.join(known)}")
    return HAND_DESIGNED[name](**settings)


def initialise(network: Network) -> None:
    """First weights: a network's own where it has a method ``initialise()``, else Xavier's as for AMSNet."""
    own = getattr(network, "initialise", None)
    if own is not None:
        own()
    else:
        xavier(network)


__all__ = ["HAND_DESIGNED", "NETWORKS", "AMSNet", "Ablation", "Network", "create", "initialise", "named"]
