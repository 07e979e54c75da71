"""Small videos."""

from fractions import Fraction

import av
import numpy as np


def clip(path, seconds=4.0, fps=10, size=(64, 48), sound=True, format=None, start=0):
    """A video that grows lighter, with a tone; ``start`` frames late."""
    with av.open(str(path), "w", format=format) as file:
        picture = file.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "5"})
        picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
        tone = file.add_stream("aac", rate=16000, layout="mono") if sound else None
        number = round(seconds * fps)
        for index in range(number):
            pixels = np.full((size[1], size[0], 3), 40 + round(150 * index / number), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index + start, Fraction(1, fps)
            file.mux(picture.encode(frame))
        file.mux(picture.encode())
        for index in range(round(seconds * 16000 / 1024) if tone else 0):
            wave = np.sin(np.arange(1024) / 5).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, index * 1024
            file.mux(tone.encode(frame))
        if tone:
            file.mux(tone.encode())
    return path
