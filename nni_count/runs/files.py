"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

#: how the names of files begin that are still being written
UNFINISHED = ".unfinished-"


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` (same suffix), moved onto it when the block ends well, else removed.

    What is written is on the disk before the move, so that a power cut too leaves the old file or the new one.

    Raises:
        OSError: it cannot be written; its ``filename`` is ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=UNFINISHED, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files for the owner alone
        temporary.replace(path)
    except OSError as error:
        unnamed = error.filename is None or UNFINISHED in os.fsdecode(error.filename)
        if error.errno is None or not unnamed:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error  # by the name that the user knows
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an image, ``(H, W, 3)`` uint8 RGB, whole or not at all, in the format of its suffix."""
    import cv2

    data = cv2.imencode(Path(path).suffix, image[:, :, ::-1])[1]  # its own writer tells of no full disk
    with whole(path) as temporary:
        temporary.write_bytes(data.tobytes())


def write_figure(path: str | Path, figure: Figure, dpi: int = 110) -> None:
    """Write a figure of matplotlib's as a PNG, whole or not at all."""
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def free_name(stem: str, ending: str, taken: set[str]) -> str:
    """A name that was not taken before, and is now: a stem, of several a number, and an ending."""
    stem = os.fsdecode(os.fsencode(stem)[:200])  # file systems have 255 bytes for a name
    name, number = stem + ending, 2
    while name in taken:
        name, number = f"{stem}_{number}{ending}", number + 1
    taken.add(name)
    return name


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed had not finished, at any depth."""
    for left in folder.rglob(f"{UNFINISHED}*"):
        left.unlink(missing_ok=True)
