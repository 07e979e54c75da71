"""Own data as a folder of images and one of masks."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.files import find_folder, find_images, paired_names
from nni_count.data.marks import read_marks
from nni_count.data.readers.own import IMAGE_FOLDERS, OwnData
from nni_count.data.sample import Sample
from nni_count.errors import DataError

MASK_FOLDERS = ("masks", "mask", "labels", "dots", "gt", "ground_truth", "ground-truth", "annotations")


class MaskFolders(OwnData):
    """``images/NAME.png`` with ``masks/NAME.png`` (or ``labels``, ``dots``, ``gt``): a thing a component or number.

    The names of the masks may have more before or behind, the same in all. What a mask may be says
    :func:`nni_count.data.marks.read_marks`.
    """

    layout = "images/NAME.png with masks/NAME.png (or labels/, dots/, gt/)"
    general = True

    @staticmethod
    def recognises(root: Path) -> bool:
        folders = find_folder(root, *IMAGE_FOLDERS), find_folder(root, *MASK_FOLDERS)
        return all(folder is not None and find_images(folder) for folder in folders)

    def read_all(self) -> list[Sample]:
        folder, masks_folder = self.image_folder(), find_folder(self.root, *MASK_FOLDERS)
        if masks_folder is None:
            raise DataError(f"{self.root}: has no folder of masks; call it masks")
        images = find_images(folder)
        masks = paired_names(images, find_images(masks_folder))

        def make(name: str) -> Sample:
            points, size = read_marks(masks[name])
            return self.sample(name, images[name], points, size=size)

        return self.gather(self.check_pairs(images, masks, folder, masks_folder), make)
