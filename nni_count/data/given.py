"""The images that a user names, by file or by folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nni_count.data.files import is_image, natural
from nni_count.data.images import IMAGE_SUFFIXES
from nni_count.errors import DataError, Note


def here(source: str | Path) -> str | Path:
    """The path of what is given by an address of this machine's, ``file:///…``; else what is given."""
    return url2pathname(urlsplit(source).path) if isinstance(source, str) and source.startswith("file:") else source


def given_images(images: Sequence[str | Path]) -> list[Path]:
    """The image files that are given, and those directly in folders that are; a DataError where there are none."""
    found: list[Path] = []
    for entry in map(Path, images):
        if entry.is_dir():
            inside = sorted(entry.iterdir(), key=lambda path: natural(path.name))
            taken = [path for path in inside if is_image(path) and path.is_file()]
            left = [path.name + "/" * path.is_dir() for path in inside if path not in taken]
            some = f"{', '.join(left[:5])}{' …' if len(left) > 5 else ''}"
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            if not taken:
                raise DataError(
                    f"{entry}: holds no images ({kinds}){f', but {some}' if left else ''}; check the folder"
                )
            if left:
                what = f"{len(left)} left out ({some}); files directly in the folder are read, of the kinds {kinds}"
                warnings.warn(f"{entry}: {what}", stacklevel=3)
            found += taken
        elif entry.is_file():
            found.append(entry)
        else:
            raise DataError(f"{entry}: no such file or folder; check the path")
    if not found:
        raise DataError("images: none are given; name files, or folders of images")
    once = {os.path.abspath(path): path for path in reversed(found)}
    if len(once) < len(found):
        words = f"{len(found) - len(once)} of the images are given twice, and estimated once"
        warnings.warn(Note(words), stacklevel=3)
    return [path for path in found if once.pop(os.path.abspath(path), None) is not None]
