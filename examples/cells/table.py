"""Print what runs of ``examples.cells.run`` reached, beside the literature.

Run from the project's folder: python -m examples.cells.table [runs/cells]

Without a folder it prints ``results.json``, which ``--write`` makes from one.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from examples.kept_table import print_table

RESULTS = Path(__file__).with_name("results.json")
PUBLISHED = [  # mean absolute error on the last 100 images
    ("regression forests (Fiaschi et al., ICPR 2012)", "32", "3.2 ± 0.1"),
    ("density learning (Lempitsky and Zisserman, NIPS 2010)", "32", "3.5 ± 0.2"),
    ("FCRN-A (Xie et al., MICCAI workshop 2015)", "32", "2.9 ± 0.2"),
    ("U-Net", "64", "3.5 ± 0.4"),
    ("Count-ception (Cohen et al., ICCV workshop 2017)", "50", "2.3"),
]


def collect(folder: Path) -> list[dict[str, Any]]:
    """A row for every run that has its test."""
    rows = []
    for path in sorted(folder.glob("*/test/evaluation.json")):
        report = json.loads(path.read_text())
        images, seed = map(int, path.parts[-3].split("-"))
        figures = {name: report[name] for name in ("mae", "rmse", "parameters", "seconds_per_image")}
        figures |= {name: report["model"][name] for name in ("steps", "seconds")}
        rows.append({"images": images, "seed": seed, **figures})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and deviation over the seeds of each N, as Markdown."""
    lines = ["| network | N | seeds | parameters | retraining | test MAE |", "|---|---|---|---|---|---|"]
    for images in sorted({row["images"] for row in rows}):
        chosen = [row for row in rows if row["images"] == images]
        errors = [row["mae"] for row in chosen]
        spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
        sizes = sorted({row["parameters"] for row in chosen})
        parameters = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        minutes = statistics.mean(row["seconds"] for row in chosen) / 60
        lines.append(
            f"| AMSNet, searched and retrained here | {images} | {len(chosen)} | {parameters} | {minutes:.0f} min "
            f"| **{statistics.mean(errors):.2f}{spread}** |"
        )
    lines += [f"| {name}, published | {images} | | | | {error} |" for name, images, error in PUBLISHED]
    return "\n".join(lines)


if __name__ == "__main__":
    print_table(__doc__, RESULTS, collect, table)
