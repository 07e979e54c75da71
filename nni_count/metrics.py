"""How good counts and maps are. Every figure about maps carries the name of its protocol."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

MAP_PROTOCOL = (
    "truth-peak: maps at the image's size (a coarser map is spread bilinearly), both divided by the truth's maximum, "
    "peak 1; SSIM with an 11x11 Gaussian window, sigma 1.5; images without people left out"
)


def count_errors(estimates: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """MAE and RMSE (the literature's "MSE") of counts, both ``(N,)``, against the number of points.

    Raises:
        ValueError: no images, or numbers that do not match.
    """
    if len(estimates) == 0 or len(estimates) != len(truths):
        raise ValueError(
            f"expected as many estimates as truths and at least one, found {len(estimates)} and {len(truths)}"
        )
    estimate, truth = torch.as_tensor(estimates, dtype=torch.float64), torch.as_tensor(truths, dtype=torch.float64)
    return {
        "mae": float(mean_absolute_error(estimate, truth)),
        "rmse": float(mean_squared_error(estimate, truth, squared=False)),
    }


def spread(density: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A coarser density map at the image's size, its sum kept: ``(h, w) → (H, W)`` float32."""
    if density.shape == tuple(shape):
        return density.astype(np.float32)
    large = cv2.resize(density.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    before, after = float(density.sum()), float(large.sum())
    area = density.size / large.size
    result: np.ndarray = large * (before / after if abs(after) > 1e-6 and before / after > 0 else area)
    return result


def map_quality(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float] | None:
    """PSNR (dB) and SSIM of a density map by :data:`MAP_PROTOCOL`; None where the truth holds nobody.

    Args:
        estimate: ``(H, W)`` at the image's size.
        truth: of the same shape.
    """
    if estimate.shape != truth.shape:
        raise ValueError(f"expected maps of one shape, found {estimate.shape} and {truth.shape}")
    peak = float(truth.max(initial=0))
    if peak <= 0:
        return None
    one, other = (torch.from_numpy(np.asarray(values / peak, np.float32))[None, None] for values in (estimate, truth))
    small = min(truth.shape) < 11  # the window does not fit
    ssim = torch.nan if small else structural_similarity_index_measure(one, other, data_range=1.0, sigma=1.5)
    psnr = peak_signal_noise_ratio(one, other, data_range=1.0)
    return {"psnr": min(100.0, float(psnr)), "ssim": float(ssim)}  # type: ignore[arg-type]
