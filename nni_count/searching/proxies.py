"""What may predict how good a network becomes, without training it: a figure of its first weights, larger is better."""

from __future__ import annotations

import copy
import math
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nni_count.errors import SettingError
from nni_count.networks import Network, number_of_parameters
from nni_count.plugins import entries

#: ``(network, images (B, 3, H, W), targets (B, K, h, w)) → figure``; the network comes and goes as it was built
Proxy = Callable[[Network, Tensor, Tensor], float]


def parameters(network: Network, images: Tensor, targets: Tensor) -> float:
    """The number of weights: the baseline that few proxies beat."""
    return float(number_of_parameters(network))


def flops(network: Network, images: Tensor, targets: Tensor) -> float:
    """2 × multiply-adds of the images: the other baseline."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return float(counter.get_total_flops())


def gradient_norm(network: Network, images: Tensor, targets: Tensor) -> float:
    """The norm of the gradient of the square error by all weights (Abdelfattah et al., ICLR 2021)."""
    squares = sum(float(gradient.double().square().sum()) for gradient in _gradients(network, images, targets))
    return math.sqrt(squares)


def synflow(network: Network, images: Tensor, targets: Tensor) -> float:
    """log Σ \\|w · ∂R/∂w\\|, R the summed map of an image of ones through \\|w\\| (Tanaka et al., NeurIPS 2020).

    Batch norms are as they begin, without effect; ``skip`` has no weights, and counts by what it lets through.
    """
    positive = copy.deepcopy(network).double().eval()
    weights = list(positive.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    response = positive(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(response, weights, allow_unused=True)
    found = [(w.detach(), gradient) for w, gradient in zip(weights, gradients, strict=True) if gradient is not None]
    total = sum(float((weight * gradient).abs().sum()) for weight, gradient in found)
    return math.log(total) if total > 0 else -math.inf


def naswot(network: Network, images: Tensor, targets: Tensor) -> float:
    """The log determinant of the Hamming kernel of ReLU patterns (Mellor et al., ICML 2021).

    The kernel of B images has at i, j the share of all units that are on for both or off for both.

    Raises:
        SettingError: the network has no ReLU.
    """
    with _patterns(network) as patterns, torch.no_grad():
        network(images)
    codes = _codes(network, patterns).double()
    kernel = (codes @ codes.T + (1 - codes) @ (1 - codes).T) / codes.shape[1]
    return float(torch.linalg.slogdet(kernel)[1])


def swap(network: Network, images: Tensor, targets: Tensor) -> float:
    """The number of different patterns that the units show over the images (Peng et al., ICLR 2024).

    Raises:
        SettingError: the network has no ReLU, or there are more than 62 images.
    """
    with _patterns(network) as patterns, torch.no_grad():
        network(images)
    codes = _codes(network, patterns).long()
    if len(codes) > 62:
        raise SettingError(f"proxy swap: {len(codes)} images; give at most 62")
    return float(len(torch.unique((codes << torch.arange(len(codes))[:, None]).sum(0))))


def zico(network: Network, images: Tensor, targets: Tensor) -> float:
    """Σ over layers of log Σ over weights of mean \\|g\\| / σ(g), each image a batch (Li et al., ICLR 2023).

    A weight whose gradient is the same for all images is left out.
    """
    each = [_gradients(network, image[None], target[None]) for image, target in zip(images, targets, strict=True)]
    total = 0.0
    for layer in zip(*each, strict=True):
        stacked = torch.stack(layer).double()
        if stacked.ndim < 5:  # of a batch norm or a bias
            continue
        spread = stacked.std(0)
        ratio = float((stacked.abs().mean(0) / spread)[spread > 0].sum())
        total += math.log(ratio) if ratio > 0 else 0.0
    return total


def jacobian_covariance(network: Network, images: Tensor, targets: Tensor) -> float:
    """How little the images' own Jacobians are alike: −Σ log(λ + k) + 1 / (λ + k) over the eigenvalues λ of their
    correlations, k = 1e-5 (Mellor et al., arXiv 2006.04647v1).
    """
    images = images.clone().requires_grad_()
    jacobians = torch.autograd.grad(network(images).sum(), images)[0].flatten(1).double()
    values = torch.linalg.eigvalsh(torch.nan_to_num(torch.corrcoef(jacobians))).clamp_min(0) + 1e-5
    return -float((values.log() + 1 / values).sum())


#: name → proxy. Another is added here, or by an entry point of any package
PROXIES: ChainMap[str, Proxy] = ChainMap(
    {
        "parameters": parameters,
        "flops": flops,
        "gradient_norm": gradient_norm,
        "synflow": synflow,
        "naswot": naswot,
        "swap": swap,
        "zico": zico,
        "jacobian_covariance": jacobian_covariance,
    },
    entries("proxies"),
)


def _gradients(network: Network, images: Tensor, targets: Tensor) -> list[Tensor]:
    """Of the square error by the weights that it reaches, batch norms taking the statistics of the images."""
    weights = list(network.parameters())
    error = F.mse_loss(network(images), targets)
    found = torch.autograd.grad(error, weights, allow_unused=True)
    return [torch.zeros_like(w) if gradient is None else gradient for w, gradient in zip(weights, found, strict=True)]


@contextmanager
def _patterns(network: Network) -> Iterator[list[Tensor]]:
    """What units are on behind each ReLU, ``(B, units)`` each, filled while the network computes."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: found.append((output > 0).flatten(1)))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _codes(network: Network, patterns: list[Tensor]) -> Tensor:
    if not patterns:
        raise SettingError(f"proxy: {type(network).__name__} has no ReLU, whose patterns it compares; choose another")
    return torch.cat(patterns, 1)
