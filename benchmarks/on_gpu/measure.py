"""The run: checks, then the parts one after another, each with its share of the minutes; the tables at its end."""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from on_gpu.data import shanghaitech_a
from on_gpu.device import CPU, open_device
from on_gpu.inference import inference
from on_gpu.rehearsal import drawn
from on_gpu.results import Results
from on_gpu.retraining import retraining
from on_gpu.search import search
from on_gpu.sizes import PAPER, SMALLEST
from on_gpu.table import tables

#: the share of the minutes after which a part takes nothing new; what is left after the last is for the test part
SEARCH_ENDS, INFERENCE_ENDS, TRAINING_ENDS = 0.25, 0.4, 0.75


def measure(options: argparse.Namespace, started: float) -> int:
    """0, or 1 when something in it failed.

    Args:
        options: as :func:`on_gpu.options.parse` gives them, checked.
        started: ``time.monotonic()`` at the start of the run.
    """
    sizes = SMALLEST if options.rehearse else PAPER
    device = open_device(options.rehearse)
    out = Path(options.out)
    seconds = math.inf if options.rehearse else 60 * options.minutes  # a rehearsal leaves nothing out
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = shanghaitech_a(options.data, place) if options.data else None
        if options.rehearse:  # the real images, where they were given, have been looked at
            data = shanghaitech_a(drawn(place), place / "rehearsal", any_size=True)
        assert data is not None
        results = Results(out / "results.json", _facts(options, device), started)
        with results.part("search", SEARCH_ENDS * seconds) as part:
            search(part, device, sizes)
        with results.part("inference", INFERENCE_ENDS * seconds) as part:
            inference(part, device, sizes)
        with results.part("retraining", TRAINING_ENDS * seconds) as part:
            width = options.width if not options.rehearse else sizes.width
            retraining(part, device, sizes, data, width, out)
        results.write()
    print(tables(results.content))
    return 1 if results.failed else 0


def _facts(options: argparse.Namespace, device: CPU) -> dict[str, Any]:
    return {
        "rehearsal": options.rehearse,
        "command": options.command,
        "date": datetime.date.today().isoformat(),
        "minutes": options.minutes,
        **device.describe(),
        "cpus": len(os.sched_getaffinity(0)),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": pl.__version__,
            "numpy": np.__version__,
        },
    }
