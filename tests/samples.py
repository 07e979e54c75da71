"""What several tests need: synthetic images, random architectures, spaces of other operations and nodes, a task."""

import random
from dataclasses import replace

import conftest
from torch import nn

from nni_count.architecture import CELL_KINDS, EXTRACTION, FUSION
from nni_count.data.synthetic import CellStream, CrowdStream
from nni_count.model import Model
from nni_count.networks import create
from nni_count.ops import NONE, OPERATIONS, POOLINGS
from nni_count.tasks.counting import Counting
from nni_count.tasks.task import Task
from search_spaces import AMSNetSpace
from search_spaces.cell import SearchedCell


class Maps(Task):
    """Regresses maps, whatever their sums; of it a loss alone is asked."""

    main_metric = "error"

    def target(self, sample, shape, stride):
        raise NotImplementedError

    def measure(self, estimate, sample, shape):
        raise NotImplementedError


def untrained():
    """A model of first weights that counts somebody in most images."""
    architecture = conftest.random_architecture(3)
    found = Model(create("amsnet", architecture), "amsnet", architecture, Counting())
    found.network.up_sampling.second.bias.data += 2
    return found


def synthetic_crowds(number, *, start=0, **settings):
    return CrowdStream(**settings).take(number, start)


def synthetic_cells(number, *, start=0, **settings):
    return CellStream(**settings).take(number, start)


def strip(channels, affine):
    """A convolution along the row, then one along the column."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), padding=(0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), padding=(3, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def own_space(operations, nodes, fusing):
    """A space whose extraction cells have so many nodes, and its fusion cell."""

    class Extraction(SearchedCell):
        kind = replace(EXTRACTION, nodes=nodes)

    class Fusion(SearchedCell):
        kind = replace(FUSION, nodes=fusing)

    Extraction.operations = Fusion.operations = operations

    class OwnSpace(AMSNetSpace):
        extraction_cell, fusion_cell = Extraction, Fusion

    return OwnSpace


def random_sample(seed):
    """A sample as NNI exports it; every second one has a node whose edges are all `none`."""
    draw = random.Random(seed)
    sample = {f"pooling_{level}": draw.choice(list(POOLINGS)) for level in (1, 2, 3)}
    for kind in CELL_KINDS.values():
        for node in kind.computed:
            sample[f"{kind.name}_{node}"] = sorted(draw.sample(range(node), 2))
            for source in range(node):
                sample[f"{kind.name}_{node}_{source}"] = draw.choice(list(OPERATIONS))
    if seed % 2:
        node = draw.choice([2, 3, 4, 5])
        sample.update({f"extraction_{node}_{source}": NONE for source in range(node)})
    return sample
