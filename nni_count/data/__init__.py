"""Data: samples from public layouts and synthetic crowds, density maps, batches of crops."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from nni_count.data.dataset import Dataset
from nni_count.data.readers.own import OwnData
from nni_count.data.settings import check_settings, known_settings
from nni_count.data.splits import halves, pick, split_off
from nni_count.errors import DataError, SettingError
from nni_count.plugins import Entries, load

__all__ = ["READERS", "DataSetting", "Dataset", "halves", "known_settings", "open_data", "pick", "split_off"]

#: a folder or a name, alone or as ``path`` with the reader's settings beside it; or a data set
DataSetting = Mapping[str, Any] | str | Path | Dataset

#: ``--data.format`` → reader; another is added here, or by an entry point of any package. It is imported when it is
#: asked for: with all of them come SciPy, OpenCV and more, which a model needs not
READERS: Mapping[str, type[Dataset]] = Entries(
    "readers",
    {
        "shanghaitech": "nni_count.data.readers.shanghaitech:ShanghaiTech",
        "ucf_cc_50": "nni_count.data.readers.ucf_cc_50:UCFCC50",
        "ucf_qnrf": "nni_count.data.readers.ucf_qnrf:UCFQNRF",
        "worldexpo": "nni_count.data.readers.worldexpo:WorldExpo",
        "mall": "nni_count.data.readers.mall:Mall",
        "jhu_crowd": "nni_count.data.readers.jhu_crowd:JHUCrowd",
        "nwpu": "nni_count.data.readers.nwpu:NWPU",
        "dots": "nni_count.data.readers.dot_images:DotImages",
        "csv": "nni_count.data.readers.csv_points:CSVPoints",
        "clicks": "nni_count.data.readers.clicks:Clicks",
        "coco": "nni_count.data.readers.coco:COCO",
        "labelme": "nni_count.data.readers.labelme:LabelMe",
        "cvat": "nni_count.data.readers.cvat:CVAT",
        "voc": "nni_count.data.readers.voc:VOC",
        "masks": "nni_count.data.readers.mask_folders:MaskFolders",
        "mat": "nni_count.data.readers.mat_points:MatPoints",
    },
)

#: what is drawn and not read from a folder
SYNTHETIC: Mapping[str, type[Dataset]] = Entries(
    "synthetic",
    {
        "synthetic": "nni_count.data.synthetic.sets:SyntheticCrowds",
        "synthetic-cells": "nni_count.data.synthetic.sets:SyntheticCells",
    },
)


def open_data(data: DataSetting, *, format: str | None = None, **settings: Any) -> Dataset:
    """The data set in a folder, its layout recognised from the files; or synthetic crowds or cells.

    Args:
        data: a folder, ``synthetic``, ``synthetic-cells``, a data set's class by its dotted path; one of these as
            ``path`` with settings beside it, such as ``{"path": "UCF_CC_50", "fold": 2}``; or a data set, which is
            given back.
        format: the layout's name, where the files leave doubt.
        settings: the reader's, such as ``outside``, ``max_side``, ``fold`` or ``scene``.

    Raises:
        DataError: the folder is missing, or no layout fits, or several do.
        SettingError: a name or setting is unknown, or its value does not fit.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Mapping):
        return _described(data, {"format": format, **settings})
    if not isinstance(data, (str, Path)) or not str(data):
        raise SettingError(f"data: {data!r:.80} is no path; give one folder")
    asked = {"path": str(data), **({"format": format} if format else {}), **settings}
    if str(data) in SYNTHETIC and format is None:
        check_settings(SYNTHETIC[str(data)], str(data), settings)
        return _made(SYNTHETIC[str(data)](**settings), asked)
    root = Path(data)
    if not root.exists() and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", str(data)):
        try:
            return _described({"class_path": str(data), "init_args": settings}, {})
        except SettingError as error:
            raise SettingError(f"{root}: no such folder, and as a class of data: {error}") from error
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give a data set's folder, 'synthetic' or 'synthetic-cells'")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"{root}: cannot be read (Permission denied); check its permissions")
    if root.resolve() == root.resolve().parent:
        raise SettingError(f"data: {root}: is all of this machine's files; give a data set's folder")
    if format is not None and format not in list(READERS):
        raise SettingError(f"data.format: {format!r} is unknown; known: {', '.join(READERS)}")
    found = fitting(root) if format is None else [format] if READERS[format].recognises(root) else []
    meant = "" if found else " or ".join(map(str, islice(_meant(root, format), 3)))
    if format and not meant and issubclass(READERS[format], OwnData):
        found = [format]  # which decides, whatever people's own files look like
    if not found:
        remedy = f"do you mean {meant}?" if meant else "check the path or give --data.format"
        what = f"is not laid out as {format}: {READERS[format].layout}" if format else "no known layout"
        raise DataError(f"{root}: {what} (known: {', '.join(READERS)}); {remedy}")
    if len(found) > 1:
        raise DataError(f"{root}: fits {' and '.join(found)}; say which with --data.format")
    check_settings(READERS[found[0]], found[0], settings)
    return _made(READERS[found[0]](root, **settings), asked)


