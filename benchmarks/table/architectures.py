"""The architectures of the table: drawn evenly from AMSNetSpace, stratified by their parameters, in one fixed order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.table.recipe import Recipe
from benchmarks.table.training import network_of
from nni_count.architecture import Architecture
from nni_count.comparing.trained import architecture_of
from nni_count.errors import RunError
from nni_count.runs.files import write_text
from nni_count.searching.random_search import draw

FILE = "architectures.json"
STRATA = 10


def draw_architectures(number: int, recipe: Recipe, seed: int = 0) -> list[Architecture]:
    """So many architectures, every choice drawn evenly, in an order in which each ten have one from every tenth of
    the draws by parameters: the beginning of the list, of any length, is as the whole.
    """
    from search_spaces import AMSNetSpace

    generator = np.random.RandomState(seed)
    space = AMSNetSpace()
    drawn = [draw(space, generator) for _ in range(number)]
    sizes = [parameters(architecture, recipe) for architecture in drawn]
    strata = np.array_split(np.argsort(sizes, kind="stable"), STRATA)
    shuffled = [generator.permutation(stratum).tolist() for stratum in strata]
    order: list[int] = []
    while len(order) < number:
        tens = [stratum.pop() for stratum in shuffled if stratum]
        order += generator.permutation(tens).tolist()
    return [Architecture(drawn[i].extraction, drawn[i].fusion, drawn[i].pooling) for i in order]


def choices_of(architecture: Architecture) -> list[Any]:
    """Its extraction cell, fusion cell and pyramid alone, plain JSON; ``architecture_of`` reads it."""
    return [architecture.extraction, architecture.fusion, list(architecture.pooling)]


def parameters(architecture: Architecture, recipe: Recipe) -> int:
    """Of the network that the recipe trains."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network_of(architecture, recipe).parameters())


def flops(architecture: Architecture, recipe: Recipe, side: int = 256) -> int:
    """2 × multiply-adds of an image of ``side`` × ``side`` pixels through the network that the recipe trains."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network_of(architecture, recipe).eval()(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops())


def kept_architectures(folder: Path, recipe: Recipe, number: int) -> list[Architecture]:
    """Those that a folder of rows was begun with; drawn and kept there if it is new.

    Raises:
        RunError: it was begun with others.
    """
    path = folder / FILE
    if not path.is_file():
        drawn = draw_architectures(number, recipe)
        write_text(path, json.dumps([choices_of(architecture) for architecture in drawn]))
    kept = [architecture_of(cells) for cells in json.loads(path.read_text())]
    if len(kept) != number:
        raise RunError(f"{path}: has {len(kept)} architectures, not {number}; give another folder")
    return kept
