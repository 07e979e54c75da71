"""Screening: what untrained networks promise decides what is trained."""

import pytest
from small_space import SmallSpace

from nni_count.errors import SettingError
from nni_count.networks import create, number_of_parameters
from nni_count.searching.multi_trial.record import CombinedSpace
from nni_count.searching.multi_trial.search import seed_strategy
from strategies import Screening, screening


class Engine:
    """Takes models as long as it is asked for them."""

    def __init__(self, most):
        self.most, self.taken = most, []

    def idle_worker_available(self):
        return True

    def budget_available(self):
        return len(self.taken) < self.most

    def submit_models(self, *models):
        self.taken += models


def proposed(most=5, seed=0, **settings):
    strategy, engine, space = Screening(**settings), Engine(most), SmallSpace()
    seed_strategy(strategy, seed)
    strategy(CombinedSpace.from_model(space), engine)
    return [space.architecture(model.choices) for model in engine.taken]


def parameters(architectures):
    return [number_of_parameters(create("amsnet", architecture)) for architecture in architectures]


def test_the_most_promising_come_first_and_each_once():
    small = parameters(proposed(draws=16, proxies=["-parameters"]))
    large = parameters(proposed(draws=16, proxies=["parameters"]))
    assert small == sorted(small)
    assert large == sorted(large, reverse=True)
    assert small[-1] < large[-1]
    everything = proposed(most=99, draws=16, proxies=["-parameters"])
    assert len(everything) == 16
    assert len({str(architecture.to_dict()) for architecture in everything}) == 16


def test_a_seed_draws_the_same_and_proxies_are_ranked_together(monkeypatch):
    monkeypatch.setattr(screening, "IMAGES", 4)
    monkeypatch.setattr(screening, "SIDE", 16)

    def cells(**settings):
        return [architecture.to_dict() for architecture in proposed(draws=6, **settings)]

    both = ["swap", "-synflow"]
    assert cells(proxies=both) == cells(proxies=both) != cells(proxies=both, seed=1)
    assert cells(proxies=both) != cells(proxies=["swap"])


def test_a_proxy_that_there_is_not():
    with pytest.raises(SettingError, match=r"strategy\.proxies: luck; choose of parameters, .*, with - before it"):
        Screening(proxies=["luck"])
    with pytest.raises(SettingError, match=r"strategy\.proxies: none"):
        Screening(proxies=[])
    with pytest.raises(SettingError, match=r"strategy\.draws: 0"):
        Screening(draws=0)
