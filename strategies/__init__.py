"""Strategies that search a space: NNI's own made sound, and ours. They know nothing of counting."""

import nni_count.oneshot  # noqa: F401 - first, since it imports NNI without its harmless warnings
from strategies.darts import DARTS, GumbelDARTS
from strategies.gdas import GDAS
from strategies.partial_channel import PartialChannel

__all__ = ["DARTS", "GDAS", "GumbelDARTS", "PartialChannel"]
