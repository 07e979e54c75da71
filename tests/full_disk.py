"""A disk that is full at each write of each command, once or from then on: one line, and nothing whole is lost.

python tests/full_disk.py
pytest tests/full_disk.py -m slow
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from forked import COMMANDS, OTHERS, Forked, product, unfinished

from nni_count.model import load_model
from nni_count.runs.checkpoints import damage

pytestmark = pytest.mark.slow

EVER = 1 << 40


def full_disk():
    """The library of full_disk.c, which must be there before Python is."""
    if "full_disk" not in os.environ.get("LD_PRELOAD", ""):
        library = Path(tempfile.mkdtemp(prefix="full-")) / "full_disk.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})
    return ctypes.CDLL(os.environ["LD_PRELOAD"])


class Full:
    """Lets writes fail; what was met stands in ``lost``, ``left`` and ``unclear``."""

    def __init__(self, forked, library, generator):
        self.forked, self.library, self.generator = forked, library, generator
        self.lost, self.left, self.unclear = [], [], []

    def writes(self, name):
        """How many a command makes under its folder."""
        out, counting = self.forked.folder / f"{name}-full", self.forked.folder / "count"
        self.forked.twin(name)
        child = self.forked.start(
            name,
            out,
            before=lambda: self.arm(out, 0, 0),
            after=lambda: counting.write_text(str(self.library.written())),
        )
        assert self.forked.wait(child) == 0, self.forked.said()
        shutil.rmtree(out)
        return int(counting.read_text())

    def arm(self, out, first, last):
        self.library.arm(os.fsencode(out), ctypes.c_long(first), ctypes.c_long(last))

    def fill(self, name, number):
        """Let the write of that number fail, and perhaps all after it; then there is room again."""
        forked, out = self.forked, self.forked.folder / f"{name}-full"
        last = self.generator.choice((number, EVER))
        code = forked.wait(forked.start(name, out, before=lambda: self.arm(out, number, last)))
        told = (
            f"{name}, write {number}{' and all after it' * (last > number)} -> {code}: {forked.said().strip()[-250:]}"
        )
        lines = [line for line in forked.said().splitlines() if line.startswith("nni-count: error: ")]
        if code not in (0, 2) or len(lines) != (code == 2) or "Traceback" in told or "is a fault of NNI-Count" in told:
            self.unclear.append(told)
        if code == 2 and not any("No space left on device" in line for line in lines):
            self.unclear.append(told)
        self.left += [f"{told}: {left}" for left in unfinished(out)]
        self.lost += [f"{told}: {lost}" for lost in self.broken(name, out)]
        code = forked.wait(forked.start(name, out, *forked.how(name, out)))
        if code != 0:
            self.lost.append(f"{told}; then {forked.said()[-400:]}")
        elif (found := product(out)) != (twin := forked.twin(name)):
            self.lost.append(f"{told}; then {[key for key in twin if found.get(key) != twin[key]]}")
        shutil.rmtree(out, ignore_errors=True)

    def broken(self, name, out):
        """Of what there is, what is not whole."""
        for path in out.rglob("*.ckpt"):
            if name != "multi-trial" and damage(path):
                yield path
        for path in out.rglob("model.safetensors"):
            load_model(path)
        if name in COMMANDS and name != "predict":
            return  # what stands there is of an earlier moment
        twin = self.forked.twin(name)
        for key, found in product(out).items():
            # a table without a row has a header of its own
            grown = key.endswith(".csv") and (len(found) == 1 or found == twin[key][: len(found)])
            if not grown and found != twin[key]:
                yield f"{key} {found!r:.200}"

    def figures(self):
        return {name: len(getattr(self, name)) for name in ("lost", "left", "unclear")}


def fill(library, every, names, place, seed=0, seconds=None, first=1):
    """Let the writes of commands fail, one a run; returns the figures, and what went wrong."""
    torch.set_num_threads(1)
    figures, wrong, begun = Counter(), [], time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="full-", dir=place))
    try:
        for name in names:
            full = Full(Forked(folder / name), library, random.Random(f"{seed} {name}"))
            writes, done, number = full.writes(name), 0, first
            while number <= writes and (seconds is None or time.monotonic() - begun < seconds):
                full.fill(name, number)
                done, number = done + 1, number + every
            figures.update(writes=writes, failed=done, **full.figures())
            told = {"name": name, "writes": writes, "failed": done, "next": number, **full.figures()}
            print(json.dumps(told), flush=True)
            wrong += [*full.lost, *full.left, *full.unclear]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return dict(figures), wrong


@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler of C")
def test_nothing_is_lost_on_a_full_disk():
    told = subprocess.run([sys.executable, __file__, "--every", "9"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="of the writes, every so many-th is made to fail")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--names", nargs="+", default=[*COMMANDS, *OTHERS])
    parser.add_argument("--place", default="/tmp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="after which no further run is begun")
    settings = vars(parser.parse_args())
    done, faults = fill(full_disk(), **settings)
    print(done, *faults, sep="\n")
    sys.exit(bool(faults))
