"""Real commands at small sizes, each in a process that is forked, so that the time goes into the command and not into
imports; and what of their products does not tell of time.
"""

import contextlib
import csv
import json
import os
import shutil
import sys
import time

import numpy as np
import psutil
import yaml
from data.layouts import write
from safetensors.torch import load_file

from nni_count.cli import main

DATA = "--data synthetic --data.train 8 --data.test 6 --data.size 48"
SMALL = f"{DATA} --crop_size 32 --batch_size 2 --accelerator cpu"
SPACE = "--space AMSNetSpace --space.map_stride 4 --limit_train_batches 1"
SEARCH = f"search {SMALL} {SPACE} --validation_images 1 --max_epochs 3 --space.width"
TRIAL = "--retrain.max_steps 12 --retrain.crop_size 32 --retrain.batch_size 2"
COMMANDS = {
    "DARTS": f"{SEARCH} 16 --strategy DARTS",
    "GDAS": f"{SEARCH} 16 --strategy GDAS",
    "PartialChannel": f"{SEARCH} 32 --strategy PartialChannel --strategy.k 2",
    "Proxyless": f"{SEARCH} 16 --strategy nni.nas.strategy.Proxyless",
    "retrain": f"retrain {SMALL} --network mcnn --max_steps 60",
    "trial": f"trial {SEARCH.partition(' ')[2]} 16 --max_epochs 2 --strategy GDAS {TRIAL}",
    "multi-trial": f"search {SMALL} {SPACE} --space.width 16 --strategy Random --max_epochs 1 --trials.number 3",
    "predict": "predict {photos} --model {model}",
}
OTHERS = {
    "evaluate": f"evaluate --model {{model}} {DATA} --accelerator cpu",
    "decode": "decode --run {DARTS} --rule joint",
    "doctor": "doctor --data {dots}",
    "compare": "compare {trial} {evaluate}",
    "simulate": "simulate --trials 3 --seeds 2 --strategies RegularizedEvolution --processes 1",
}
#: differs from run to run by its nature; Lightning counts one epoch less where a run that had ended is resumed
TIMES = ("epoch", "seconds", "memory_mb", "overhead_seconds", "search_seconds", "trial", "trials", "seconds_per_image")


class Forked:
    """Runs of commands under a folder.

    Args:
        folder: on the file system that is tried.
    """

    def __init__(self, folder):
        import nni_count.commands.predict
        import nni_count.commands.trial  # noqa: F401 - once, before the forks

        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.seconds = {}
        self.twins = {}
        self.places = {"photos": folder / "photos", "dots": folder / "dots", "model": folder / "model.safetensors"}
        assert self.wait(self.start("", folder / "model", what=f"retrain {SMALL} --network mcnn --max_steps 2")) == 0
        shutil.copy(folder / "model" / "model.safetensors", self.places["model"])
        self._photos()
        write("csv", self.places["dots"], [np.array([[5.5, 6.5], [20, 7 + n]]) for n in range(5)])

    def _photos(self):
        from nni_count.data.synthetic.sets import SyntheticCrowds
        from nni_count.runs.files import write_image

        for number, sample in enumerate(SyntheticCrowds(train=0, test=30, size=64).samples("test")):
            write_image(self.places["photos"] / f"{number:02}.png", sample.read())

    def start(self, name, out, *more, what=None, before=lambda: None, after=lambda: None):
        words = (what or (COMMANDS | OTHERS)[name].format(**self.places)).split()
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = 99
        try:
            log = os.open(self.folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout = open(1, "w", closefd=False)
            sys.stderr = open(2, "w", closefd=False, buffering=1)
            before()
            code = main([*words, "--out", str(out), *more])
            after()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(code)

    def wait(self, child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def said(self):
        return (self.folder / "said.txt").read_text(errors="replace")

    def twin(self, name):
        """What an uninterrupted run gives; others may read it."""
        if name not in self.twins:
            out, begun = self.folder / f"{name}-twin", time.monotonic()
            for needed in ("DARTS", "trial", "evaluate"):
                if f"{{{needed}}}" in (COMMANDS | OTHERS)[name]:
                    self.twin(needed)
            assert self.wait(self.start(name, out)) == 0, self.said()
            self.seconds[name] = time.monotonic() - begun
            self.places[name] = out
            self.twins[name] = product(out)
        return self.twins[name]

    def how(self, name, out):
        """To go on where that is possible, else from the start, as the lines of the command advise."""
        begun = out / ("config.yaml" if name == "trial" else "checkpoints/last.ckpt")
        if name in COMMANDS and begun.is_file():
            return ["--resume"]
        shutil.rmtree(out, ignore_errors=True)
        return []


def product(out):
    """What a run gives, as far as it does not tell of time."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if "nni/" in name or "checkpoints" in name or not path.is_file():
            continue
        if path.name == "model.safetensors":
            found[name] = {key: value.tolist() for key, value in load_file(path).items()}
        elif path.suffix == ".csv":
            found[name] = table(path)
        elif path.suffix == ".yaml" and path.name != "config.yaml":
            found[name] = timeless(yaml.safe_load(path.read_text()))
        elif path.name in ("result.json", "counts.json", "evaluation.json", "doctor.json"):
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix in (".jpg", ".png", ".md"):
            found[name] = path.stat().st_size > 0
    return found


def table(path):
    rows = list(csv.reader(path.open())) or [[]]
    keep = [place for place, column in enumerate(rows[0]) if column not in TIMES]
    return [[row[place] for place in keep] for row in rows]


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in (*TIMES, "retraining", "model")}
    return value


def unfinished(out):
    """What should not be there once a command has ended."""
    return [str(path) for pattern in (".unfinished-*", ".owner") for path in out.rglob(pattern)]


def processes(out):
    """What still works on a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(out) in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(" ".join(process.cmdline())[:100])
    return found


def ended(out, seconds=20):
    """What still works on a folder after that long."""
    deadline = time.monotonic() + seconds
    while (running := processes(out)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return running
