"""Strategies that search a space: NNI's own made sound, and ours. They know nothing of counting."""

from strategies.darts import DARTS, GumbelDARTS
from strategies.enas import ENAS
from strategies.gdas import GDAS
from strategies.multi_trial import TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution
from strategies.partial_channel import PartialChannel
from strategies.paths import RandomOneShot
from strategies.proxyless import Proxyless
from strategies.screening import Screening

__all__ = [
    "DARTS",
    "ENAS",
    "GDAS",
    "TPE",
    "GridSearch",
    "GumbelDARTS",
    "PartialChannel",
    "PolicyBasedRL",
    "Proxyless",
    "Random",
    "RandomOneShot",
    "RegularizedEvolution",
    "Screening",
]
