"""Marks in an image: dots of a pixel, a mask, or a number for each thing, read as they were saved."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import find_objects

from nni_count.data.headers import image_size
from nni_count.errors import DataError

DOT = 2  # pixels that a dot may have; what is larger is the mask of a thing
FULL = 9  # pixels of one that is none of several dots side by side, where it fills most of its rectangle
VOID = (192, 224, 224)  # BGR of the palette's 255 in VOC's masks, with which things are outlined
MOST_VALUES = 1 << 16


def read_marks(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """The points of an image of marks, ``(N, 2)``, and its width and height.

    What is not 0 is marked: neighbours of one value or colour are a thing each, so that things that touch may have a
    number each; the outlines of VOC's masks are left out. Where half of the marks or more are larger than two pixels a
    thing is counted once, in its middle; else every pixel is one. Values are taken as they are, of any depth; in an
    image of layers, what is not transparent is marked.

    Raises:
        DataError: it cannot be read, has several pages or was saved with loss; nearly all of it is marked, as where the
            background is white; its marks are blurred, so that they have no one value; or only some are dots.
    """
    size = image_size(path)
    values, _ = read_values(path)
    shares = np.bincount(values.ravel()) / values.size
    if not shares[0] or shares[1:].max(initial=0) > 0.5:
        raise DataError(f"{path}: its background is not 0 (black); save the marks on black, perhaps inverted")
    areas, filled, centres = [np.zeros(0)], [np.zeros(0)], [np.zeros((0, 2))]
    for number, where in enumerate(find_objects(values), 1):
        rows, columns = where
        _, _, facts, middles = cv2.connectedComponentsWithStats((values[where] == number).astype(np.uint8))
        areas.append(facts[1:, cv2.CC_STAT_AREA])
        filled.append(areas[-1] / (facts[1:, cv2.CC_STAT_WIDTH] * facts[1:, cv2.CC_STAT_HEIGHT]))
        centres.append(middles[1:] + np.array([columns.start + 0.5, rows.start + 0.5]))
    number, _, facts, _ = cv2.connectedComponentsWithStats((values > 0).astype(np.uint8))
    sizes = np.concatenate(areas)
    typical = np.median(sizes) if number > 1 else 0
    if number > 1 and typical <= DOT < np.median(facts[1:, cv2.CC_STAT_AREA]) and len(shares) > 3:
        raise DataError(f"{path}: its marks are blurred, of {len(shares) - 1} values; save them black and white")
    if typical > DOT:
        return np.concatenate(centres), size
    things = int(((sizes >= FULL) & (np.concatenate(filled) > 0.6)).sum())
    if things:
        raise DataError(
            f"{path}: {things} of its {len(sizes)} marks, of up to {sizes.max():.0f} pixels, are no dots as the others "
            "are; remove what is no mark, or make all of one kind"
        )
    rows, columns = np.nonzero(values)
    return np.stack([columns, rows], 1) + 0.5, size


def read_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The values or colours of an image, numbered from 1 in ``(H, W)``, 0 is what is not marked; and its pixels
    ``(H, W, C)`` as OpenCV has them.

    Raises:
        DataError: as :func:`read_marks`, but for how much is marked.
    """
    with Image.open(path) as image:
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(f"{path}: has {pages} pages; save the marks as an image of one")
        palette = image.mode == "P"
        if image.format == "JPEG":
            raise DataError(f"{path}: is a JPEG, which blurs marks; save them as PNG")
    try:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DataError(f"{path}: marks that cannot be read; save them as PNG")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError(f"{path}: has NaN or infinity in it; save the marks as whole numbers")
    clear = pixels[:, :, 3:] == 0
    pixels = pixels[:, :, :3]
    marked = ~clear[:, :, 0] if clear.any() else (pixels != 0).any(2)
    if palette:
        marked &= (pixels != VOID).any(2)
    colours = np.zeros(int(marked.sum()), np.int64)
    for channel in range(pixels.shape[2]):
        kinds, places = np.unique(pixels[:, :, channel][marked], return_inverse=True)
        colours = colours * len(kinds) + places.reshape(-1)
    kinds, places = np.unique(colours, return_inverse=True)
    if len(kinds) > MOST_VALUES:
        raise DataError(f"{path}: has {len(kinds)} values; is it a photograph or a density map? give an image of marks")
    numbers = np.zeros(marked.shape, np.int64)
    numbers[marked] = places.reshape(-1) + 1
    return numbers, pixels
