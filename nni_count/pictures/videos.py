"""Counts over time: a plot, and a video with what was counted drawn over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nni_count.pictures.cells import INK
from nni_count.runs.files import write_figure

TICK = Fraction(1, 1000)  # seconds, which frames that are written are timed in
MP4_SOUND = ("aac", "mp3", "ac3", "alac", "opus", "flac")


def draw_over_time(rows: Sequence[Mapping[str, Any]], names: Sequence[str], path: str | Path) -> None:
    """Draw numbers by their ``names`` against ``time`` in seconds, as a PNG that appears whole or not at all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for name in names:
        axes.plot([row["time"] for row in rows], [row[name] for row in rows], label=name, linewidth=1.2)
    axes.set(xlabel="seconds", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, labelcolor=INK)
    write_figure(path, figure)


def suffix_for(original: Any | None) -> str:
    """``.mp4``, or ``.mkv``, which holds any sound, for a video with the sound of a container of PyAV's."""
    codecs = [stream.codec_context.name for stream in original.streams.audio[:1]] if original else []
    return ".mp4" if all(codec in MP4_SOUND for codec in codecs) else ".mkv"


class AnnotatedVideo:
    """A video that is written frame by frame, with the sound of another one as it is there.

    Args:
        path: the file.
        original: a container of PyAV's with that sound; None, or one without, where there is none.
        size: width and height of its frames; others are scaled.
    """

    def __init__(self, path: Path, original: Any | None, size: tuple[int, int]):
        import av

        self.size = (size[0] // 2 * 2, size[1] // 2 * 2)  # the colours of H.264 are by two pixels
        self.file = av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else "mp4")
        self.picture = self.file.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "23"})
        self.picture.width, self.picture.height, self.picture.pix_fmt = *self.size, "yuv420p"
        self.picture.codec_context.time_base = TICK
        self.packets: Iterator[Any] = iter(())
        if original is not None:
            for source in original.streams.audio[:1]:
                self.sound = self.file.add_stream_from_template(source)
                self.packets = (packet for packet in original.demux(source) if packet.dts is not None)
        self.start = Fraction(original.start_time or 0, 1_000_000) if original else Fraction(0)
        self.heard = Fraction(-10)  # seconds, before any sound
        self.waiting = next(self.packets, None)

    def add(self, at: float, image: np.ndarray) -> None:
        """Add a frame ``(H, W, 3)`` uint8 RGB at a time in seconds, later than the one before."""
        import av

        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = round(at / TICK), TICK
        self.file.mux(self.picture.encode(frame))
        self._sound_until(at)

    def finish(self, end: float) -> None:
        """End the video, its sound at a time in seconds."""
        self.file.mux(self.picture.encode())
        self._sound_until(end)
        self.file.close()

    def _sound_until(self, end: float) -> None:
        while self.waiting is not None and (at := self.waiting.dts * self.waiting.time_base - self.start) <= end:
            if at <= self.heard:  # the clock went back, where recordings were joined
                self.start += at - self.heard - (self.waiting.duration or 1) * self.waiting.time_base
                continue
            self.heard, shift = at, round(self.start / self.waiting.time_base)
            self.waiting.pts, self.waiting.dts = self.waiting.pts - shift, self.waiting.dts - shift
            self.waiting.stream = self.sound
            self.file.mux(self.waiting)
            self.waiting = next(self.packets, None)
