"""What each change of the retraining recipe gives on ShanghaiTech A, judged on held-out training images alone.

python -m benchmarks.recipes run --data part_A_final --rows ROWS --minutes 5 --processes 2
python -m benchmarks.recipes report --rows ROWS

A row is one training, a recipe with a seed, of the cells of examples/shanghaitech, with one thread. Seeds are paired:
they hold out the same fifth of the training images and draw the same first weights. What was killed is trained anew,
what ended is kept. The test part is never read.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.comparing.statistics import mean_interval
from nni_count.model import load_model
from nni_count.runs.files import write_text

CELLS = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"
BASE = "the record's: rate 4e-3, bfloat16"
COMMON = "--learning_rate 4e-3 --precision bf16-mixed --validation_fraction 0.2"
WIDE = "--network.stem_stride 2 --crop_size 256"
COARSE = f"{WIDE} --network.map_stride 8"
#: name → what is given beside :data:`COMMON`, which it may change
RECIPES = {
    BASE: "",
    "sizes 0.75 to 2": "--augmentation.scale [0.75,2]",
    "sizes 0.8 to 1.25": "--augmentation.scale [0.8,1.25]",
    "crops of 128, 12 a step": "--crop_size 128 --batch_size 12",
    "crops of 256, 4 a step": "--crop_size 256 --batch_size 4",
    "batches of 3": "--batch_size 3",
    "rate 2e-3": "--learning_rate 2e-3",
    "rate 8e-3": "--learning_rate 8e-3",
    "norms still for the last 0.4": "--frozen_norms 0.4",
    "gradients up to 1": "--gradient_clip 1",
    "stem of stride 2": "--network.stem_stride 2",
    "sppl + 0.01 bayesian": "--loss '{sppl: 1, bayesian: 0.01}'",
    "sppl + 0.01 dm_count": "--loss '{sppl: 1, dm_count: 0.01}'",
    "bayesian": "--loss bayesian",
    "poisson": "--loss poisson",
    "stem 2, crops of 256": f"{WIDE}",
    "stem 2, crops of 256, sizes": f"{WIDE} --augmentation.scale [0.75,1.5]",
    "stem 2, crops of 256, map 8": f"{COARSE}",
    "stem 2, crops of 256, map 8, bayesian": f"{COARSE} --loss '{{sppl: 1, bayesian: 0.01}}'",
    "stem 2, crops of 256, map 8, poisson": f"{COARSE} --loss poisson",
    "stem 2, crops of 256, map 8, 8 a step": f"{COARSE} --batch_size 8",
    "stem 4, crops of 256, map 8": "--network.stem_stride 4 --network.map_stride 8 --crop_size 256",
    "stem 2, crops of 384, map 8": f"{COARSE} --crop_size 384",
    "stem 2, crops of 256, map 8, rate 8e-3": f"{COARSE} --learning_rate 8e-3",
    "stem 2, crops of 256, map 8, sizes": f"{COARSE} --augmentation.scale [0.75,1.5]",
    "stem 2, crops of 256, map 16": f"{WIDE} --network.map_stride 16",
}


def settings(recipe: str) -> list[str]:
    """The options of a recipe; a later one takes the place of an earlier."""
    words = shlex.split(f"{COMMON} {RECIPES[recipe]}")
    return [part for pair in dict(zip(words[::2], words[1::2], strict=True)).items() for part in pair]


def place(rows: Path, recipe: str, seed: int, minutes: float) -> Path:
    """The file of a row."""
    name = "".join(letter if letter.isalnum() else "_" for letter in recipe)
    return rows / f"{minutes:g}-{name}-{seed}.json"


def train(data: str, rows: Path, minutes: float, todo: tuple[int, str]) -> None:
    """One training, in a process of its own; its row is written when it has ended."""
    seed, recipe = todo
    file = place(rows, recipe, seed, minutes)
    if file.exists():
        return
    run = file.with_suffix("")
    shutil.rmtree(run, ignore_errors=True)
    given = ["--data", data, "--architecture", str(CELLS), "--seed", str(seed), *settings(recipe)]
    time = f"00:00:{int(minutes):02d}:{int(minutes % 1 * 60):02d}"
    call = [sys.executable, "-c", "from nni_count.cli import main; raise SystemExit(main())"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*call, "retrain", *given, "--max_time", time, "--out", str(run)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        print(f"{recipe}, seed {seed}: {ended.stderr[-300:]}", file=sys.stderr, flush=True)
        return
    facts = load_model(run / "model.safetensors").facts
    kept = ("validation_mae", "constant_mae", "steps", "seconds", "weights", "validation_images")
    row = {"recipe": recipe, "seed": seed, "minutes": minutes, **{name: facts.get(name) for name in kept}}
    write_text(file, json.dumps(row))
    shutil.rmtree(run)
    print(f"{recipe}, seed {seed}: {row['validation_mae']:.1f} after {row['steps']} steps", flush=True)


def report(rows: list[dict[str, Any]]) -> str:
    """A table of mean figures, and of their differences from :data:`BASE` on the same seeds, with 95% intervals."""
    found = {(row["recipe"], row["seed"]): row for row in rows}
    lines = ["| recipe | seeds | validation MAE | beside the first | steps |", "|---|---|---|---|---|"]
    for recipe in RECIPES:
        mine = [row for row in rows if row["recipe"] == recipe]
        pairs = [
            (row["validation_mae"], found[BASE, row["seed"]]["validation_mae"])
            for row in mine
            if (BASE, row["seed"]) in found
        ]
        if not pairs:
            continue
        own, base = np.array(pairs).T
        ratio = np.log(own / base)
        beside = "" if recipe == BASE else f"{np.exp(ratio.mean()) - 1:+.1%}"
        if beside and len(pairs) > 1:
            low, high = np.exp(mean_interval(ratio)) - 1
            beside += f" ({low:+.1%} to {high:+.1%})"
        steps = np.mean([row["steps"] for row in mine])
        lines.append(f"| {recipe} | {len(pairs)} | {own.mean():.1f} | {beside} | {steps:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["run", "report"])
    parser.add_argument("--data", help="ShanghaiTech A")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    given = parser.parse_args()
    given.rows.mkdir(parents=True, exist_ok=True)
    if given.do == "run":
        todo = [(seed, recipe) for seed in range(given.seeds) for recipe in given.recipes]
        with ThreadPoolExecutor(given.processes) as pool:
            list(pool.map(partial(train, given.data, given.rows, given.minutes), todo))
    files = sorted(given.rows.glob(f"{given.minutes:g}-*.json"))
    print(report([json.loads(file.read_text(encoding="utf-8")) for file in files]))


if __name__ == "__main__":
    main()
