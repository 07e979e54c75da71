"""In the place of a training: figures that follow from the architecture alone, in a process that starts at once."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import cloudpickle

from nni_count.runs.files import whole
from nni_count.runs.plain import read_yaml


class StandIn:
    """A :class:`nni_count.searching.multi_trial.candidate.Candidate` that takes so long, and fails where it is told.

    Args:
        seconds: of each trial.
        images: by which workers know the data; a file is read by each process itself.
        fails: how every architecture ends: by an error, or by a signal.
        accelerator: Lightning's.
    """

    def __init__(self, seconds=0.0, images="these", fails=None, accelerator="cpu"):
        self.seconds = seconds
        self.images = images
        self.fails = fails
        self.accelerator = accelerator

    def save(self, path):
        with whole(path) as temporary:
            temporary.write_bytes(cloudpickle.dumps(self))

    def learns_from(self):
        return Path(self.images).read_text() if os.path.isfile(self.images) else self.images

    def share_processors(self):
        pass

    @property
    def task(self):
        from nni_count.tasks.counting import Counting

        return Counting()

    def run(self, path):
        return self.figures(read_yaml(path))

    def train(self, architecture, report):
        return self.figures(architecture.to_dict())

    def figures(self, architecture):
        time.sleep(self.seconds)
        parts = {name: architecture[name] for name in ("extraction", "fusion", "pooling")}
        digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        if self.fails == "error":
            raise ValueError("fails on purpose")
        if self.fails == "signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        device = float(os.environ.get("CUDA_VISIBLE_DEVICES") or -1)
        return {"mae": int(digest[:4], 16) / 100, "parameters": 9.0, "seconds": self.seconds, "device": device}
