"""Print the table of ``results.json`` beside the published figures of networks of that size.

Run: python examples/shanghaitech/table.py [RUN_FOLDER_OF_EVALUATE ...]

With run folders it prints those instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nni_count.comparing.published import SHA, rows

PUBLISHED = ("MCNN", "SANet", "AMSNet")


def row(name: str, report: dict[str, Any]) -> str:
    model = report["model"]
    maps = report.get("maps", {}).get("truth-peak", report)  # the protocol of all rows
    trained = f"{model['seconds'] / 60:.0f} min, {model['steps']:,} steps"
    return (
        f"| {name} | {report['parameters']:,} | {trained} | {report['mae']:.1f} | {report['rmse']:.1f} "
        f"| {maps['psnr']:.2f} | {maps['ssim']:.3f} | {report['seconds_per_image']:.2f} |"
    )


def main(folders: list[str]) -> None:
    if folders:
        reports = {folder: json.loads((Path(folder) / "evaluation.json").read_text()) for folder in folders}
    else:
        reports = json.loads(Path(__file__).with_name("results.json").read_text())
    print("| network | parameters | training | MAE | RMSE | PSNR | SSIM | s/image |")
    print("|---|---|---|---|---|---|---|---|")
    for name, report in reports.items():
        print(row(name, report))
    constant = next(iter(reports.values()))["constant_mae"]
    print(f"| always the training mean | 0 | – | {constant:.1f} | – | – | – | – |")
    for found in rows(SHA):
        if found.method in PUBLISHED:
            size = f"{(found.parameters or 0) / 1e6:.2f}M"
            print(f"| {found.method}, published | {size} | not stated | {found.mae} | {found.rmse} | | | |")


if __name__ == "__main__":
    main(sys.argv[1:])
