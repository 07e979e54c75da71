"""ProxylessNAS: one path is drawn and computed; α learns from its output alone (Cai et al., ICLR 2019)."""

from __future__ import annotations

from typing import Any

from nni_count.searching.nni import nni_strategies
from strategies.darts import DARTS


class Proxyless(DARTS):
    """:class:`DARTS` that computes one drawn candidate a choice, NNI's (Cai, Zhu and Han, ProxylessNAS, ICLR 2019).

    Of the edges that meet in a node, one is drawn too. Settings are those of :class:`DARTS`.
    """

    def default_mutation_hooks(self) -> list[Any]:
        hooks: list[Any] = nni_strategies.Proxyless.default_mutation_hooks(self)
        return hooks
