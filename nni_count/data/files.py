"""The files of a layout: found by name, in the order in which people number them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from nni_count.data.sample import IMAGE_SUFFIXES
from nni_count.errors import DataError


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort by, that puts IMG_2 before IMG_10."""
    return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"(\d{1,18})|(\D+)", name)]


def find_images(*folders: Path) -> dict[str, Path]:
    """The images of folders by their names without suffix.

    Raises:
        DataError: a folder is missing, or two images have one name.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; restore it")
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                if path.stem in found:
                    raise DataError(f"{path}: has the same name as {found[path.stem]}; rename or remove one")
                found[path.stem] = path
    return found


def find_files(folder: Path, suffix: str, *, prefix: str = "", ending: str = "") -> Mapping[str, Path]:
    """Files ``{prefix}{name}{ending}{suffix}`` of a folder by name; nothing where there is no folder.

    The suffix, in small letters, may stand there in capitals.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.stem.removeprefix(prefix).removesuffix(ending): path
        for path in paths
        if path.suffix.lower() == suffix and path.stem.startswith(prefix) and path.stem.endswith(ending)
        if not path.name.startswith(".")
    }


def unpaired(
    images: Collection[str], points: Collection[str], image_folder: Path, point_folder: Path, every: bool
) -> Iterator[DataError]:
    """A fault for each image without points and each file of points without an image; without ``every``, one that tells
    how many more there are.
    """
    kinds = f"points without an image, of which are read {', '.join(sorted(IMAGE_SUFFIXES))}"
    for missing, what, where in (
        (sorted(set(images) - set(points), key=natural), "image without points", point_folder),
        (sorted(set(points) - set(images), key=natural), kinds, image_folder),
    ):
        more = "" if every or len(missing) < 2 else f" and {len(missing) - 1} more"
        for name in missing if every else missing[:1]:
            yield DataError(f"{where}: nothing for {name}{more} ({what}); add the file or remove its partner")
