"""Every one-shot strategy is asked the same."""

import nni.nas.strategy as nni_strategies
import pytest
from small_space import SmallSpace

from nni_count.testing.strategies import StrategyContract
from strategies import DARTS, ENAS, GDAS, GumbelDARTS, PartialChannel, RandomOneShot

pytestmark = pytest.mark.filterwarnings("ignore")


class Small(StrategyContract):
    def space(self):
        return SmallSpace(width=16, map_stride=4)


class TestDARTS(Small):
    strategy = DARTS


class TestGumbelDARTS(Small):
    strategy = GumbelDARTS


class TestGDAS(Small):
    strategy = GDAS


class TestPartialChannel(Small):
    strategy = PartialChannel

    def space(self):
        return SmallSpace(width=64, map_stride=4)  # the first cell's nodes have a sixteenth, of which a quarter passes


class TestENAS(Small):
    strategy = ENAS


class TestRandomOneShot(Small):
    strategy = RandomOneShot
    learns = False


class TestProxylessOfNNI(Small):
    strategy = nni_strategies.Proxyless


class TestDARTSOfNNI(Small):
    strategy = nni_strategies.DARTS
