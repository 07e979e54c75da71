"""Functions whose gradients are faster, or keep less, than what torch would do by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight


def flat(tensor: Tensor) -> Tensor:
    """All values in a row, without a copy where ``(B, C, H, W)`` has its channels last."""
    return (tensor.movedim(1, 3) if tensor.dim() == 4 else tensor).flatten()


class WeightedSum(torch.autograd.Function):
    """Σ weight · x, whose gradients need no memory beside x."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *terms: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *(terms if ctx.needs_input_grad[0] else ()))
        total = terms[0] * weights[0]
        for term, weight in zip(terms[1:], weights[1:], strict=True):
            total.addcmul_(term, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        weights, *terms = ctx.saved_tensors
        along = None
        if ctx.needs_input_grad[0]:
            row = flat(gradient)
            along = torch.stack([row @ flat(term).type_as(row) for term in terms])
        return along, *(gradient * weight for weight in weights)


def reach(size: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """How far a kernel of odd sides reaches: the padding that keeps a map's size."""
    return tuple(side // 2 * step for side, step in zip(size, dilation, strict=True))


class NarrowConvolution(torch.autograd.Function):
    """A convolution ``(B, C, H, W)`` → ``(B, N, H, W)`` of one or two channels, its kernel ``(N, C, h, w)``.

    The gradient of its input is Σₙ of a depth-wise convolution of the output's: up to seven times faster than oneDNN's.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, dilation: Sequence[int]) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.dilation = dilation
        return F.conv2d(features, kernel, None, 1, reach(kernel.shape[2:], dilation), dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (gradient,) = gradients
        features, kernel = ctx.saved_tensors
        many, few, *size = kernel.shape
        padding = reach(size, ctx.dilation)
        repeated = gradient.movedim(1, 3).repeat(1, 1, 1, few).movedim(3, 1)
        turned = kernel.flip(2, 3).transpose(0, 1).flatten(0, 1)[:, None]
        each = F.conv2d(repeated, turned, None, 1, padding, ctx.dilation, few * many)
        for_features = each.movedim(1, 3).reshape(*repeated.shape[:1], *each.shape[2:], few, many).sum(4).movedim(3, 1)
        if not ctx.needs_input_grad[1]:
            return for_features, None, None
        for_kernel: Tensor = conv2d_weight(features, kernel.shape, gradient, 1, padding, ctx.dilation)  # type: ignore[no-untyped-call]
        return for_features, for_kernel, None


class NormalisedSum(torch.autograd.Function):
    """Batch norms, the weighted sum over operations and what skips them as one product with a matrix: thrice as fast.

    Arguments are those of ``strategies.fused._mix``, and the norms' running statistics, which are brought up to date.
    With y the rows, m and v their mean and variance, s = weight / √(v + ε), and i running over the operations, the
    column j of the result is Σᵢ sᵢⱼ · (yᵢⱼ − mᵢⱼ), and the features by the weight of skip.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weights: Tensor,
        skip: Tensor,
        running_mean: Tensor,
        running_variance: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        made = len(running_mean)
        channels = rows.shape[1] - made
        columns = channels * len(skip)
        # of the features too, since a part of the rows takes longer than all
        mean, variance = (part[:made] for part in torch.batch_norm_update_stats(rows, None, None, momentum))
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (len(rows) / max(1, len(rows) - 1)), momentum)
        inverse = (variance + eps).rsqrt()
        scale = weights.flatten().repeat_interleave(channels) * inverse
        eye = torch.eye(columns, dtype=rows.dtype, device=rows.device)
        matrix = torch.cat(
            [
                (scale.view(-1, columns, 1) * eye).flatten(0, 1),
                (skip.repeat_interleave(channels) * eye).view(-1, channels, columns).sum(0),
            ]
        )
        ctx.save_for_backward(rows, scale, mean, inverse, matrix)
        ctx.shape = weights.shape
        return torch.addmm(-(mean @ matrix[:made]), rows, matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, scale, mean, inverse, matrix = ctx.saved_tensors
        (gradient,) = gradients
        (operations, edges), made = ctx.shape, len(mean)
        count, columns = gradient.shape
        total = gradient.sum(0).repeat(operations)
        products = gradient.T @ rows
        along = products[:, :made].view(columns, operations, columns).diagonal(dim1=0, dim2=2).flatten()
        by_column = inverse * (along - mean * total)  # the gradient of every column's weight
        slope = scale * inverse * by_column / count
        offset = mean * slope - scale * total / count
        beside = rows.new_zeros(rows.shape[1] - made)  # the features have no norm
        for_rows = torch.addcmul(torch.cat([offset, beside]), rows, torch.cat([-slope, beside]))
        for_rows.addmm_(gradient, matrix.T)
        for_weights = by_column.view(operations, edges, -1).sum(2)
        for_skip = products[:, made:].view(edges, len(beside), -1).diagonal(dim1=1, dim2=2).sum(1)
        return for_rows, for_weights, for_skip, None, None, None, None
