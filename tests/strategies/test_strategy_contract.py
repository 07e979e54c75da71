"""Every one-shot strategy is asked the same."""

import nni.nas.strategy as nni_strategies
import pytest

from nni_count.testing.strategies import StrategyContract
from search_spaces import AMSNetSpace
from strategies import DARTS, ENAS, GDAS, GumbelDARTS, PartialChannel, RandomOneShot

pytestmark = pytest.mark.filterwarnings("ignore")


class TestDARTS(StrategyContract):
    strategy = DARTS


class TestGumbelDARTS(StrategyContract):
    strategy = GumbelDARTS


class TestGDAS(StrategyContract):
    strategy = GDAS


class TestPartialChannel(StrategyContract):
    strategy = PartialChannel

    def space(self):
        return AMSNetSpace(width=64, map_stride=4)  # the first cell's nodes have a sixteenth, of which a quarter passes


class TestENAS(StrategyContract):
    strategy = ENAS


class TestRandomOneShot(StrategyContract):
    strategy = RandomOneShot
    learns = False


class TestProxylessOfNNI(StrategyContract):
    strategy = nni_strategies.Proxyless


class TestDARTSOfNNI(StrategyContract):
    strategy = nni_strategies.DARTS
