"""AMSNet's cells with partial channels, all edges that leave a node computed together.

The modules are those of the edge-by-edge form, so that weights, checkpoints and exports are the same; only the order
of computation differs. Each kind of operation becomes one convolution for all target nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedInput
from torch import Tensor, nn

from nni_count.networks.wiring import Cell
from nni_count.ops import NONE, OPERATIONS, SKIP
from strategies.partial_layer import Channels, PartialLayer

#: up to so many channels, a depth-wise and a point-wise convolution are faster as one dense convolution
COMPOSED = 16


def fuse(space: nn.Module) -> None:
    """Let the cells of a mutated space compute their edges together, in place, where they can."""
    for parent in list(space.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Cell and _fits(child):
                setattr(parent, name, FusedCell(child))


def _fits(cell: Cell) -> bool:
    """Whether all edges exist, are partial, and choose from the operations that are known here."""
    wanted = [f"{source}-{node}" for node in cell.kind.computed for source in range(node)]
    return (
        sorted(cell.edges) == sorted(wanted)
        and all(_is_usual(edge) for edge in cell.edges.values())
        and all(type(join) is DifferentiableMixedInput for join in cell.joins.values())
    )


def _is_usual(edge: Any) -> bool:
    if not isinstance(edge, PartialLayer) or list(edge.names) != list(OPERATIONS):
        return False
    width = next((layer.in_channels for layer in edge.modules() if isinstance(layer, nn.Conv2d)), 0)
    return width > 0 and all(str(edge[name]) == str(build(width, False)) for name, build in OPERATIONS.items())


class FusedCell(Cell):
    """A cell with the modules of the given one, and its output.

    Args:
        cell: all of whose edges are :class:`PartialLayer`.
    """

    def __init__(self, cell: Cell):
        nn.Module.__init__(self)
        self.kind = cell.kind
        self.inputs = cell.inputs
        self.edges = cell.edges
        self.joins = cell.joins
        self.train(cell.training)

    def forward(self, *inputs: Tensor) -> Tensor:
        if not all(isinstance(edge, PartialLayer) for edge in self.edges.values()):  # frozen, so chosen
            return super().forward(*inputs)
        states = [prepare(x) for prepare, x in zip(self.inputs, inputs, strict=True)]
        betas = {node: _probabilities(self.joins[str(node)]) for node in self.kind.computed}
        channels: Any = next(iter(self.edges.values())).channels
        arriving: dict[int, list[Tensor]] = {node: [] for node in self.kind.computed}
        for source in range(max(self.kind.computed)):
            if source in betas:
                states.append(_join(states, arriving[source], betas[source], channels))
            nodes = [node for node in self.kind.computed if node > source]
            edges = [self.edges[f"{source}-{node}"] for node in nodes]
            leaving = leave(states[source], edges, torch.stack([betas[node][source] for node in nodes]))
            for node, mixed in zip(nodes, leaving, strict=True):
                arriving[node].append(mixed)
        last = max(self.kind.computed)
        states.append(_join(states, arriving[last], betas[last], channels))
        return torch.cat(states[self.kind.inputs :], dim=1)


def _probabilities(layer: Any) -> Tensor:
    """softmax(α) or softmax(β)."""
    probabilities: Tensor = layer._softmax(layer._arch_alpha)
    return probabilities


def _join(states: Sequence[Tensor], mixed: Sequence[Tensor], betas: Tensor, channels: Channels) -> Tensor:
    """Σ β · ((1 − S)∗x + what the candidates made of S∗x) over all edges that meet in a node.

    Args:
        states: x of every edge, ``(B, C, H, W)``.
        mixed: what the candidates made, with its weight β already, ``(B, C / k, H, W)``.
    """
    passing = states[0] * betas[0]
    for state, beta in zip(states[1:], betas[1:], strict=True):
        passing = torch.addcmul(passing, state, beta)
    total = mixed[0]
    for other in mixed[1:]:
        total = total + other
    return channels.rejoin(passing, total)


def leave(features: Tensor, edges: Sequence[Any], betas: Tensor) -> Sequence[Tensor]:
    """What the candidates of each edge, all :class:`PartialLayer`, make of the features ``(B, C, H, W)``, times its β.

    Returns:
        For every edge ``(B, C / k, H, W)``.
    """
    share = edges[0].channels.share(features)
    active = F.relu(share)
    names = [name for name in edges[0].names if name not in (SKIP, NONE)]
    width = share.shape[1]
    outputs = torch.cat([_convolve(active, [edge[name] for edge in edges]) for name in names], 1)
    if features.is_contiguous(memory_format=torch.channels_last):
        # maps of one channel have both formats, and their concatenation would have the slower one
        outputs = outputs.contiguous(memory_format=torch.channels_last)
    weights = torch.stack([_probabilities(edge) for edge in edges], 1) * betas  # (operations, edges)
    # as the scale of the batch norms, the weights cost neither time nor memory
    scale = weights[[edges[0].names.index(name) for name in names]].flatten().repeat_interleave(width)
    outputs = _normalise(outputs, [edge[name][-1] for name in names for edge in edges], scale)
    mixed = outputs.unflatten(1, (len(names), len(edges), width)).sum(1)  # type: ignore[no-untyped-call]
    mixed = torch.addcmul(mixed, share[:, None], weights[edges[0].names.index(SKIP)][None, :, None, None, None])
    return mixed.unbind(1)


def _convolve(active: Tensor, candidates: Sequence[Any]) -> Tensor:
    """The convolutions of one kind for all edges: ``(B, C, H, W)`` → ``(B, edges · C, H, W)``, edge by edge."""
    first = candidates[0][1]
    if not isinstance(candidates[0][2], nn.Conv2d):
        weight = torch.cat([candidate[1].weight for candidate in candidates])
        return F.conv2d(active, weight, None, first.stride, first.padding, first.dilation)
    channels = active.shape[1]
    if channels <= COMPOSED:  # nothing lies between the two convolutions, so they are one
        deep = torch.stack([candidate[1].weight for candidate in candidates])  # (edges, C, 1, k, k)
        point = torch.stack([candidate[2].weight for candidate in candidates])  # (edges, C, C, 1, 1)
        weight = (point * deep.transpose(1, 2)).flatten(0, 1)
        return F.conv2d(active, weight, None, first.stride, first.padding, first.dilation)
    # a channel's filters of all edges lie together, as its group wants them
    weight = torch.stack([candidate[1].weight for candidate in candidates], 1).flatten(0, 1)
    deep = F.conv2d(active, weight, None, first.stride, first.padding, first.dilation, channels)
    weight = torch.cat([candidate[2].weight for candidate in candidates])
    return F.conv2d(F.channel_shuffle(deep, channels), weight, groups=len(candidates))


def _normalise(features: Tensor, norms: Sequence[nn.BatchNorm2d], scale: Tensor) -> Tensor:
    """Batch norms side by side, as one, and a scale for each channel; their statistics are kept."""
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    mean, variance = torch.cat(means), torch.cat(variances)
    training, momentum = norms[0].training, norms[0].momentum or 0.0
    normal = F.batch_norm(features, mean, variance, scale, None, training, momentum, norms[0].eps)
    if training:
        sizes = [len(part) for part in means]
        torch._foreach_copy_(means, list(torch.split(mean, sizes)))
        torch._foreach_copy_(variances, list(torch.split(variance, sizes)))
        torch._foreach_add_([norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None], 1)
    return normal
