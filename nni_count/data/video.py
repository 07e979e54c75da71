"""Frames of videos, streams and cameras, as PyAV opens them."""

from __future__ import annotations

import queue
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.errors import DataError, Note, SettingError

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp"),
}
UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}
OF_FILES = ("http:", "https:", "ftp:", "sftp:")  # how addresses begin that may be those of files
TIMEOUT = 10.0  # seconds that a stream is waited for
WAITS = (0, 1, 2, 4, 8, 15, 30)  # seconds before each try to open a stream again
LEAST = 0.002  # seconds to a frame whose time is none, since it is not later: AVI's are those of decoding
#: a frame ``(H, W, 3)`` uint8 RGB after its time in seconds
Frame = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Watching:
    """How a video is counted.

    Args:
        every: how often, in seconds, or with a unit such as ``0.5s``, ``500ms`` or ``2min``; 0 is every frame.
        smoothing: over how long, likewise, numbers are averaged, of each frame and those before it, beside the numbers
            themselves.
    """

    every: str | float = 1.0
    smoothing: str | float = 0.0

    @property
    def seconds(self) -> tuple[float, float]:
        """Both in seconds; a :class:`SettingError` where one is no time."""
        return _seconds(self.every, "video.every"), _seconds(self.smoothing, "video.smoothing")


def _seconds(value: float | str, setting: str) -> float:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(ms|s|min|)", str(value).strip())
    if found is None:
        raise SettingError(f"{setting}: {value!r}; give seconds from 0, such as 0.5, 0.5s, 500ms or 2min")
    return float(found[1]) * UNITS[found[2]]


