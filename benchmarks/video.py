"""A clip of two minutes: how fast its frames are counted, beside the network alone on the same frames.

Run: python benchmarks/video.py --threads 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from nni_count.commands.predict import predict
from nni_count.data.synthetic import CrowdStream
from nni_count.data.video import Video, Watching
from nni_count.model import load_model


def write(path: Path, seconds: int, rate: int = 25, size: tuple[int, int] = (480, 640)) -> None:
    """A clip whose camera moves over a crowd."""
    scene = CrowdStream(size=(size[0], size[1] + 256)).take(1)[0].read()
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("h264", rate=rate, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(seconds * rate):
            left = abs(number % 512 - 256)
            frame = np.ascontiguousarray(scene[:, left : left + size[1]])
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        clip.mux(stream.encode())


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    model = load_model("crowds", threads=given.threads)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "clip.mp4")
        write(path, given.seconds)
        frames = [frame for _, frame in Video(str(path)).frames(given.every)]
        ratios = {"counted": list[float](), "counted and drawn": list[float]()}
        for number in range(given.rounds):
            alone, _ = timed(lambda: [model.map(frame) for frame in frames])
            for name, out in (("counted", None), ("counted and drawn", Path(place, f"out_{number}"))):
                took, rows = timed(lambda out=out: predict(path, model=model, out=out, video=Watching(given.every)))
                assert len(rows) == len(frames)
                ratios[name].append(alone / took)
    rows = {name: [statistics.median(found), min(found), max(found)] for name, found in ratios.items()}
    for name, (middle, low, high) in rows.items():
        print(f"{len(frames)} frames {name}: {middle:.2f} of the speed of the network alone ({low:.2f} to {high:.2f})")
    print(json.dumps({"benchmark": "video", "threads": given.threads, "frames": len(frames), "rows": rows}))


if __name__ == "__main__":
    main()
