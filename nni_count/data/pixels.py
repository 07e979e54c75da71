"""From bytes to what networks see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nni_count.errors import NNICountError

if TYPE_CHECKING:  # as in :mod:`nni_count.tasks.task`
    from torch import Tensor

#: ImageNet's, as the field uses them; stored with every model
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_SCALE = 1 / (255 * np.array(STD, np.float32))
_SHIFT = np.array(MEAN, np.float32) / np.array(STD, np.float32)


def rgb(image: np.ndarray) -> np.ndarray:
    """An image ``(H, W, 3)`` or ``(H, W)`` uint8 as ``(H, W, 3)``; a :class:`NNICountError` where it is none."""
    if np.ma.is_masked(image):
        raise NNICountError("image: has masked pixels; fill them first, such as by image.filled(0)")
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise NNICountError(f"image: expected (H, W, 3) or (H, W) uint8, found {image.shape} {image.dtype}")
    return image


def normalise(image: np.ndarray) -> Tensor:
    """``(..., H, W, 3)`` uint8 RGB → ``(..., 3, H, W)`` float32 of about zero mean and unit deviation.

    The numbers stay where they are in memory, so that a batch is in PyTorch's ``channels_last`` format.
    """
    import torch

    width = image.shape[-2]
    rows = image.reshape(-1, 3 * width)  # NumPy is many times faster along rows than along an axis of 3
    scaled = rows.astype(np.float32)
    scaled *= np.tile(_SCALE, width)
    scaled -= np.tile(_SHIFT, width)
    return torch.from_numpy(scaled.reshape(image.shape)).movedim(-1, -3)
