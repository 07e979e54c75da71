"""What is carried to a machine without internet: the data in archives, and packages that are not installed there."""

from __future__ import annotations

import itertools
import shutil
import tarfile
from importlib.util import find_spec
from pathlib import Path

from nni_count.errors import DataError, SettingError
from on_gpu.needs import CARRIED

PARTS = ("train_data", "test_data")
#: bytes of an archive that are left for its end, and for the file on its border
SPARE = 1 << 20


def archives(data: Path, out: Path, number: int | None = None, most: int = 60_000_000) -> list[Path]:
    """The files of a data set as they are, in tar archives of about the same size.

    Args:
        data: the folder that holds ``train_data`` and ``test_data``.
        out: gets ``data_1.tar``, ``data_2.tar`` …
        number: of archives; as many as are needed where not given.
        most: bytes of an archive.

    Raises:
        DataError: there is nothing to pack.
    """
    files = sorted(path for path in data.rglob("*") if path.is_file() and path.parents[1].name in PARTS)
    if not files:
        raise DataError(f"{data}: holds neither {' nor '.join(PARTS)}; give the folder of ShanghaiTech A")
    ends = list(itertools.accumulate(_packed(path.stat().st_size) for path in files))
    number = number or -(-ends[-1] // (most - SPARE))
    out.mkdir(parents=True, exist_ok=True)
    made = [out / f"data_{place + 1}.tar" for place in range(number)]
    share = -(-ends[-1] // number)
    for place, archive in enumerate(made):
        with tarfile.open(archive, "w") as tar:
            for path, end in zip(files, ends, strict=True):
                if (end - 1) // share == place:
                    tar.add(path, path.relative_to(data))
    return made


def _packed(size: int) -> int:
    """A file's bytes in a tar archive, its header included."""
    return 512 + -(-size // 512) * 512


def packages(out: Path) -> list[Path]:
    """NNI without its Node part, and what it imports that is seldom there; a folder for ``PYTHONPATH``.

    Raises:
        SettingError: one of them is not installed here.
    """
    made = []
    for name, wanted in CARRIED.items():
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise SettingError(f"{name}: not installed here; pip install '{wanted}'")
        origin = Path(spec.origin)
        target = out / name
        if spec.submodule_search_locations:
            ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.c")
            shutil.copytree(origin.parent, target, ignore=ignored)
        else:
            target = out / origin.name
            out.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, target)
        made.append(target)
    return made
