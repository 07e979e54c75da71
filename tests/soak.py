"""Kills at random moments, and disks that are full at every write: nothing is lost, nothing differs, nothing is left.

python tests/soak.py --kills 100
pytest tests/soak.py -m slow
"""

import argparse
import contextlib
import csv
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from nni_count.cli import main
from nni_count.model import load_model

pytestmark = pytest.mark.slow

SMALL = "--data synthetic --data.train 8 --data.test 6 --data.size 48 --crop_size 32 --batch_size 2 --accelerator cpu"
SPACE = "--space AMSNetSpace --space.width 16 --space.map_stride 4"
SEARCH = f"{SMALL} {SPACE} --limit_train_batches 2 --validation_images 1"
TRIAL = "--retrain.max_steps 12 --retrain.crop_size 32 --retrain.batch_size 2"
COMMANDS = {
    "DARTS": f"search {SEARCH} --strategy DARTS --max_epochs 4",
    "GDAS": f"search {SEARCH} --strategy GDAS --max_epochs 4",
    "PartialChannel": f"search {SEARCH} --strategy PartialChannel --max_epochs 4",
    "Proxyless": f"search {SEARCH} --strategy nni.nas.strategy.Proxyless --max_epochs 4",
    "retrain": f"retrain {SMALL} --network mcnn --max_steps 60",
    "trial": f"trial {SEARCH} --strategy GDAS --max_epochs 2 {TRIAL}",
    "multi-trial": f"search {SMALL} {SPACE} --limit_train_batches 1 --strategy Random --max_epochs 1 --trials.number 3",
    "predict": "predict {photos} --model {model}",
}
RESUMABLE = COMMANDS.keys() - {"predict"}
#: differs from run to run by its nature; Lightning counts one epoch less where a run that had ended is resumed
TIMES = ("epoch", "seconds", "memory_mb", "overhead_seconds", "search_seconds", "trial", "trials")
WRITING = {"open", "os.mkdir", "os.rename", "os.link", "os.truncate"}


