"""Images a second of a retraining and of a search by two processes, beside one, each with one thread, turn about.

Run: python benchmarks/several_processes.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from nni_count.commands.retrain import retrain
from nni_count.commands.search import search
from nni_count.searching.settings import Decoding, SearchBudget
from nni_count.training.compute import Compute
from nni_count.training.settings import Budget, Crops
from search_spaces import AMSNetSpace
from strategies import PartialChannel

ARCHITECTURE = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"
DATA = {"path": "synthetic", "train": 64, "test": 1, "size": 256}
#: steps in which caches fill
WARM = 5


class Clock(Callback):
    """When each step began."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.times.append(time.perf_counter())


def train(what: str, devices: int, steps: int, out: Path) -> float:
    """Images a second of a training that begins."""
    clock, crops = Clock(), Crops(size=192, batch_size=6) if what == "retrain" else Crops()
    both: dict[str, Any] = {
        "data": DATA,
        "out": out,
        "crops": crops,
        "compute": Compute("cpu", devices),
        "callbacks": [clock],
    }
    if what == "retrain":
        retrain(**both, architecture=ARCHITECTURE, budget=Budget(max_steps=steps))
    else:
        search(
            **both,
            space=AMSNetSpace(width=64, map_stride=4),
            strategy=PartialChannel(),
            budget=SearchBudget(max_epochs=1, limit_train_batches=steps),
            decoding=Decoding(validation_images=0),
        )
    seconds = [later - earlier for earlier, later in zip(clock.times, clock.times[1:], strict=False)][WARM:]
    return devices * crops.batch_size / statistics.median(seconds)


def measured(what: str, devices: int, steps: int) -> float:
    """The same in a process of its own, which starts the others."""
    with tempfile.TemporaryDirectory() as place:
        call = [sys.executable, __file__, "--steps", str(steps), "--one", what, str(devices), place]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        return float(Path(place, "images_a_second").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--one", nargs=3, help="retrain or search, processes, folder: what one of them is called with")
    given = parser.parse_args()
    if given.one:
        what, devices, place = given.one[0], int(given.one[1]), Path(given.one[2])
        speed = train(what, devices, given.steps, place / "run")
        if os.environ.get("LOCAL_RANK", "0") == "0":
            (place / "images_a_second").write_text(str(speed))
        return
    rows = {}
    for what in ("retrain", "search"):
        ratios, speeds = [], []
        for number in range(given.rounds):
            turns = (1, 2) if number % 2 == 0 else (2, 1)
            found = {devices: measured(what, devices, given.steps) for devices in turns}
            one, two = found[1], found[2]
            ratios.append(two / one)
            speeds.append((one, two))
            print(f"{what}: {one:.2f} images a second by one process, {two:.2f} by two: {two / one:.2f}", flush=True)
        rows[what] = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios), "speeds": speeds}
    for what, row in rows.items():
        print(f"{what}: {row['ratio']:.2f} × ({row['least']:.2f} to {row['most']:.2f})")
    print(json.dumps({"benchmark": "several_processes", "cores": os.cpu_count(), "rows": rows}))


if __name__ == "__main__":
    main()
