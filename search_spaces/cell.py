"""What the searched cells have in common: an operation to choose on every edge, edges to choose for every node."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from nni_count.architecture import Cell, CellKind
from nni_count.errors import SettingError
from nni_count.ops import NONE, OPERATIONS
from nni_count.searching.nni import InputChoice, LayerChoice


class SearchedCell:
    """The choices of a kind of cell, in place of operations and sums (:class:`nni_count.networks.wiring.Parts`). All
    cells of the kind share their labels, so they share α and β.

    Args:
        edges_per_node: how many incoming edges a node keeps; all of them where it has fewer.
        affine: whether batch norms scale and shift.

    Raises:
        SettingError: an operation is not registered.
    """

    kind: ClassVar[CellKind]
    #: the candidates of every edge; by default all that are registered when the space is built
    operations: ClassVar[Collection[str]] = OPERATIONS

    def __init__(self, edges_per_node: int, affine: bool):
        self.edges_per_node = edges_per_node
        self.affine = affine
        for name in self.operations:
            if name not in OPERATIONS:
                raise SettingError(f"space: {type(self).__name__}: {name!r} is unknown; known: {', '.join(OPERATIONS)}")

    def edge_label(self, source: int, node: int) -> str:
        """Label of the operation (α) on the edge from ``source`` to ``node``, e.g. ``extraction_2_0``."""
        return f"{self.kind.name}_{node}_{source}"

    def node_label(self, node: int) -> str:
        """Label of the edges (β) that arrive in ``node``, e.g. ``extraction_2``."""
        return f"{self.kind.name}_{node}"

    def edge(self, source: int, node: int, channels: int) -> LayerChoice:
        """All candidates for the operation on an edge."""
        candidates = {name: OPERATIONS[name].build(channels, self.affine) for name in self.operations}
        return LayerChoice(candidates, label=self.edge_label(source, node))

    def join(self, node: int) -> InputChoice:
        """The sum of the kept edges; while searching, of all edges weighted by softmax(β)."""
        kept = min(self.edges_per_node, node)
        return InputChoice(n_candidates=node, n_chosen=kept, reduction="sum", label=self.node_label(node))

    def decode(
        self,
        sample: Mapping[str, Any],
        probabilities: Mapping[str, Mapping[Any, float]] | None = None,
        rule: str = "paper",
    ) -> Cell:
        """The kept edges with their operations; a kept edge whose operation is ``none`` stays listed.

        Args:
            sample: label → choice, as an NNI strategy exports it.
            probabilities: label → choice → softmax(α) or softmax(β). With them, a node whose kept edges are all
                ``none`` takes the real operation of largest softmax(β) · softmax(α) among these edges.
            rule: ``paper`` keeps the sample: edges by β, operations by α (NAS-Count, section 3.1). ``joint`` keeps the
                edges of largest softmax(β) · softmax(α) of their best real operation, and that one (PC-DARTS).

        Raises:
            SettingError: the rule ``joint`` without probabilities.
        """
        if rule == "joint":
            if not probabilities:
                raise SettingError("decode: joint ranks by probabilities, which this strategy has not; choose paper")
            return {node: self._jointly(node, probabilities) for node in self.kind.computed}
        cell: Cell = {}
        for node in self.kind.computed:
            sources = sorted(int(source) for source in sample[self.node_label(node)])
            cell[node] = {source: sample[self.edge_label(source, node)] for source in sources}
            if all(operation == NONE for operation in cell[node].values()):
                self._revive(node, cell[node], probabilities)
        return cell

    def sample(self, cell: Cell) -> dict[str, Any]:
        """The NNI sample, label → choice, that :meth:`decode` turns into the cell; operations of edges that are not
        kept are ``none``, or the first candidate where that is none.
        """
        unused = NONE if NONE in self.operations else next(iter(self.operations))
        sample: dict[str, Any] = {}
        for node in self.kind.computed:
            sample[self.node_label(node)] = sorted(cell[node])
            for source in range(node):
                sample[self.edge_label(source, node)] = cell[node].get(source, unused)
        return sample

    def _jointly(self, node: int, probabilities: Mapping[str, Mapping[Any, float]]) -> dict[int, str]:
        strongest = sorted((self._best_real(node, source, probabilities) for source in range(node)), reverse=True)
        return {source: operation for _, source, operation in sorted(strongest[: self.edges_per_node], key=_source)}

    def _best_real(
        self, node: int, source: int, probabilities: Mapping[str, Mapping[Any, float]]
    ) -> tuple[float, int, str]:
        """softmax(β) · softmax(α) of an edge's best real operation, the edge's source, and the operation."""
        alphas = probabilities[self.edge_label(source, node)]
        alpha, operation = max((alpha, operation) for operation, alpha in alphas.items() if operation != NONE)
        return probabilities[self.node_label(node)][source] * alpha, source, operation

    def _revive(
        self, node: int, edges: dict[int, str], probabilities: Mapping[str, Mapping[Any, float]] | None
    ) -> None:
        place = f"{self.kind.name} node {node}: '{NONE}' won on all kept edges"
        if not probabilities:
            warnings.warn(f"{place}; the node gives zeros", stacklevel=4)
            return
        _, source, operation = max(self._best_real(node, source, probabilities) for source in edges)
        edges[source] = operation
        warnings.warn(f"{place}; the edge from {source} takes its best real operation, {operation}", stacklevel=4)


def _source(edge: tuple[float, int, str]) -> int:
    return edge[1]
