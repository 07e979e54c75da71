"""What several tests need: architectures drawn at random."""

import random

from nni_count.architecture import CELL_KINDS
from nni_count.ops import NONE, OPERATIONS, POOLINGS


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
