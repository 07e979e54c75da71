"""What predicts how good an architecture becomes: figures of untrained networks, and the beginnings of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.table.banks import Crops
from benchmarks.table.recipe import SETS, Recipe
from benchmarks.table.report import SIZES, Figures, compared
from benchmarks.table.training import network_of
from nni_count.comparing.trained import Table
from nni_count.networks import initialise
from nni_count.searching.proxies import PROXIES

#: crops that a proxy sees
CROPS = 16
#: what ``SIZES`` has not
OTHERS = {name: proxy for name, proxy in PROXIES.items() if name not in ("parameters", "flops")}


def untrained(table: Table, data: str, root: Path) -> Mapping[str, Figures]:
    """Proxy → number of an architecture → figure, of the network that the table trained, as it began with seed 0."""
    recipe, chosen = replace(Recipe(), crops=CROPS), SETS[data]
    crops = Crops(chosen.parts(root)[0], chosen.task, chosen.augmentation, recipe)
    images, targets = crops.batch(np.arange(CROPS))
    found: dict[str, dict[int, float]] = {name: {} for name in OTHERS}
    for number in table.errors(data):
        torch.manual_seed(0)
        network = network_of(table.architectures[number], recipe)
        initialise(network)
        for name, proxy in OTHERS.items():
            found[name][number] = proxy(network, images, targets)
    return found


def begun(table: Table, data: str) -> list[str]:
    """The error of one seed each time that it was judged, against that of the other seed at the end: a beginning is
    a prediction as well, and the end is the noise ceiling.
    """
    rows = table.select(data)
    ends = table.errors(data, seed=1)
    lines = []
    for point, step in enumerate(rows[0].steps.astype(int)):
        first = {row.number: float(row.unexplained[point]) for row in rows if row.seed == 0}
        seconds = np.mean([row.seconds[point] for row in rows])
        lines.append(compared(f"{step} steps of the other seed, {seconds:.0f} s", first, ends))
    return lines


def lines(table: Table, root: Path) -> list[str]:
    """Rank correlations with the error, both seeds' mean: above 0, more is worse."""
    found = []
    for data in table.data:
        errors = table.errors(data)
        found.append(f"{data}:")
        for name, of in SIZES.items():
            found.append(compared(name, {row.number: of(row) for row in table.select(data)}, errors))
        for name, figures in untrained(table, data, root).items():
            found.append(compared(name, figures, errors))
        found += begun(table, data)
    return found
