"""Density maps of several models beside the truth, for chosen images (figures 3 and 6).

Run: python examples/paper/side_by_side.py --models MCNN=runs/table_2/MCNN AMSNet=runs/table_2/AMSNet \
         --data part_A_final --images IMG_4 IMG_21 --out runs/side_by_side.png

A model is a ``model.safetensors`` or a folder that holds one, and its name stands above its maps. All maps of an image
share one colour scale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nni_count.data import open_data
from nni_count.errors import ModelError, NNICountError
from nni_count.metrics.maps import spread
from nni_count.model import Model, load_model
from nni_count.pictures.estimates import Estimate, draw_estimates


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=PATH", help="what is drawn, in this order")
    parser.add_argument("--data", required=True, help="folder of the data set, or synthetic")
    parser.add_argument("--split", default="test", help="the part that holds the images")
    parser.add_argument("--images", nargs="+", required=True, metavar="NAME", help="of the images, without suffix")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    options = parser.parse_args(arguments)
    try:
        side_by_side(dict(map(_named, options.models)), options.data, options.split, options.images, options.out)
    except NNICountError as error:
        print(f"side_by_side: error: {error}", file=sys.stderr)
        return 2
    print(f"written to {options.out}")
    return 0


def side_by_side(models: dict[str, Model], data: str, split: str, images: Sequence[str], out: Path) -> None:
    """Draw a row an image: image, truth, and the map of each model with its count."""
    samples = {sample.name: sample for sample in open_data(data).samples(split)}
    missing = [name for name in images if name not in samples]
    if missing:
        some = ", ".join(list(samples)[:5])
        raise NNICountError(f"--images: {missing[0]!r} is not in {data}, {split}; there are {some}, …")
    rows = []
    for name in images:
        sample = samples[name]
        image = sample.read()
        panels: list[tuple[str, np.ndarray]] = []
        for label, model in models.items():
            truth, estimate = model.task.panels(model.map(image), sample, image.shape[:2])[:2]
            panels = panels or [truth]
            panels.append((f"{label}: {estimate[0]}", spread(estimate[1], image.shape[:2])))
        rows.append(Estimate(name, image, panels))
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_estimates(rows, out, next(iter(models.values())).task.unit)


def _named(text: str) -> tuple[str, Model]:
    name, _, path = text.rpartition("=")
    file = Path(path)
    if file.is_dir():
        found = sorted(file.rglob("model.safetensors"))
        if not found:
            raise ModelError(f"{path}: holds no model.safetensors; give a folder that nni-count retrain wrote")
        file = found[0]
    return name or path, load_model(file)


if __name__ == "__main__":
    sys.exit(main())