class Soak:
    """Runs of commands, each in a process that is forked, so that the time goes into the command and not into imports.

    Args:
        folder: on the file system that is tried.
        generator: of the moments.
    """

    def __init__(self, folder: Path, generator: random.Random):
        self.folder = folder
        self.generator = generator
        self.twins = {}
        self.seconds = {}
        self.lost, self.different, self.left, self.unclear = [], [], [], []
        model = self.start("retrain", folder / "model", what=f"retrain {SMALL} --network mcnn --max_steps 2")
        assert self.wait(model) == 0, self.said()
        self.places = {"photos": folder / "photos", "model": folder / "model" / "model.safetensors"}
        assert load_model(self.places["model"]).parameters
        self._photos()

    def _photos(self):
        from nni_count.data.synthetic.sets import SyntheticCrowds
        from nni_count.runs.files import write_image

        for number, sample in enumerate(SyntheticCrowds(train=0, test=30, size=64).samples("test")):
            write_image(self.folder / "photos" / f"{number:02}.png", sample.read())

    def start(self, name, out, *more, what=None, before=lambda: None):
        words = (what or COMMANDS[name].format(**self.places)).split()
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
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(code)

    def wait(self, child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def said(self):
        return (self.folder / "said.txt").read_text(errors="replace")

    def twin(self, name):
        """What an uninterrupted run gives."""
        if name not in self.twins:
            out, begun = self.folder / f"{name}-twin", time.monotonic()
            assert self.wait(self.start(name, out)) == 0, self.said()
            self.seconds[name] = time.monotonic() - begun
            self.twins[name] = product(out)
        return self.twins[name]

    def kill(self, name, kills=1):
        """Kill a run so often, each time at a random moment of what is left, then let it end."""
        twin, out = self.twin(name), self.folder / f"{name}-killed"
        for _ in range(kills):
            number = self.generator.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            child = self.start(name, out, *self.how(name, out))
            time.sleep(self.generator.uniform(0, self.seconds[name]))
            os.kill(child, number)
            code = self.wait(child)
            told = f"{name} {number.name} -> {code}: {self.said()[-300:]}"
            if number != signal.SIGKILL and code not in (0, 130):
                self.unclear.append(told)
            self.check_words(told)
        self.finish(name, out, twin)

    def how(self, name, out):
        """To go on where that is possible, else from the start, as the lines of the command advise."""
        begun = out / ("config.yaml" if name == "trial" else "checkpoints/last.ckpt")
        if name in RESUMABLE and begun.is_file():
            return ["--resume"]
        if name == "predict" and (out / "counts.csv").is_file():
            self.check_table(out)
        shutil.rmtree(out, ignore_errors=True)
        return []

    def check_table(self, out):
        rows = list(csv.reader((out / "counts.csv").open()))
        if len(rows) > 1 and rows != self.twins["predict"]["counts.csv"][: len(rows)]:
            self.lost.append(f"predict: {rows[-1]}")

    def finish(self, name, out, twin):
        if self.wait(self.start(name, out, *self.how(name, out))) != 0:
            self.lost.append(f"{name}: {self.said()[-400:]}")
        elif (found := product(out)) != twin:
            self.different.append(f"{name}: {[key for key in twin if found.get(key) != twin[key]]}")
        deadline = time.monotonic() + 20
        while (running := processes(out)) and time.monotonic() < deadline:
            time.sleep(0.2)
        files = [str(path) for pattern in (".unfinished-*", ".owner") for path in out.rglob(pattern)]
        self.left += running + files
        shutil.rmtree(out, ignore_errors=True)

    def check_words(self, told):
        if "Traceback" in told or "is a fault of NNI-Count's" in told:
            self.unclear.append(told)

    def fill(self, name, every=1):
        """Let the disk be full at each write of a command, once; then there is room again."""
        twin, counting = self.twin(name), self.folder / "count"
        out = self.folder / f"{name}-full"
        assert self.wait(self.start(name, out, before=lambda: full_at(out, None, counting))) == 0, self.said()
        shutil.rmtree(out)
        writes = int(counting.read_text())
        first = self.generator.randrange(every)
        for number in range(first, writes, every):
            code = self.wait(self.start(name, out, before=lambda number=number: full_at(out, number)))
            self.after_full(name, out, code, f"{name}, write {number} of {writes}", twin)
        limits = [1 << bits for bits in range(9, 24, every)]
        for limit in limits:
            code = self.wait(self.start(name, out, before=lambda limit=limit: short_files(limit)))
            self.after_full(name, out, code, f"{name}, files of {limit} bytes", twin)
        return len(range(first, writes, every)) + len(limits)

    def after_full(self, name, out, code, told, twin):
        told = f"{told} -> {code}: {self.said()[-400:]}"
        if code not in (0, 2):
            self.unclear.append(told)
        self.check_words(told)
        self.finish(name, out, twin)

    def figures(self):
        return {name: len(getattr(self, name)) for name in ("lost", "different", "left", "unclear")}


def full_at(out, number, counting=None):
    """Let the write of that number, under a folder, fail; or count them all."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event not in WRITING or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        path = arguments[0]
        if isinstance(path, int) or not os.fsdecode(path).startswith(str(out)):
            return
        seen += 1
        if counting is not None:
            counting.write_text(str(seen))
        elif seen == number + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

    sys.addaudithook(hook)


def short_files(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def product(out):
    """What a run gives, as far as it does not tell of time."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if "nni/" in name or "checkpoints" in name:
            continue
        if path.name == "model.safetensors":
            found[name] = {key: value.tolist() for key, value in load_file(path).items()}
        elif path.suffix == ".csv":
            found[name] = _table(path)
        elif path.name == "architecture.yaml":
            found[name] = _timeless(yaml.safe_load(path.read_text()))
        elif path.name in ("result.json", "counts.json"):
            found[name] = _timeless(json.loads(path.read_text()))
        elif path.suffix in (".jpg", ".png"):
            found[name] = path.stat().st_size > 0
    return found


def _table(path):
    rows = list(csv.reader(path.open()))
    keep = [place for place, column in enumerate(rows[0]) if column not in TIMES]
    return [[row[place] for place in keep] for row in rows]


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in (*TIMES, "retraining")}
    return value


def processes(out):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(out) in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline())[:100])
    return found


def soak(kills, every, names, places, seed=0):
    """Run both soaks; returns the figures, and what went wrong."""
    torch.set_num_threads(1)
    import nni_count.commands.predict
    import nni_count.commands.trial  # noqa: F401 - once, before the forks

    figures, wrong = {"kills": 0, "full": 0}, []
    for place in places:
        folder = Path(tempfile.mkdtemp(prefix="soak-", dir=place))
        try:
            one = Soak(folder, random.Random(seed))
            for name in names:
                for _ in range(max(1, kills // (2 * len(names) * len(places)))):
                    one.kill(name, 2)
                    figures["kills"] += 2
                if every and name != "multi-trial":
                    figures["full"] += one.fill(name, every)
                print(name, place, {**figures, **one.figures()}, flush=True)
            wrong += [*one.lost, *one.different, *one.left, *one.unclear]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return figures, wrong


def test_nothing_is_lost():
    figures, wrong = soak(32, 8, list(COMMANDS), ["/tmp", "/dev/shm"])
    assert not wrong, (figures, wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=1, help="of the writes, every so many-th is made to fail")
    parser.add_argument("--names", nargs="+", default=list(COMMANDS))
    parser.add_argument("--places", nargs="+", default=["/tmp", "/dev/shm"])
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    done, faults = soak(settings.kills, settings.every, settings.names, settings.places, settings.seed)
    print(done, *faults, sep="\n")
    sys.exit(bool(faults))