def is_video(source: str | Path) -> bool:
    """Whether it is a video, a stream or a camera, as far as its name tells."""
    return Video(str(source)).far or Path(source).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Video:
    """A video, stream or camera: a file, an address or a device."""

    source: str

    @property
    def name(self) -> str:
        """What it is called where others read it: without the password of an address."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.source)

    @property
    def far(self) -> bool:
        """Whether it is no file here: an address, or a camera such as ``/dev/video0``."""
        return "://" in self.source or Path(self.source).is_char_device()

    @cached_property
    def live(self) -> bool:
        """Whether it goes on until it is ended: a camera, or an address, but of a file, which is as long as it is.

        Raises:
            DataError: see :meth:`open`.
        """
        if not self.source.startswith(OF_FILES):
            return self.far
        with self.open() as container:
            if container.format.name.endswith("_pipe"):
                raise DataError(f"{self.name}: is a photo and no video; give its file")
            return not container.duration

    def open(self) -> Any:
        """A container of PyAV's that has pictures.

        Raises:
            DataError: it cannot be opened, or has none; or PyAV is not installed.
        """
        try:
            import av
        except ImportError as error:
            raise DataError(f"{self.name}: a video needs PyAV; pip install 'nni-count[video]'") from error
        options = {"rtsp_transport": "tcp"} if self.source.startswith("rtsp") else {}
        camera = "v4l2" if self.far and "://" not in self.source else None
        # names that are no UTF-8 stop no video; PyAV 19 minds none
        lenient = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
        try:
            container = av.open(self.source, format=camera, options=options, timeout=TIMEOUT, **lenient)
        except (av.FFmpegError, OSError, ValueError) as error:
            check = "check the address, and whether it sends" if self.far else "check the path, and whether it plays"
            raise DataError(f"{self.name}: cannot be opened as a video ({_said(error)}); {check}") from error
        if not container.streams.video:
            container.close()
            raise DataError(f"{self.name}: has no pictures; give a video")
        container.streams.video[0].thread_type = "AUTO"
        return container

    def frames(self, every: float) -> Iterator[Frame]:
        """Frames as players show them, ``every`` so many seconds, timed from the first one; read while others are
        computed. A stream is opened again where it breaks off, and gives the newest frame whenever one is asked for.

        Raises:
            DataError: there are none, or it breaks off; after those before.
        """
        waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(1 if self.live else 3)
        over = threading.Event()

        def put(thing: Frame | BaseException | None) -> None:
            while not over.is_set():
                with suppress(queue.Full):
                    return waiting.put(thing, timeout=0.05)
                if self.live:  # in the place of what nobody has taken
                    with suppress(queue.Empty):
                        waiting.get_nowait()

        def read() -> None:
            try:
                for frame in self._of_stream(every) if self.live else self._of_file(every):
                    put(frame)
                    if over.is_set():
                        return
                put(None)
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            while (found := waiting.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            over.set()
            thread.join(1)  # a stream may be waited for

    def _of_file(self, every: float) -> Iterator[Frame]:
        start, begun, at, step, following, broken, last = None, 0.0, -LEAST, 0.0, 0.0, "", 0
        with self.open() as container:
            length = container.duration and container.duration / 1_000_000
            try:
                for place, frame in _decoded(container):
                    last = max(last, place)
                    if start is None:
                        start = frame.time
                    elif frame.time - start <= max(begun, at - 8 * step):  # recordings were joined
                        begun, length = at + step, None
                        start = frame.time - begun
                    now = frame.time - start
                    at, step = (now, now - at) if now > at else (at + LEAST, step)
                    if at >= following - 1e-6:
                        following = _after(at, every)
                        yield at, _upright(frame)
            except Exception as error:  # PyAV raises whatever the damaged bytes lead to
                broken = f" ({_said(error)})"
        if start is None:
            raise DataError(f"{self.name}: has no frame that can be decoded{broken}; replace it")
        if broken or (length and length - at > max(1.0, 0.05 * length)):
            of = f" of {length:.1f} s" if length else ""
            remedy = "what was counted until there stands; restore the file for the rest"
            raise DataError(f"{self.name}: breaks off after {at:.1f} s{of}{broken}; {remedy}")
        if not self.far and _appended(self.source, last):
            told = f"ends after {at:.1f} s, where another video was appended, which is not counted"
            warnings.warn(f"{self.name}: {told}; count the two apart, or join them with ffmpeg -f concat", stacklevel=2)

    def _of_stream(self, every: float) -> Iterator[Frame]:
        start, following, tries = None, 0.0, 0
        while True:
            try:
                with self.open() as container:
                    for _, frame in _decoded(container):
                        now = time.monotonic()
                        start, tries = now if start is None else start, 0
                        if now - start >= following - 1e-6:
                            following = _after(now - start, every)
                            yield now - start, _upright(frame)
                fault = "it sends no more"
            except Exception as error:  # likewise
                if start is None:
                    raise
                fault = _said(error)
            if start is None or tries == len(WAITS):
                raise DataError(f"{self.name}: breaks off ({fault}); start it again when it sends")
            if tries == 0:
                warnings.warn(Note(f"{self.name}: broke off ({fault}); it is opened again"), stacklevel=2)
            time.sleep(WAITS[tries])
            tries += 1


def _decoded(container: Any) -> Iterator[Any]:
    """Frames, each after where in the file it stood."""
    for packet in container.demux(container.streams.video[0]):
        yield from ((packet.pos or 0, f) for f in packet.decode() if f.time is not None and not f.is_corrupt)


def _appended(source: str, place: int) -> bool:
    """Whether something that begins as the file does follows a place in it.

    The readers of MP4, MOV, FLV and ASF end with the first of videos that were put behind one another.
    """
    with open(source, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return data.find(data[4:8] if data[4:8] == b"ftyp" else data[:8], max(place, 8)) > 0


def _after(at: float, every: float) -> float:
    """The next time at which a frame is wanted."""
    return (int(at / every + 1e-6) + 1) * every if every else 0.0


def _upright(frame: Any) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24", interpolation=_interpolation())
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


@cache
def _interpolation() -> Any:
    """Of colours between those that are stored: as readers of photos make them, from which a network has learnt."""
    from av.video.reformatter import Interpolation

    how = Interpolation.BILINEAR
    with suppress(AttributeError, ValueError):  # older ones know no such sums
        how |= Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
    return how


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0][:100]
