"""Density maps from points: every head one Gaussian, whose mass is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from nni_count.errors import DataError, SettingError

Array = TypeVar("Array", np.ndarray, Tensor)

BORDERS = ("inside", "reflect", "cut")

#: width of a kernel in σ: 15 pixels for σ = 4, the kernel of the code that NAS-Count refers to
WIDTH = 15 / 4
#: width in σ where every head has its own; 0.3 % of the mass lie beyond
ADAPTIVE_WIDTH = 6.0
#: kernel cells that are added at once, which bounds the memory for their indices and masses
ENTRIES = 1 << 18


def density_map(
    points: Array,
    shape: tuple[int, int],
    *,
    sigma: float | Array = 4.0,
    kernel_size: float | Array | None = None,
    border: str = "inside",
    stride: int = 1,
) -> Array:
    """The density of points, in people per cell; it sums to the number of points inside the map.

    Every point is a Gaussian of ``sigma`` pixels, cut off ``kernel_size / 2`` pixels to each side and scaled to a mass
    of one. It is integrated over each cell: a point may lie anywhere in its pixel, and a map of ``stride`` 4 equals
    the 4×4 block sums of the full map. Coincident points add up. What becomes of a kernel that reaches over the border:

    - ``inside``: it is cut off there too, and what is left is scaled to one; no mass is lost and no head is moved.
    - ``reflect``: what lies beyond is folded back, as with ``mode="reflect"`` of SciPy's filters; no mass is lost.
    - ``cut``: what lies beyond is lost, as in many codes; the map sums to less than the number of points.

    A tensor is handled on its device and gives a tensor.

    Args:
        points: ``(N, 2)``, x y in pixels; pixel ``i`` covers ``[i, i + 1)``. Points outside are left out.
        shape: height and width of the image in pixels.
        sigma: standard deviation in pixels; one for all, or one a point, ``(N,)``, as
            :func:`nni_count.data.adaptive.adaptive_sigma` gives them.
        kernel_size: width at which the kernel is cut off in pixels, one for all or one a point. By default 3.75 σ,
            which is 15 for σ=4; where every point has its own σ, 6 σ.
        border: ``inside``, ``reflect`` or ``cut``.
        stride: side of a cell in pixels; the last row and column may be covered only partly by the image.

    Returns:
        ``(ceil(H / stride), ceil(W / stride))`` float32.

    Raises:
        DataError: a point is no number, or has more or less than two.
        SettingError: a setting is out of its range.
    """
    if border not in BORDERS:
        raise SettingError(f"density map: border {border!r} is unknown; choose {', '.join(BORDERS)}")
    if stride < 1:
        raise SettingError(f"density map: stride {stride} must be positive")
    heads = checked_points("density map", points)
    if kernel_size is None:
        kernel_size = WIDTH * sigma if isinstance(sigma, (int, float, np.number)) else ADAPTIVE_WIDTH * sigma
    deviation, radius = (
        _each(name, value, heads) / parts
        for name, value, parts in (("sigma", sigma, 1), ("kernel_size", kernel_size, 2))
    )
    inside = ((heads >= 0) & (heads < heads.new_tensor([shape[1], shape[0]]))).all(1)
    density = _add_kernels(heads[inside], deviation[inside], radius[inside], shape, border, stride)
    return density if isinstance(points, Tensor) else density.numpy()


def checked_points(what: str, points: np.ndarray | Tensor) -> Tensor:
    """Points as ``(N, 2)``, all of them finite; where there are none, any empty array will do."""
    heads = _tensor(points)
    if heads.numel() and (heads.dim() != 2 or heads.shape[1] != 2):
        raise DataError(f"points have the shape {tuple(heads.shape)}, expected (N, 2): x and y of each")
    if not bool(torch.isfinite(heads).all()):
        raise DataError(f"{what}: a point is NaN or infinite; mend the annotation")
    return heads.reshape(-1, 2)


def _tensor(values: np.ndarray | Tensor) -> Tensor:
    """In double precision, where the device has it."""
    if isinstance(values, Tensor):
        return values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    return torch.from_numpy(np.array(values, np.float64))


def _each(name: str, value: float | np.ndarray | Tensor, heads: Tensor) -> Tensor:
    """A setting of every head, ``(N,)``."""
    if isinstance(value, (int, float, np.number)):
        each = heads.new_full((len(heads),), float(value))
        good = 0 < value < np.inf
    else:
        each = _tensor(value).to(heads)
        if each.shape != heads.shape[:1]:
            raise SettingError(f"density map: {name} has the shape {tuple(each.shape)} for {len(heads)} points")
        good = bool(((each > 0) & torch.isfinite(each)).all())
    if not good:
        raise SettingError(f"density map: {name} {value} must be positive")
    return each


def _add_kernels(
    heads: Tensor, sigma: Tensor, radius: Tensor, shape: tuple[int, int], border: str, stride: int
) -> Tensor:
    rows, columns = -(-shape[0] // stride), -(-shape[1] // stride)
    density = heads.new_zeros(rows * columns, dtype=torch.float32)
    for group, cells in _groups(radius, stride):
        along_x, along_y = (
            _masses(heads[group, axis], length, sigma[group], radius[group], min(cells, number), border, stride)
            for axis, length, number in ((0, shape[1], columns), (1, shape[0], rows))
        )
        x = (along_x[0][:, None] + torch.arange(along_x[1].shape[1], device=heads.device)).clamp_(max=columns - 1)
        y = (along_y[0][:, None] + torch.arange(along_y[1].shape[1], device=heads.device)).clamp_(max=rows - 1)
        index = (y * columns)[:, :, None] + x[:, None, :]  # beyond the border the mass is 0
        density.scatter_add_(0, index.flatten(), (along_y[1][:, :, None] * along_x[1][:, None, :]).flatten())
    return density.view(rows, columns)


def _groups(radius: Tensor, stride: int) -> Iterator[tuple[Tensor, int]]:
    """Heads with kernels of about the same size, a limited number at a time, and how many cells a side they need."""
    cells = np.ceil(2 * radius.cpu().numpy() / stride).astype(np.int64) + 1
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    start = 0
    while start < len(cells):
        end = int(np.searchsorted(cells, 1.25 * cells[start], "right"))
        end = min(end, start + max(1, ENTRIES // int(cells[end - 1]) ** 2))
        yield torch.from_numpy(order[start:end]).to(radius.device), int(cells[end - 1])
        start = end


def _masses(
    centre: Tensor, length: int, sigma: Tensor, radius: Tensor, cells: int, border: str, stride: int
) -> tuple[Tensor, Tensor]:
    """Along one axis: each head's first cell, and its mass in that cell and those after it, ``(N, cells)``."""
    low, high = (centre - radius).clamp(min=0)[:, None], (centre + radius).clamp(max=length)[:, None]
    first = (low / stride).floor()
    edges = (first + torch.arange(cells + 1, device=centre.device)) * stride
    edges = torch.minimum(torch.maximum(edges, low), high)
    centre, sigma, radius = centre[:, None], sigma[:, None], radius[:, None]
    cumulated = ndtr((edges - centre) / sigma)
    if border == "reflect":  # folding a kernel back is adding those of the head's mirror images
        for fold in range(1, int(torch.ceil(radius.max() / length)) + 1):
            mirrored = length - centre if fold % 2 else centre
            for image in (mirrored - fold * length, mirrored + fold * length):
                distance = torch.minimum(torch.maximum(edges - image, -radius), radius)
                cumulated += ndtr(distance / sigma)
    whole = cumulated[:, -1:] - cumulated[:, :1] if border == "inside" else 2 * ndtr(radius / sigma) - 1
    return first[:, 0].long(), (cumulated.diff(dim=1) / whole).float()
