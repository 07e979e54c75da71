"""PSNR and SSIM of density maps, under named protocols.

The literature gives both without saying how; the same pair of maps gets figures 3 dB apart. So every figure carries the
name of its protocol, and only figures of one protocol stand side by side.
"""

from __future__ import annotations

import numpy as np

#: a side of SSIM's Gaussian window; its sigma is 1.5, K1 is 0.01, K2 0.03
WINDOW = 11
#: PSNR of equal maps, which has no bound, in dB
LARGEST_PSNR = 100.0

#: protocol → what it does, in words. All three leave out images without people, take 1 as the peak, and SSIM in an
#: 11×11 Gaussian window of sigma 1.5 with K1 = 0.01 and K2 = 0.03
MAP_PROTOCOLS: dict[str, str] = {
    "csrnet": "both maps at the image's size, each divided by its own maximum (CP-CNN's and CSRNet's preprocessing)",
    "truth-peak": "both maps at the image's size, both divided by the truth's maximum",
    "map-size": "both maps at the size that the network answers, both divided by the truth's maximum",
}
#: the one of the literature's line, as far as it is stated: resizing and normalising of both maps
DEFAULT_PROTOCOL = "csrnet"


def spread(density: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A coarser density map at the image's size, its sum kept: ``(h, w) → (H, W)`` float32."""
    if density.shape == tuple(shape):
        return density.astype(np.float32)
    import cv2  # here, since a model that counts needs it not

    large = cv2.resize(density.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    before, after = float(density.sum()), float(large.sum())
    area = density.size / large.size
    result: np.ndarray = large * (before / after if abs(after) > 1e-6 and before / after > 0 else area)
    return result


def gathered(density: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A density map at a smaller size, its sum kept: blocks are added up, ``(H, W) → (h, w)`` float32.

    A cell is ceil(H / h) by ceil(W / w) pixels, as those of a network's map; the last ones may be cut off.
    """
    stride = -(-density.shape[0] // size[0]), -(-density.shape[1] // size[1])
    padded = np.pad(density, [(0, n * s - side) for n, s, side in zip(size, stride, density.shape, strict=True)])
    blocks = padded.reshape(size[0], stride[0], size[1], stride[1])
    result: np.ndarray = blocks.sum((1, 3), dtype=np.float64).astype(np.float32)
    return result


def map_quality(estimate: np.ndarray, truth: np.ndarray, protocol: str = DEFAULT_PROTOCOL) -> dict[str, float] | None:
    """PSNR (dB) and SSIM of a density map by a protocol; None where the truth holds nobody.

    Equal maps have a PSNR of 100. An estimate of zeros stays zeros. Maps smaller than SSIM's window are continued by
    their border.

    Args:
        estimate: ``(h, w)``, as the network answers it.
        truth: ``(H, W)`` at the image's size.
        protocol: one of :data:`MAP_PROTOCOLS`.

    Raises:
        ValueError: the estimate is larger than the truth.
        KeyError: the protocol is unknown; the message lists the known.
    """
    if protocol not in MAP_PROTOCOLS:
        raise KeyError(f"protocol {protocol!r} is unknown; known: {', '.join(MAP_PROTOCOLS)}")
    if estimate.ndim != 2 or truth.ndim != 2 or any(a > b for a, b in zip(estimate.shape, truth.shape, strict=True)):
        raise ValueError(f"expected maps (h, w) and (H, W), not larger, found {estimate.shape} and {truth.shape}")
    if truth.max(initial=0) <= 0:
        return None
    if protocol == "map-size":
        truth = gathered(truth, estimate.shape)
    else:
        estimate = spread(estimate, truth.shape)
    peak = float(truth.max())
    own = float(estimate.max()) if protocol == "csrnet" else peak
    return _compare(estimate / (own if own > 0 else peak), truth / peak)


def _compare(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    # here, since all of torchvision comes with them, which takes longer to import than torch, and torch is not needed
    # to count with an exported model
    import torch
    import torch.nn.functional as F
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    one, other = (torch.from_numpy(values.astype(np.float32))[None, None] for values in (estimate, truth))
    psnr = peak_signal_noise_ratio(one, other, data_range=1.0)
    missing = [max(0, WINDOW - side) for side in truth.shape]
    one, other = (F.pad(values, (0, missing[1], 0, missing[0]), mode="replicate") for values in (one, other))
    ssim = structural_similarity_index_measure(one, other, data_range=1.0, sigma=1.5)
    assert isinstance(ssim, torch.Tensor)
    return {"psnr": min(LARGEST_PSNR, float(psnr)), "ssim": float(ssim)}
