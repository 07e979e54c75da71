"""What a search exports and a retraining takes: the cells, the pooling pyramid, and where they came from.

The file (``architecture.yaml``) reads like the figure of a cell::

    format: nni-count-architecture/1
    network: {cells: 6, width: 32, taps: [4, 5, 6], in_channels: 3, out_channels: 1, map_stride: 1}
    extraction:                 # node: {input or earlier node: operation}
      2: {0: sep_conv_3x3, 1: skip}
      ...
    fusion:
      3: {0: conv_1x1, 2: sep_conv_5x5}
      ...
    pooling: [avg_2x2, avg_4x4, max_2x2]
    provenance: {strategy: DARTS, seed: 1, ...}

It is free of width and depth: found at M=6, C=256, it may be retrained at M=8, C=512. How many nodes a cell and levels
the pyramid has is what the file says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nni_count.errors import ArchitectureError
from nni_count.ops import OPERATIONS, POOLINGS
from nni_count.plugins import entries
from nni_count.runs.files import write_text
from nni_count.runs.plain import check_plain, dump_yaml, read_yaml

FORMAT = "nni-count-architecture/1"
MOST_PARTS = 64  # nodes of a cell, levels of the pyramid

# an architecture may hold what any installed package brings, in every process
OPERATIONS.update({name: operation for name, operation in entries("operations").items() if name not in OPERATIONS})


@dataclass(frozen=True)
class CellKind:
    """A kind of cell: nodes that are given, here by what drawings call them, and a number of nodes that are computed,
    each joined to all before it.
    """

    name: str
    inputs: tuple[str, ...]
    nodes: int

    @property
    def computed(self) -> range:
        """The numbers of the computed nodes; the inputs are numbered from 0."""
        return range(len(self.inputs), len(self.inputs) + self.nodes)


#: with the paper's numbers of nodes
EXTRACTION = CellKind("extraction", inputs=("l−2", "l−1"), nodes=4)
FUSION = CellKind("fusion", inputs=("tap 1", "tap 2", "tap 3"), nodes=2)
CELL_KINDS = {kind.name: kind for kind in (EXTRACTION, FUSION)}

#: node → {earlier node: operation}
Cell = dict[int, dict[int, str]]


@dataclass(frozen=True)
class Architecture:
    """The cells and the pyramid that a search found, checked on construction.

    Args:
        extraction: node → {earlier node: operation}, without a gap from node 2; 2…5 in the paper.
        fusion: node → {earlier node: operation}, without a gap from node 3; 3…4 in the paper.
        pooling: a pooling for each level, finest first; three in the paper.
        network: the settings at which it was found (``cells``, ``width``, ``taps``, ``in_channels``,
            ``out_channels``, ``map_stride``, ``stem_stride``, those of a trunk); a retraining may choose others.
        provenance: where it came from; free, but plain YAML.

    Raises:
        ArchitectureError: naming the place and the remedy.
    """

    extraction: Cell
    fusion: Cell
    pooling: tuple[str, ...]
    network: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in CELL_KINDS.values():
            _check_cell(kind, getattr(self, kind.name))
        pooling = self.pooling
        if not isinstance(pooling, (list, tuple)) or not pooling:
            raise ArchitectureError(f"pooling: expected a list of poolings like [avg_2x2], found {pooling!r}")
        _check_number("pooling", pooling)
        for level, name in enumerate(pooling):
            if not isinstance(name, str) or name not in POOLINGS:
                raise ArchitectureError(f"pooling[{level}]: unknown pooling {name!r}; known: {', '.join(POOLINGS)}")
        object.__setattr__(self, "pooling", tuple(pooling))
        for section in ("network", "provenance"):
            if not isinstance(getattr(self, section), Mapping):
                raise ArchitectureError(f"{section}: expected settings by name, found {getattr(self, section)!r}")
            try:
                check_plain(dict(getattr(self, section)), section)  # a search or training ends with writing it
            except ValueError as error:
                raise ArchitectureError(str(error)) from None

    def cell(self, kind: CellKind) -> Cell:
        """The kept edges of a kind of cell."""
        cell: Cell = getattr(self, kind.name)
        return cell

    @property
    def kinds(self) -> tuple[CellKind, ...]:
        """The kinds of cells, extraction first, with as many nodes as they have here."""
        return tuple(replace(kind, nodes=len(self.cell(kind))) for kind in CELL_KINDS.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in the order in which the file shows it."""
        return {
            "format": FORMAT,
            "network": dict(self.network),
            **{name: {node: dict(edges) for node, edges in getattr(self, name).items()} for name in CELL_KINDS},
            "pooling": list(self.pooling),
            "provenance": dict(self.provenance),
        }

    @staticmethod
    def from_dict(data: Any) -> Architecture:
        """The architecture that :meth:`to_dict` describes; raises :class:`ArchitectureError` on any fault."""
        if not isinstance(data, Mapping):
            raise ArchitectureError(
                f"expected an architecture (format, extraction, fusion, pooling), found {type(data).__name__}"
            )
        found = data.get("format")
        if found != FORMAT:
            remedy = "export it again with this version" if found else "give the architecture.yaml that a search wrote"
            raise ArchitectureError(f"format: expected {FORMAT!r}, found {found!r}; {remedy}")
        missing = [name for name in (*CELL_KINDS, "pooling") if name not in data]
        if missing:
            raise ArchitectureError(f"{missing[0]}: missing")
        known = ("format", "network", *CELL_KINDS, "pooling", "provenance")
        unknown = [name for name in data if name not in known]
        if unknown:
            raise ArchitectureError(f"{unknown[0]}: unknown entry; known: {', '.join(known)}")
        return Architecture(**{name: data[name] for name in known[1:] if name in data})


