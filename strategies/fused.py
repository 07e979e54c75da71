"""AMSNet's cells with partial channels, all edges that leave a node computed together.

The modules are those of the edge-by-edge form, so that weights, checkpoints and exports are the same; only the order
of computation differs. Each kind of operation becomes one convolution for all target nodes, and where channels or edges
are few, all kinds together become two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedInput
from torch import Tensor, nn

from nni_count.networks.wiring import Cell
from nni_count.ops import NONE, OPERATIONS, SKIP
from strategies.functions import NarrowConvolution, NormalisedSum, WeightedSum
from strategies.partial_layer import Channels, PartialLayer

#: up to so many channels, a depth-wise and a point-wise convolution are faster as one dense convolution
COMPOSED = 16
#: the convolutions stand first among the operations, and skip after them
_SKIP = list(OPERATIONS).index(SKIP)
#: up to so many edges, or so many channels, one convolution for all sizes of kernels is faster than one for each
FEW = 2
NARROW = 2


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


#: a kind of operation: on every edge its convolution and the next layer, which is a convolution too if it is separable
Kind = Sequence[tuple[Any, Any]]


class Leaving:
    """The layers on the edges that leave a node; looking them up anew in every step takes a twentieth of it.

    Args:
        nodes: where the edges lead.
        edges: a :class:`PartialLayer` each.
    """

    def __init__(self, nodes: list[int], edges: list[Any]):
        names = [name for name in OPERATIONS if name not in (SKIP, NONE)]
        self.nodes = nodes
        self.edges = edges
        self.kinds: list[Kind] = [[(edge[name][1], edge[name][2]) for edge in edges] for name in names]
        self.norms: list[Any] = [edge[name][-1] for name in names for edge in edges]  # by kind, then by edge
        self._statistics: tuple[Tensor, Tensor, Tensor] | None = None

    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and number of batches of all norms side by side; those of each norm become views of them."""
        found = self._statistics
        if found is None or found[0].data_ptr() != self.norms[0].running_mean.data_ptr():  # moved, or converted
            mean = torch.cat([norm.running_mean for norm in self.norms])
            variance = torch.cat([norm.running_var for norm in self.norms])
            batches = torch.stack([norm.num_batches_tracked for norm in self.norms])
            parts = (mean.chunk(len(self.norms)), variance.chunk(len(self.norms)), batches.unbind())
            for norm, *its in zip(self.norms, *parts, strict=True):
                norm.running_mean, norm.running_var, norm.num_batches_tracked = its
            found = self._statistics = (mean, variance, batches)
        return found


#: a cell → what leaves its nodes; not in the cell, whose copies would copy all of its layers
_LEAVING: WeakKeyDictionary[nn.Module, list[Leaving]] = WeakKeyDictionary()


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
        betas = {node: _probabilities([self.joins[str(node)]])[0] for node in self.kind.computed}
        leaving = self._leaving()
        channels: Any = leaving[0].edges[0].channels
        arriving: dict[int, list[Tensor]] = {node: [] for node in self.kind.computed}
        for source, edges in enumerate(leaving):
            if source in betas:
                states.append(_join(states, arriving[source], betas[source], channels))
            outputs = leave(states[source], edges, torch.stack([betas[node][source] for node in edges.nodes]))
            for node, mixed in zip(edges.nodes, outputs, strict=True):
                arriving[node].append(mixed)
        last = max(self.kind.computed)
        states.append(_join(states, arriving[last], betas[last], channels))
        return torch.cat(states[self.kind.inputs :], dim=1)

    def _leaving(self) -> list[Leaving]:
        """Of every node but the last, in order."""
        if self not in _LEAVING:
            last = max(self.kind.computed)
            nodes = [[node for node in self.kind.computed if node > source] for source in range(last)]
            _LEAVING[self] = [
                Leaving(after, [cast(Any, self.edges[f"{source}-{node}"]) for node in after])
                for source, after in enumerate(nodes)
            ]
        return _LEAVING[self]


def _probabilities(layers: Sequence[Any]) -> Tensor:
    """softmax(α) or softmax(β), a row for each layer."""
    probabilities: Tensor = layers[0]._softmax(torch.stack([layer._arch_alpha for layer in layers]))
    return probabilities


def _join(states: Sequence[Tensor], mixed: Sequence[Tensor], betas: Tensor, channels: Channels) -> Tensor:
    """Σ β · ((1 − S)∗x + what the candidates made of S∗x) over all edges that meet in a node.

    Args:
        states: x of every edge, ``(B, C, H, W)``.
        mixed: what the candidates made, with its weight β already, ``(B, C / k, H, W)``.
    """
    total = mixed[0]
    for other in mixed[1:]:
        total = total + other
    return channels.rejoin(cast(Tensor, WeightedSum.apply(betas, *states)), total)


