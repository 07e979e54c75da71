"""Networks by name."""

from collections.abc import Callable
from typing import Any

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.amsnet import AMSNet, initialise
from nni_count.networks.network import Network

#: name → class or function that takes an architecture (None where not given) and settings
NETWORKS: dict[str, Callable[..., Network]] = {"amsnet": AMSNet}


def create(name: str, architecture: Architecture | None = None, **settings: Any) -> Network:
    """The network of that name, e.g. ``create("amsnet", architecture, cells=8, width=64)``.

    Raises:
        SettingError: the name or a setting is unknown, or the network needs an architecture.
    """
    if name not in NETWORKS:
        raise SettingError(f"network: {name!r} is unknown; known: {', '.join(NETWORKS)}")
    if architecture is None:
        raise SettingError(f"network {name}: needs the cells that a search found; give --architecture FILE")
    return NETWORKS[name](architecture, **settings)


__all__ = ["NETWORKS", "AMSNet", "Network", "create", "initialise"]
