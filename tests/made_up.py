"""Tables of trainings that never were, whose errors are given."""

import numpy as np
from conftest import random_architecture

from benchmarks.table.packing import write_table
from nni_count.architecture import EXTRACTION, FUSION
from nni_count.comparing.trained import open_table
from nni_count.ops import NONE


def made_up(number, errors, longer=False, data="cells"):
    """Rows whose error is given, ``(architectures, seeds)``."""
    truths = [10.0, 20.0]
    return [
        {
            "architecture": place,
            "data": data,
            "seed": seed,
            "longer": longer,
            "parameters": 1000 - place,
            "flops": place,
            "truths": truths,
            "steps": [1],
            "seconds": [1.5],
            "loss": [0.0] * 20,
            "unexplained": [errors[place][seed]],
            "counts": [[truth + errors[place][seed] for truth in truths]],
        }
        for place in range(number)
        for seed in range(len(errors[place]))
    ]


def table_of(path, rows, number):
    write_table(path, rows, [random_architecture(place) for place in range(number)], {})
    return open_table(path)


def planted(path, number, seeds=0.05):
    """A table of one data set: dilated convolutions are good, large separable ones and missing edges bad; ``seeds`` is
    the deviation of the logarithm between seeds.
    """
    generator = np.random.default_rng(0)
    worth = {"dil_conv_3x3": -0.2, "dil_conv_5x5": -0.1, "sep_conv_7x7": 0.1, NONE: 0.2}
    errors = []
    for place in range(number):
        of = (random_architecture(place).cell(kind) for kind in (EXTRACTION, FUSION))
        chosen = [operation for cell in of for edges in cell.values() for operation in edges.values()]
        level = sum(worth.get(operation, 0) for operation in chosen)
        errors.append((10 * np.exp(level + generator.normal(0, seeds, 2))).tolist())
    return table_of(path, made_up(number, errors), number)