def leave(features: Tensor, leaving: Leaving, betas: Tensor) -> list[Tensor]:
    """What the candidates of each edge make of the features ``(B, C, H, W)``, times its β.

    Returns:
        For every edge ``(B, C / k, H, W)``.
    """
    # channels last, since maps of one channel have no memory format that could be kept
    share = leaving.edges[0].channels.share(features).movedim(1, 3)
    made = _convolve(F.relu(share), leaving.kinds)
    rows = torch.cat([*made, share.to(made[0].dtype)], 3).flatten(0, 2)  # in mixed precision those of the convolutions
    weights = _probabilities(leaving.edges).T * betas  # (operations, edges)
    mixed = _mix(rows, leaving, weights[: len(leaving.kinds)], weights[_SKIP])
    return [part.movedim(3, 1) for part in mixed.view(*share.shape[:3], len(leaving.edges), -1).unbind(3)]


def _convolve(active: Tensor, kinds: Sequence[Kind]) -> list[Tensor]:
    """All convolutions: ``(B, H, W, C)`` → side by side ``(B, H, W, kinds · edges · C)``, edge by edge for each kind.

    Args:
        kinds: the separable ones come last.
    """
    features = active.movedim(3, 1)
    if active.shape[3] > COMPOSED:
        outputs = [_two_steps(features, kind) if _separable(kind) else _one_step(features, [kind]) for kind in kinds]
    elif active.shape[3] > NARROW and len(kinds[0]) > FEW:
        outputs = [_one_step(features, [kind]) for kind in kinds]
    else:  # a call costs more than the zeros with which a smaller kernel is filled up
        alike = [[kind for kind in kinds if _separable(kind) == wanted] for wanted in (False, True)]
        outputs = [_one_step(features, some) for some in alike]
    return [output.movedim(1, 3) for output in outputs]


def _separable(kind: Kind) -> bool:
    return isinstance(kind[0][1], nn.Conv2d)


def _one_step(features: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """Kinds that are all separable or all not, as one dense convolution with the largest of their kernels."""
    layers = [layer for kind in kinds for layer in kind]
    size = max(first.kernel_size[0] for first, _ in layers)
    if _separable(kinds[0]):  # nothing lies between the two convolutions, so they are one
        deep = _joined([torch.stack([first.weight for first, _ in kind]) for kind in kinds], size)  # (·, C, 1, k, k)
        point = torch.stack([second.weight for _, second in layers])  # (·, C, C, 1, 1)
        kernel = (point * deep.transpose(1, 2)).flatten(0, 1)
    else:
        kernel = _joined([torch.cat([first.weight for first, _ in kind]) for kind in kinds], size)
    if size == 1:
        return F.linear(features.movedim(1, 3), kernel.flatten(1)).movedim(3, 1)
    dilation = max(first.dilation[0] for first, _ in layers)
    if features.shape[1] > NARROW or features.is_cuda or torch.is_autocast_enabled(features.device.type):
        return F.conv2d(features, kernel, None, 1, size // 2 * dilation, dilation)
    return cast(Tensor, NarrowConvolution.apply(features, kernel, dilation))


def _joined(kernels: Sequence[Tensor], size: int) -> Tensor:
    """Kernels ``(…, k, k)`` of several sizes one after the other, the smaller ones with zeros around them."""
    margins = [(size - kernel.shape[-1]) // 2 for kernel in kernels]
    filled = [
        F.pad(kernel, [margin] * 4) if margin else kernel for kernel, margin in zip(kernels, margins, strict=True)
    ]
    return torch.cat(filled) if len(filled) > 1 else filled[0]


def _two_steps(features: Tensor, kind: Kind) -> Tensor:
    """A depth-wise and a point-wise convolution; a channel's filters of all edges lie together, as its group wants."""
    channels = features.shape[1]
    weight = torch.stack([first.weight for first, _ in kind], 1).flatten(0, 1)
    deep = F.conv2d(features, weight, None, 1, weight.shape[3] // 2, 1, channels)
    weight = torch.cat([second.weight for _, second in kind])
    return F.conv2d(F.channel_shuffle(deep, channels), weight, groups=len(kind))


def _mix(rows: Tensor, leaving: Leaving, weights: Tensor, skip: Tensor) -> Tensor:
    """Σ over the operations of weight · batch norm, and what skips them; the statistics of the norms are kept.

    Args:
        rows: what the convolutions made, and the features: ``(B·H·W, operations · edges · C + C)``.
        leaving: whose norms are meant, one for each operation and edge.
        weights: ``(operations, edges)``.
        skip: that of the features, ``(edges,)``.

    Returns:
        ``(B·H·W, edges · C)``.
    """
    mean, variance, batches = leaving.statistics()
    norm, width = leaving.norms[0], rows.shape[1] - len(mean)
    training, momentum, eps = norm.training, norm.momentum or 0.0, norm.eps
    if training and rows.dtype in (torch.float32, torch.float64) and width <= COMPOSED:
        mixed: Tensor = NormalisedSum.apply(rows, weights, skip, mean, variance, momentum, eps)
    else:
        made, features = rows[:, : len(mean)], rows[:, len(mean) :]
        if rows.is_cuda:  # the backward pass of CUDA's batch norm gives each channel of a slice 16 threads
            made = made.contiguous()
        scale = weights.flatten().repeat_interleave(width)
        normal = F.batch_norm(made, mean, variance, scale, None, training, momentum, eps)
        passing = (features[:, None] * skip[:, None]).flatten(1)
        mixed = normal.unflatten(1, (len(weights), -1)).sum(1) + passing  # type: ignore[no-untyped-call]
    if training:
        batches += 1
    return mixed
