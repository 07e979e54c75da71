"""Kills at random moments: nothing is lost, nothing differs from the run that nobody killed, nothing is left behind.

python tests/soak.py --kills 100
pytest tests/soak.py -m slow
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from forked import COMMANDS, Forked, ended, product, table, unfinished

pytestmark = pytest.mark.slow

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


class Killer:
    """Kills runs; what was met stands in ``lost``, ``different``, ``left`` and ``unclear``.

    Args:
        forked: which starts them.
        generator: of the moments.
    """

    def __init__(self, forked, generator):
        self.forked = forked
        self.generator = generator
        self.lost, self.different, self.left, self.unclear = [], [], [], []

    def kill(self, name):
        """Kill a run once or twice, each time at a random moment of what is left, then let it end; returns how often
        it was met alive.
        """
        forked = self.forked
        twin, out, met = forked.twin(name), forked.folder / f"{name}-killed", 0
        for _ in range(self.generator.choice((1, 2, 2))):
            number = self.generator.choice(SIGNALS)
            child = forked.start(name, out, *self.how(name, out))
            time.sleep(self.generator.uniform(0, forked.seconds[name] / (1 + met)))
            os.kill(child, number)
            code = forked.wait(child)
            told = f"{name} {number.name} -> {code}: {forked.said()[-300:]}"
            if code not in (0, 130, -number):
                self.unclear.append(told)
            if "Traceback" in told or "is a fault of NNI-Count's" in told:
                self.unclear.append(told)
            if self.generator.random() < 0.5:  # else it goes on while what it had started still ends
                self.left += ended(out)
            met += code != 0
        self.finish(name, out, twin)
        return met

    def how(self, name, out):
        if name == "predict" and (out / "counts.csv").is_file():
            rows = table(out / "counts.csv")
            if len(rows) > 1 and rows != self.forked.twins[name]["counts.csv"][: len(rows)]:
                self.lost.append(f"predict: {rows[-1]}")
        return self.forked.how(name, out)

    def finish(self, name, out, twin):
        forked = self.forked
        if forked.wait(forked.start(name, out, *self.how(name, out))) != 0:
            self.lost.append(f"{name}: {forked.said()[-400:]}")
        elif (found := product(out)) != twin:
            self.different.append(f"{name}: {[key for key in twin if found.get(key) != twin[key]]}")
        self.left += ended(out) + unfinished(out)
        shutil.rmtree(out, ignore_errors=True)

    def figures(self):
        return {name: len(getattr(self, name)) for name in ("lost", "different", "left", "unclear")}


def soak(kills, names, places, seed=0, seconds=None):
    """Kill so often, over all names and places; returns the figures, and what went wrong."""
    torch.set_num_threads(1)
    figures, wrong, begun = Counter(), [], time.monotonic()
    for place in places:
        folder = Path(tempfile.mkdtemp(prefix="soak-", dir=place))
        try:
            for name in names:
                killer, wanted = Killer(Forked(folder / name), random.Random(f"{seed} {place} {name}")), 0
                while wanted < kills / (len(names) * len(places)):
                    if seconds is not None and time.monotonic() - begun > seconds:
                        break
                    wanted += killer.kill(name)
                    print(name, place, wanted, killer.figures(), file=sys.stderr, flush=True)
                figures[f"{name} {place}"] = wanted
                figures.update(kills=wanted, **killer.figures())
                print(json.dumps({"name": name, "place": place, "kills": wanted, **killer.figures()}), flush=True)
                wrong += [*killer.lost, *killer.different, *killer.left, *killer.unclear]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return dict(figures), wrong


def test_nothing_is_lost():
    figures, wrong = soak(32, list(COMMANDS), ["/tmp", "/dev/shm"])
    assert not wrong, (figures, wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--names", nargs="+", default=list(COMMANDS))
    parser.add_argument("--places", nargs="+", default=["/tmp", "/dev/shm"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--seconds", type=float, help="after which no further run is begun")
    settings = parser.parse_args()
    done, faults = soak(settings.kills, settings.names, settings.places, settings.seed, settings.seconds)
    print(done, *faults, sep="\n")
    sys.exit(bool(faults))
