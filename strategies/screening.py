"""Screening: architectures are drawn, figures of their untrained networks rank them, and the first ones are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from scipy.stats import rankdata

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks import create, initialise
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import nni_strategies
from nni_count.searching.proxies import PROXIES

#: what an untrained network is asked: so many images of noise, and their side
IMAGES, SIDE = 16, 32


class Screening(nni_strategies.Random):
    """Draws architectures evenly, and proposes them in the order of their proxies, the most promising first.

    An architecture's place is its mean rank over the proxies. They see a network as it begins and images of noise:
    nothing is trained but what is proposed.

    Args:
        draws: architectures that are drawn and ranked; each takes a fraction of a second.
        proxies: names of :data:`nni_count.searching.proxies.PROXIES`; with ``-`` before it, less is better.

    Raises:
        SettingError: a proxy is unknown.
    """

    def __init__(self, *, draws: Annotated[int, Range(1)] = 200, proxies: Sequence[str] = ("-synflow",)):
        check(Screening.__init__, locals(), "strategy.")
        unknown = [name for name in proxies if name.removeprefix("-") not in PROXIES]
        if unknown or not proxies:
            raise SettingError(
                f"strategy.proxies: {', '.join(unknown) or 'none'}; choose of {', '.join(PROXIES)}, with - before it "
                "where less is better"
            )
        super().__init__()
        self.draws = draws
        self.proxies = list(proxies)

    def _run(self) -> None:
        drawn = list(self._drawn())
        print(f"ranking {len(drawn)} architectures by {', '.join(self.proxies)} …", flush=True)
        with torch.device("meta"):  # the space reads choices; its weights are not needed
            space = self.model_space.model.get()
        figures = np.array([self._figures(space.architecture(model.choices)) for model in drawn])
        places = rankdata(-figures, axis=0).mean(1)
        for number in np.argsort(places, kind="stable"):
            if not self.wait_for_resource():
                return
            self.engine.submit_models(drawn[number])

    def _drawn(self) -> Iterator[Any]:
        for _ in range(self.draws):
            model = self._retry_helper.retry(self.random, self.model_space)
            if model is None:  # the space has no more
                return
            yield model

    def _figures(self, architecture: Architecture) -> list[float]:
        """Of an architecture by each proxy, larger is better; the first weights and the images are the same for all."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = create("amsnet", architecture)
            initialise(network)
            images = torch.randn(IMAGES, 3, SIDE, SIDE)
            with torch.no_grad():
                targets = torch.rand_like(network(images))
            figures = {name: PROXIES[name.removeprefix("-")](network, images, targets) for name in self.proxies}
        return [-value if name.startswith("-") else value for name, value in figures.items()]
