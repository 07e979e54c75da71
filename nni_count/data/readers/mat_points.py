"""Own data as a MATLAB file of points for every image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_count.data.files import find_files, find_folder, find_images, paired_names
from nni_count.data.readers.matlab import load_points, point_keys
from nni_count.data.readers.own import IMAGE_FOLDERS, OwnData
from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError


class MatPoints(OwnData):
    """``NAME.mat`` for ``images/NAME.jpg``, side by side or in a folder of their own: x and y, N×2, under any key.

    The names of the files may have more before or behind, the same in all.

    Args:
        key: of the points, where the files have several that they could be.
    """

    layout = "NAME.mat of N×2 points beside NAME.jpg, or in a folder of their own"
    general = True

    def __init__(self, root: str | Path, *, key: str | None = None, **common: Any):
        super().__init__(root, **common)
        self.key = key

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(find_images(find_folder(root, *IMAGE_FOLDERS) or root) and _found(root))

    def read_all(self) -> list[Sample]:
        folder, found = self.image_folder(), _found(self.root)
        images = find_images(folder)
        points = paired_names(images, found)
        names = self.check_pairs(images, points, folder, next(iter(found.values()), folder).parent)
        if not names:
            return []
        key = self.key or self._key([points[name] for name in names])
        return self.gather(names, lambda name: self.sample(name, images[name], load_points(points[name], key)))

    def _key(self, paths: list[Path]) -> str:
        """What all files that can be read call something that could be points."""
        keys: set[str] | None = None
        for path in paths:
            try:
                keys = point_keys(path) if keys is None else keys & point_keys(path)
            except DataError as error:
                self.fault(error)
        if not keys:
            remedy = "save the points of each so, by one name"
            raise DataError(f"{paths[0]}: no variable is N×2 (x, y) in all files beside it; {remedy}")
        if len(keys) > 1:
            raise SettingError(f"data.key: {paths[0]} has {' and '.join(sorted(keys))}, each N×2; say which are points")
        return keys.pop()


def _found(root: Path) -> dict[str, Path]:
    """The files of points of the first folder that has any."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return next((found for folder in folders if (found := find_files(folder, ".mat"))), {})
