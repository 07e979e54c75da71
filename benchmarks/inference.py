"""Images a second and memory of whole networks at 768×1024: by torch as it comes, by torch as ``predict`` has it, by
ONNX Runtime and by OpenVINO, turn about in one process; the memory of each in a process of its own.

Run: python benchmarks/inference.py --threads 2
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURE = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"
NETWORKS = ("amsnet", "mcnn", "sanet", "tednet", "csrnet")
#: runtime → the file that it reads
RUNTIMES = {"torch": "model.safetensors", "folded": "model.safetensors", "onnx": "model.onnx", "openvino": "model.xml"}


def write(name: str, folder: Path) -> None:
    """A network with first weights as a model, and exported."""
    from nni_count.architecture import read_architecture
    from nni_count.model import Model, save_model
    from nni_count.model.graph import export_onnx, export_openvino
    from nni_count.networks import create, initialise
    from nni_count.tasks.counting import Counting

    cells = read_architecture(ARCHITECTURE) if name == "amsnet" else None
    network = create(name, cells)
    initialise(network)
    model = Model(network, name, cells, Counting())
    folder.mkdir()
    save_model(model, folder / "model.safetensors")
    export_onnx(model, folder / "model.onnx")
    export_openvino(folder / "model.onnx", folder / "model.xml")


def opened(folder: Path, runtime: str, threads: int) -> Callable[[np.ndarray], Any]:
    """What estimates an image."""
    from nni_count.model import Model, load_model
    from nni_count.runs.memory import keep_memory

    model = load_model(folder / RUNTIMES[runtime], threads=threads)
    if isinstance(model, Model) and runtime == "torch":
        model._folded = None

    def estimate(image: np.ndarray) -> Any:
        (give_back if runtime == "torch" else keep_memory)()
        return model.estimate(image)

    return estimate


def give_back() -> None:
    """Let the C library give freed memory back, as it comes."""
    options = ctypes.CDLL(None)
    options.mallopt(-4, 65536)  # mmap's largest number
    options.mallopt(-1, 128 << 10)  # from where the heap is trimmed


def memory(of: str) -> float:
    """Of this process, in MB: ``VmRSS``, what it has now, or ``VmHWM``, the most that it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(of))) / 1024


def peak(folder: Path, runtime: str, threads: int, size: tuple[int, int]) -> float:
    """The memory in MB that weights and an image take, in a process that has imported all."""
    options = ["--threads", str(threads), "--size", *map(str, size), "--of", str(folder), runtime]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    call = [sys.executable, __file__, *options]
    done = subprocess.run(call, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def print_peak(folder: Path, runtime: str, threads: int, image: np.ndarray) -> None:
    import onnxruntime  # noqa: F401
    import openvino  # noqa: F401
    import torch  # noqa: F401

    import nni_count.model.trained  # noqa: F401

    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # what was most so far is forgotten
    estimate = opened(folder, runtime, threads)
    estimate(image)
    print(memory("VmHWM") - before)


def measured(place: Path, names: list[str], rounds: int, threads: int, image: np.ndarray) -> dict[str, dict[str, Any]]:
    """Network and runtime → median seconds of an image, and the memory that it takes."""
    runs = {(name, runtime): opened(place / name, runtime, threads) for name in names for runtime in RUNTIMES}
    seconds: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
    for number in range(rounds + 1):  # the first one warms up
        for run, estimate in runs.items():
            estimate(image)  # the memory is then as this runtime leaves it
            start = time.perf_counter()
            estimate(image)
            seconds[run].append(time.perf_counter() - start)
        told = ", ".join(f"{name} {runtime} {times[-1]:.2f}" for (name, runtime), times in seconds.items())
        print(f"round {number} of {rounds}, in seconds: {told}", file=sys.stderr, flush=True)
    size = (image.shape[0], image.shape[1])
    return {
        f"{name} {runtime}": {
            "seconds": statistics.median(times[1:]),
            "smallest": min(times[1:]),
            "largest": max(times[1:]),
            "peak_mb": peak(place / name, runtime, threads, size),
        }
        for (name, runtime), times in seconds.items()
    }


def table(rows: dict[str, dict[str, Any]], names: list[str]) -> str:
    """Images a second and megabytes, a line a network."""
    lines = ["| network | " + " | ".join(RUNTIMES) + " |", "|---|" + "---|" * len(RUNTIMES)]
    for name in names:
        found = [rows[f"{name} {runtime}"] for runtime in RUNTIMES]
        cells = (f"{1 / row['seconds']:.2f}/s, {row['peak_mb']:.0f} MB" for row in found)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--size", type=int, nargs=2, default=(768, 1024), help="height and width")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--of", nargs=2, help="print the memory that one takes: the folder of a network, and a runtime")
    given = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (*given.size, 3), np.uint8)
    if given.of:
        print_peak(Path(given.of[0]), given.of[1], given.threads, image)
        return
    names = list(given.networks)
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            write(name, Path(place, name))
        rows = measured(Path(place), names, given.rounds, given.threads, image)
    print(table(rows, names))
    print(json.dumps({"benchmark": "inference", "threads": given.threads, "size": list(given.size), "rows": rows}))


if __name__ == "__main__":
    main()
