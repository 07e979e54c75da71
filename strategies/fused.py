"""AMSNet's cells with partial channels, all edges that leave a node computed together.

The modules are those of the edge-by-edge form, so that weights, checkpoints and exports are the same; only the order
of computation differs. Each kind of operation becomes one convolution for all target nodes, and where channels or edges
are few, all kinds together become two. Operations that are not made of convolutions are computed edge by edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.networks.wiring import Cell
from nni_count.ops import Zero
from nni_count.searching.nni import DifferentiableMixedInput
from strategies.convolutions import COMPOSED, calls, is_taken
from strategies.functions import NormalisedSum, WeightedSum
from strategies.partial_layer import Channels, PartialLayer


def fuse(space: nn.Module) -> None:
    """Let the cells of a mutated space compute their edges together, in place, where they can."""
    for parent in list(space.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Cell and _fits(child):
                setattr(parent, name, FusedCell(child))


def _fits(cell: Cell) -> bool:
    """Whether all edges exist, are partial, and choose from the same candidates, some of them made of convolutions."""
    wanted = [f"{source}-{node}" for node in cell.kind.computed for source in range(node)]
    edges: list[Any] = list(cell.edges.values())
    return (
        sorted(cell.edges) == sorted(wanted)
        and all(type(join) is DifferentiableMixedInput for join in cell.joins.values())
        and all(isinstance(edge, PartialLayer) for edge in edges)
        and len({str([(name, edge[name]) for name in edge.names]) for edge in edges}) == 1
        and any(is_taken(edges[0][name]) for name in edges[0].names)
    )


class Leaving:
    """The layers on the edges that leave a node; looking them up anew in every step takes a twentieth of it.

    Of the candidates those made of convolutions are computed together, skip and none are known, and the others are
    computed edge by edge.

    Args:
        nodes: where the edges lead.
        edges: a :class:`PartialLayer` each, of like candidates.
    """

    def __init__(self, nodes: list[int], edges: list[Any]):
        self.nodes = nodes
        self.edges = edges
        operations = [[edge[name] for edge in edges] for name in edges[0].names]  # by candidate, then by edge
        taken = {number: some for number, some in enumerate(operations) if is_taken(some[0])}
        kinds = {number: [list(operation)[1:-1] for operation in some] for number, some in taken.items()}
        self.calls = [(step, [kinds[number] for number in numbers]) for step, numbers in calls(kinds)]
        rows = [number for _, numbers in calls(kinds) for number in numbers]
        self.norms: list[Any] = [operation[-1] for number in rows for operation in operations[number]]
        #: numbers of the candidates that are computed together, in their order, and of those that skip
        self.rows = _index(rows)
        self.skips = _index([number for number, some in enumerate(operations) if type(some[0]) is nn.Identity])
        beside = [number for number, some in enumerate(operations) if type(some[0]) not in (nn.Identity, Zero)]
        self.others = [(number, operations[number]) for number in beside if number not in taken]
        self._statistics: tuple[Tensor, Tensor, Tensor] | None = None

    def of_rows(self, weights: Tensor) -> Tensor:
        """Those ``(candidates, edges)`` of the candidates that are computed together."""
        self.rows = _on(self.rows, weights.device)
        return weights[self.rows]

    def of_skips(self, weights: Tensor) -> Tensor:
        """The sum ``(edges,)`` of those of the candidates that skip."""
        self.skips = _on(self.skips, weights.device)
        return weights[self.skips].sum(0)

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


def _index(numbers: list[int]) -> Tensor | slice:
    """Numbers as an index; as a slice where they follow one another, which is faster."""
    following = numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else False
    return slice(numbers[0], numbers[-1] + 1) if following else torch.tensor(numbers, dtype=torch.long)


def _on(index: Tensor | slice, device: torch.device) -> Tensor | slice:
    return index if isinstance(index, slice) else index.to(device)


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
        return torch.cat(states[len(inputs) :], dim=1)

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
    active = F.relu(share).movedim(3, 1)
    made = [step(active, kinds).movedim(1, 3) for step, kinds in leaving.calls]
    rows = torch.cat([*made, share.to(made[0].dtype)], 3).flatten(0, 2)  # in mixed precision those of the convolutions
    weights = _probabilities(leaving.edges).T * betas  # (candidates, edges)
    mixed = _mix(rows, leaving, leaving.of_rows(weights), leaving.of_skips(weights))
    outputs = [part.movedim(3, 1) for part in mixed.view(*share.shape[:3], len(leaving.edges), -1).unbind(3)]
    for number, operations in leaving.others:
        for edge, operation in enumerate(operations):
            outputs[edge] = outputs[edge] + weights[number, edge] * operation(share.movedim(3, 1))
    return outputs


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
