"""How the cells of AMSNet are wired, written once (NAS-Count, section 3.1).

A cell is given what makes an edge's operation and what joins the edges that meet in a node. A search space gives it
choices (``search_spaces``), an exported network the chosen operations (:class:`ChosenParts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from nni_count.architecture import Architecture, CellKind
from nni_count.architecture import Cell as CellEdges
from nni_count.ops import NONE, OPERATIONS


class Parts(Protocol):
    """What the cells of a kind are made of."""

    #: whether batch norms scale and shift: not while searching, where it would undo the weighting of operations
    affine: bool

    @property
    def kind(self) -> CellKind:
        """How many nodes the cells have."""

    def edge(self, source: int, node: int, channels: int) -> nn.Module | None:
        """The operation on the edge from ``source`` to ``node``, or None where there is no edge."""

    def join(self, node: int) -> nn.Module:
        """A module that takes the list of a node's incoming maps, in the order of their sources, to their sum."""


class Sum(nn.Module):
    """The sum of the maps that meet in a node."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        total = maps[0]
        for other in maps[1:]:
            total = total + other
        return total


class ChosenParts:
    """The operations that were chosen; edges that were not kept, or hold ``none``, do not exist."""

    def __init__(self, kind: CellKind, chosen: CellEdges, affine: bool):
        self.kind = kind
        self.chosen = chosen
        self.affine = affine

    def edge(self, source: int, node: int, channels: int) -> nn.Module | None:
        operation = self.chosen[node].get(source, NONE)
        return None if operation == NONE else OPERATIONS[operation].build(channels, self.affine)

    def join(self, node: int) -> nn.Module:
        return Sum()


def chosen_parts(architecture: Architecture, affine: bool = True) -> list[ChosenParts]:
    """Those of an architecture's extraction cells and of its fusion cell."""
    return [ChosenParts(kind, architecture.cell(kind), affine) for kind in architecture.kinds]


def pointwise(channels_in: int, channels_out: int, affine: bool, relu: bool = True) -> nn.Sequential:
    """ReLU (unless the input is an image) → 1×1 convolution → batch norm."""
    layers: list[nn.Module] = [nn.ReLU()] if relu else []
    layers += [nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out, affine=affine)]
    return nn.Sequential(*layers)


class Cell(nn.Module):
    """Inputs, each through its own 1×1 convolution to a node's share of the channels; nodes joined to all before them;
    the computed nodes, concatenated; size kept.

    Args:
        channels_in: of each input.
        channels_out: a multiple of the number of computed nodes.
        parts: what makes edges and joins.
    """

    def __init__(self, channels_in: Sequence[int], channels_out: int, parts: Parts):
        super().__init__()
        self.kind = kind = parts.kind
        width = channels_out // kind.nodes
        self.inputs = nn.ModuleList(pointwise(channels, width, parts.affine) for channels in channels_in)
        self.edges = nn.ModuleDict()
        self.joins = nn.ModuleDict()
        for node in kind.computed:
            for source in range(node):
                edge = parts.edge(source, node, width)
                if edge is not None:
                    self.edges[f"{source}-{node}"] = edge
            self.joins[str(node)] = parts.join(node)

    def forward(self, *inputs: Tensor) -> Tensor:
        states = [prepare(x) for prepare, x in zip(self.inputs, inputs, strict=True)]
        for node in self.kind.computed:
            arriving = [
                self.edges[f"{source}-{node}"](states[source])
                for source in range(node)
                if f"{source}-{node}" in self.edges
            ]
            # all of a node's kept edges may hold `none`
            states.append(self.joins[str(node)](arriving) if arriving else torch.zeros_like(states[0]))
        return torch.cat(states[len(inputs) :], dim=1)