def _made(dataset: Dataset, of: Mapping[str, Any]) -> Dataset:
    dataset.asked_for = of
    return dataset


def _described(data: Mapping[str, Any], beside: Mapping[str, Any]) -> Dataset:
    """A data set as a configuration has it: ``path`` and settings, or a class and its arguments."""
    if "class_path" not in data:
        if "path" not in data:
            raise SettingError(f"data: {', '.join(data) or 'nothing'} without a path; give --data FOLDER")
        return open_data(**{"data": data["path"], **beside, **{n: v for n, v in data.items() if n != "path"}})
    kind = load("data", data["class_path"])
    if not (isinstance(kind, type) and issubclass(kind, Dataset)):
        raise SettingError(f"data {data['class_path']}: is no nni_count.data.Dataset; give a class that is")
    arguments: dict[str, Any] = {
        name: open_data(value) if isinstance(value, Mapping) and {"path", "class_path"} & {*value} else value
        for name, value in data.get("init_args", {}).items()
    }
    try:
        return kind(**arguments)
    except TypeError as error:
        raise SettingError(f"data {data['class_path']}: {error}") from error


def fitting(root: Path) -> list[str]:
    """The layouts that a folder has, by name; more than one where its files leave doubt."""
    general = {name for name, reader in READERS.items() if getattr(reader, "general", False)}
    special = _recognised(root, READERS.keys() - general)
    # a part of a public set may look like one of those
    inside = any(_elsewhere(folder, READERS.keys() - _own()) for folder in root.absolute().parents[:2])
    return special or ([] if inside else _recognised(root, general))


def _elsewhere(folder: Path, layouts: Collection[str]) -> list[str]:
    """The layouts of a folder that nobody asked for: what is wrong in it is nobody's concern."""
    try:
        return _recognised(folder, layouts)
    except DataError:
        return []


def _recognised(root: Path, layouts: Collection[str]) -> list[str]:
    try:
        return [name for name, reader in READERS.items() if name in layouts and reader.recognises(root)]
    except OSError:  # what may not be read has none
        return []


def _own() -> set[str]:
    """The layouts of people's own images, which may lie anywhere."""
    return {name for name, reader in READERS.items() if issubclass(reader, OwnData)}


def _meant(root: Path, format: str | None = None) -> Iterator[Path]:
    """Folders below, and those a step or two above, that have a layout, or the one that is asked for."""
    below = islice(chain.from_iterable(_folders(root, depth) for depth in (1, 2, 3, 4)), 400)
    meant: list[Path] = []
    above = root.absolute().parents[:2]
    for folder in chain(above, below):
        try:
            found = {*fitting(folder)} - (_own() if folder in above else set())
        except DataError:
            if folder not in above:
                raise
            continue
        if (format in found if format else found) and not {*meant} & {*folder.parents}:
            meant.append(folder)
            yield folder


def _folders(root: Path, depth: int) -> Iterator[Path]:
    """Those so far below; what may not be read, or goes meanwhile, has none."""
    with suppress(OSError):
        yield from (folder for folder in root.glob(f"{'*/' * depth}") if os.path.isdir(folder))
