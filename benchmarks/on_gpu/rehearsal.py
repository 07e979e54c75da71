"""A few synthetic crowds in ShanghaiTech's layout, packed into two archives as the real ones are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from nni_count.data.synthetic import CrowdStream
from on_gpu.pack import archives

NUMBERS = {"train_data": 10, "test_data": 3}


def drawn(folder: Path) -> list[Path]:
    """Two archives below the folder."""
    whole = folder / "drawn"
    for start, (part, number) in enumerate(NUMBERS.items()):
        for kind in ("images", "ground-truth"):
            (whole / part / kind).mkdir(parents=True)
        samples = CrowdStream(size=(64, 64), people=(3, 12)).take(number, start=1000 * start)
        for index, sample in enumerate(samples, 1):
            cv2.imwrite(str(whole / part / "images" / f"IMG_{index}.jpg"), sample.read()[:, :, ::-1])
            savemat(whole / part / "ground-truth" / f"GT_IMG_{index}.mat", {"image_info": _image_info(sample.points)})
    return archives(whole, folder / "archives", number=2)


def _image_info(points: np.ndarray) -> np.ndarray:
    """MATLAB's ``image_info{1}.location``."""
    inner = np.empty((1, 1), dtype=[("location", object), ("number", object)])
    inner[0, 0] = (points.astype(float), np.array([[len(points)]]))
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = inner
    return cell
