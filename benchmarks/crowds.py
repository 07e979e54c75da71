"""What the data benchmarks measure on: ShanghaiTech A where it is, else synthetic crowds of its size."""

from __future__ import annotations

import os
from pathlib import Path

from nni_count.data import open_data
from nni_count.data.sample import Sample
from nni_count.data.synthetic import CrowdStream

DEFAULT = os.environ.get("NNI_COUNT_DATA", str(Path(__file__).parents[2] / "shared" / "data"))


def crowds(data: str, number: int) -> tuple[list[Sample], str]:
    """So many training images, evenly from the whole set, and what they are called."""
    for root in (Path(data), Path(data) / "shanghaitech" / "part_A_final"):
        if (root / "train_data").is_dir():
            samples = open_data(root).samples("train")
            step = max(1, len(samples) // number)
            return samples[::step][:number], root.name
    print(f"{data}: no ShanghaiTech there; synthetic crowds instead (give --data, or set NNI_COUNT_DATA)", flush=True)
    return CrowdStream(size=(600, 800), people=(100, 1000)).take(number), "synthetic"
