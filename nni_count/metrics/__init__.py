"""How good counts and maps are, as pure functions. Every figure about maps carries the name of its protocol."""

from nni_count.metrics.counts import BINS, GAME_LEVELS, count_errors, game, intervals, mae_by_density
from nni_count.metrics.maps import DEFAULT_PROTOCOL, MAP_PROTOCOLS, gathered, map_quality, spread

__all__ = [
    "BINS",
    "DEFAULT_PROTOCOL",
    "GAME_LEVELS",
    "MAP_PROTOCOLS",
    "count_errors",
    "game",
    "gathered",
    "intervals",
    "mae_by_density",
    "map_quality",
    "spread",
]
