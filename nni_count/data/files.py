"""The files of a layout: found by name, in the order in which people number them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from nni_count.data.images import IMAGE_SUFFIXES
from nni_count.errors import DataError


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort by, that puts IMG_2 before IMG_10."""
    return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"(\d{1,18})|(\D+)", name)]


def composed(name: str) -> str:
    """A name in the one form that file systems and archives, which have several for é, are compared in."""
    return unicodedata.normalize("NFC", name)


def as_seen(name: str) -> str:
    """A name as people compare it: capitals, blanks around it and the Unicode form aside."""
    return composed(composed(name).casefold()).strip()


def find_images(*folders: Path) -> dict[str, Path]:
    """The images of folders by their names without suffix.

    Raises:
        DataError: a folder is missing, or two images have one name.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; restore it")
        paths = (path for path in sorted(folder.iterdir()) if is_image(path))
        found = by_name(((path.stem, path) for path in paths), found)
    return found


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def by_name(named: Iterable[tuple[str, Path]], found: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Files by their names, beside those that were ``found`` before.

    Raises:
        DataError: two have one name.
    """
    found = dict(found or {})
    for name, path in named:
        if found.setdefault(composed(name), path) != path:
            raise DataError(f"{path}: has the same name as {found[composed(name)]}; rename or remove one")
    return found


def find_files(folder: Path, suffix: str, *, prefix: str = "", ending: str = "") -> dict[str, Path]:
    """Files ``{prefix}{name}{ending}{suffix}`` of a folder by name; nothing where there is no folder.

    The suffix, in small letters, may stand there in capitals.

    Raises:
        DataError: two files have one name.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return by_name(
        (path.stem.removeprefix(prefix).removesuffix(ending), path)
        for path in paths
        if path.suffix.lower() == suffix and path.stem.startswith(prefix) and path.stem.endswith(ending)
        if not path.name.startswith(".") and not path.is_fifo()  # which would be waited for
    )


def paired_names(images: Collection[str], others: Mapping[str, Path]) -> dict[str, Path]:
    """Other files by the names of their images, where theirs have more before or behind, the same in all."""
    some = sorted(images)[:20]
    affixes = Counter((o[: o.find(name)], o[o.find(name) + len(name) :]) for name in some for o in others if name in o)
    likely = [("", ""), *(affix for affix, _ in affixes.most_common(20))]
    prefix, ending = max(likely, key=lambda affix: sum(affix[0] + name + affix[1] in others for name in images))
    pairs = {prefix + name + ending: name for name in images}
    return {pairs.get(other, other): path for other, path in others.items()}


def find_folder(root: Path, *names: str) -> Path | None:
    """The first of these folders that there is, whatever its capitals."""
    below = {as_seen(path.name): path for path in sorted(root.iterdir(), reverse=True) if path.is_dir()}
    return next((below[name] for name in names if name in below), None)


class Images:
    """The images below a folder, found by names that others gave them.

    Args:
        root: the folder.
        homes: folders in it from which names are likely to count, the likeliest first.
    """

    def __init__(self, root: Path, homes: Sequence[Path]):
        self.homes = [home for home in homes if home.is_dir()]
        self.paths: list[Path] = []
        self._by_stem: dict[str, list[Path]] = {}
        seen: set[str] = set()
        for folder, below, names in os.walk(root, followlinks=True):
            links = {name: os.path.realpath(os.path.join(folder, name)) for name in sorted(below) if name[0] != "."}
            below[:] = [name for name, real in links.items() if real not in seen]  # a link may lead round in a circle
            seen |= set(links.values())
            self.paths += [Path(folder, name) for name in sorted(names) if is_image(Path(name))]
        for path in self.paths:
            self._by_stem.setdefault(as_seen(path.stem), []).append(path)

    def find(self, name: str) -> list[Path]:
        """The image that somebody calls so; several where that is not plain.

        A name may have other capitals or another suffix than the file, or none, and may begin with folders that are
        not here, as those of another machine; those that are here may be left out.
        """
        *folders, last = ["", *(part for part in re.split(r"[/\\]", as_seen(name)) if part not in ("", ".", ".."))]
        stem = as_seen(PurePosixPath(last).stem) if PurePosixPath(last).suffix in IMAGE_SUFFIXES else last
        ranks = {path: self._rank(path, name, folders[1:], last) for path in self._by_stem.get(stem, [])}
        best = min((rank for rank in ranks.values() if rank), default=None)
        return [path for path, rank in ranks.items() if rank == best and rank]

    def _rank(self, path: Path, name: str, folders: list[str], last: str) -> tuple[int, ...] | None:
        """How well a path fits a name, less is better; None where folders of both differ."""
        likeness = 0 if re.split(r"[/\\]", name)[-1] == path.name else 1 if as_seen(path.name) == last else 2
        ranks = []
        for number, home in enumerate(self.homes):
            if path.is_relative_to(home):
                parts = [as_seen(part) for part in path.relative_to(home).parts[:-1]]
                shared = min(len(parts), len(folders))
                if parts[len(parts) - shared :] == folders[len(folders) - shared :]:
                    ranks.append((likeness, len(folders) - shared, len(parts) - shared, number))
        return min(ranks, default=None)


def unpaired(
    images: Collection[str], points: Collection[str], image_folder: Path, point_folder: Path, every: bool
) -> Iterator[DataError]:
    """A fault for each image without points and each file of points without an image; without ``every``, one that tells
    how many more there are.
    """
    kinds = f"points without an image, of which are read {', '.join(sorted(IMAGE_SUFFIXES))}"
    for missing, others, what, where in (
        (sorted(set(images) - set(points), key=natural), points, "image without points", point_folder),
        (sorted(set(points) - set(images), key=natural), images, kinds, image_folder),
    ):
        more = "" if every or len(missing) < 2 else f" and {len(missing) - 1} more"
        alike = {as_seen(name): name for name in others} if missing else {}
        for name in missing if every else missing[:1]:
            like = alike.get(as_seen(name))
            remedy = f"rename {like}, of other capitals" if like else "add the file or remove its partner"
            yield DataError(f"{where}: nothing for {name}{more} ({what}); {remedy}")