def _check_number(place: str, parts: Sized) -> None:
    if len(parts) > MOST_PARTS:
        raise ArchitectureError(f"{place}: has {len(parts)} entries; at most {MOST_PARTS} are built")


def _check_cell(kind: CellKind, cell: Any) -> None:
    if not isinstance(cell, Mapping):
        raise ArchitectureError(f"{kind.name}: expected nodes with their edges, found {cell!r}")
    _check_number(kind.name, cell)
    first = len(kind.inputs)
    for node in cell:
        if type(node) is not int or node < first:
            raise ArchitectureError(f"{kind.name}: unexpected node {node!r}; nodes are numbered from {first}")
    for node in range(first, max(cell, default=first) + 1):
        if node not in cell:
            raise ArchitectureError(f"{kind.name}: node {node} is missing; nodes are numbered on from {first}")
    for node, edges in cell.items():
        if not isinstance(edges, Mapping) or not edges:
            raise ArchitectureError(f"{kind.name}.{node}: expected edges like {{0: skip}}, found {edges!r}")
        for source, operation in edges.items():
            if type(source) is not int or not 0 <= source < node:
                raise ArchitectureError(
                    f"{kind.name}.{node}: an edge comes from {source!r}; only nodes 0 to {node - 1} lie before it"
                )
            if not isinstance(operation, str) or operation not in OPERATIONS:
                raise ArchitectureError(
                    f"{kind.name}.{node}.{source}: unknown operation {operation!r}; known: {', '.join(OPERATIONS)}; "
                    "install or import what registers it"
                )


def read_architecture(path: str | Path) -> Architecture:
    """Read and check an architecture file; raises :class:`ArchitectureError` naming file, place and remedy."""
    try:
        data = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ArchitectureError(
            f"{path}: cannot be read ({error}); give an architecture.yaml that a search wrote"
        ) from error
    try:
        return Architecture.from_dict(data)
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}: {error}") from None


def open_architecture(architecture: str | Path | Mapping[str, Any] | Architecture) -> Architecture:
    """The architecture itself, or that of a file, or that which :meth:`Architecture.to_dict` describes."""
    if isinstance(architecture, Architecture):
        return architecture
    if isinstance(architecture, Mapping):
        return Architecture.from_dict(architecture)
    return read_architecture(architecture)


def write_architecture(architecture: Architecture, path: str | Path) -> None:
    """Write the file whole or not at all."""
    write_text(path, dump_yaml(architecture.to_dict(), width=120, default_flow_style=None))
