"""Tables of trainings that never were, whose errors are given."""

from conftest import random_architecture

from nni_count.comparing.trained import open_table, write_table


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
            "counts": [[truth + errors[place][seed] for truth in truths]],
        }
        for place in range(number)
        for seed in range(len(errors[place]))
    ]


def table_of(path, rows, number):
    write_table(path, rows, [random_architecture(place) for place in range(number)], {})
    return open_table(path)
