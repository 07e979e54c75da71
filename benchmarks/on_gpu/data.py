"""ShanghaiTech A from folders and archives, which may each hold a part of it."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from nni_count.data.readers.shanghaitech import FOLDERS, POINT_FOLDERS, ShanghaiTech
from nni_count.errors import DataError

IMAGES = {"train": 300, "test": 182}


def join(sources: Sequence[str | Path], folder: Path) -> Path:
    """One folder in ShanghaiTech's layout, of links to the files of all sources; archives are unpacked beside it.

    Args:
        sources: folders and archives (zip, tar) that hold ``train_data`` or ``test_data``, at any depth.
        folder: an empty one, which keeps what is unpacked.

    Raises:
        DataError: a source is missing, is no archive, holds neither part, or holds a file that another one has.
    """
    whole = folder / "joined"
    for number, source in enumerate(map(Path, sources)):
        place = _unpacked(source, folder / f"source_{number}")
        files = [path for part in FOLDERS.values() for path in place.rglob(f"{part}/*/*") if path.is_file()]
        if not files:
            raise DataError(f"{source}: holds neither train_data nor test_data; give ShanghaiTech A, or a part of it")
        for path in files:
            # ground-truth and ground_truth are one
            kind = POINT_FOLDERS[0] if path.parent.name in POINT_FOLDERS else path.parent.name
            link = whole / path.parent.parent.name / kind / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():
                raise DataError(f"{source}: {path.name} is in another source too; give every file once")
            link.symlink_to(path.resolve())
    return whole


def _unpacked(source: Path, folder: Path) -> Path:
    if source.is_dir():
        return source
    if not source.exists():
        raise DataError(f"{source}: no such folder or archive; check the path")
    try:
        if zipfile.is_zipfile(source):
            shutil.unpack_archive(source, folder, "zip")
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                _extract(archive, folder)
        else:
            raise DataError(f"{source}: neither a folder nor a zip or tar archive; give one of these")
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, shutil.ReadError) as error:
        raise DataError(f"{source}: cannot be unpacked ({error}); pack it again") from error
    return folder


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """All files of an archive; a TarError where one would lie outside the folder."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    members = archive.getmembers()  # Pythons before 3.10.12 and 3.11.4 look at no name
    for member in members:
        inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file inside of it")
    archive.extractall(folder, members)


def shanghaitech_a(sources: Sequence[str | Path], folder: Path, any_size: bool = False) -> ShanghaiTech:
    """The data set, with both of its parts.

    Args:
        sources, folder: as for :func:`join`.
        any_size: take any number of images, for a rehearsal.

    Raises:
        DataError: as :func:`join`, or there are not as many images as part A has.
    """
    data = ShanghaiTech(join(sources, folder))
    found = {split: len(list((data.root / place / "images").glob("*"))) for split, place in FOLDERS.items()}
    if (0 in found.values()) if any_size else (found != IMAGES):
        wanted = "both" if any_size else f"{IMAGES['train']} and {IMAGES['test']}"
        raise DataError(
            f"{', '.join(map(str, sources))}: no ShanghaiTech A, which has {wanted}: found {found['train']} training "
            f"and {found['test']} test images; give all of its folders or archives"
        )
    return data
