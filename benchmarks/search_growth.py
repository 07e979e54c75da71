"""How the seconds and the memory of a search step grow with width, crop and batch.

Run: python benchmarks/search_growth.py growth.png [--device cuda]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings
from typing import Any

from search_step import measure


def growth(device: str, rounds: int) -> list[dict[str, Any]]:
    """Seconds and bytes where one of width, crop and batch changes."""
    rows = []
    for width, crop, batch in ((32, 64, 4), (64, 64, 4), (128, 64, 4), (64, 128, 4), (64, 64, 2), (64, 64, 8)):
        # at C = 32 the first cell's nodes have two channels, of which K = 4 has no share
        names = [name for name in ("NNI DARTS", "PartialChannel", "GDAS") if width > 32 or name != "PartialChannel"]
        for name, result in measure(names, rounds, width, crop, batch, device).items():
            seconds = statistics.median(result["seconds"])
            rows.append({"method": name, "C": width, "crop": crop, "batch": batch, "seconds": seconds})
            rows[-1]["bytes"] = result["bytes"]
            print(
                f"{name:<16} C={width:<4} crop={crop:<4} batch={batch}  {seconds:.3f} s  {result['bytes'] / 1e6:.0f} MB"
            )
    return rows


def draw(rows: list[dict[str, Any]], path: str) -> None:
    """Time and memory against width, crop and batch."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 5.5), layout="constrained", sharex="col", sharey="row")
    usual = {"C": 64, "crop": 64, "batch": 4}
    for column, varied in enumerate(usual):
        others = {name: value for name, value in usual.items() if name != varied}
        for method in dict.fromkeys(row["method"] for row in rows):
            line = sorted(
                (row[varied], row["seconds"], row["bytes"] / 1e6)
                for row in rows
                if row["method"] == method and all(row[name] == value for name, value in others.items())
            )
            for axis, place in zip(axes[:, column], (1, 2), strict=True):
                axis.plot([point[0] for point in line], [point[place] for point in line], "o-", label=method)
        axes[1, column].set_xlabel({"C": "width C", "crop": "crop, pixels", "batch": "crops a step"}[varied])
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("MB for the backward pass")
    for axis in axes.flat:
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", help="of time and memory against width, crop and batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    draw(growth(arguments.device, arguments.rounds), arguments.picture)


if __name__ == "__main__":
    main()
