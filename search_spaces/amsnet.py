"""The space of NAS-Count: AMSNet with searched cells, and the searched pyramid of its loss."""

from __future__ import annotations

import functools
import math
from collections import ChainMap
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.amsnet import AMSNetBody
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import ModelSpace
from search_spaces.cell import SearchedCell
from search_spaces.extraction import SearchedExtraction
from search_spaces.fusion import SearchedFusion
from search_spaces.pooling import SearchedPyramid


class AMSNetSpace(ModelSpace):
    """AMSNet with an operation to choose on every edge and edges to choose for every node (NAS-Count, section 3).

    It is a :class:`nni_count.searching.space.Space`: what ``nni_count.search`` takes. Other operations, nodes or levels
    of the pyramid are a subclass with other class attributes; see ``docs/spaces.md``.

    Args:
        cells: number of extraction cells, M in the paper, which searches with 6.
        width: channels of the last extraction cell, C in the paper, which searches with 256.
        taps: three cells, counted from 1, that feed the decoder; None for the last and two evenly spaced before it.
        edges_per_node: how many incoming edges a node keeps.
        in_channels: channels of the image.
        out_channels: maps that are regressed; None for as many as the task of the search has, else 1.
        map_stride: pixels a side of a cell of the map: 1, 2 or 4 times ``stem_stride``; with a trunk its stride, a half
            or a quarter of it. None for 1, or the trunk's stride.
        stem_stride: pixels a side of what the stem makes one: 1 as in the paper; 2 or 4 are for a small budget, see
            :class:`nni_count.networks.encoder.Encoder`.
        trunk: the network whose early stages take the place of the pixels, by name, such as ``mobilenet_v3_small``; see
            :class:`nni_count.networks.trunk.Trunk`. It is trained like all other weights.
        trunk_stride: pixels a side of a cell of the trunk's maps: 4, 8 or 16.
        trunk_weights: of the trunk at the start: ``imagenet``, a download; ``none``; or a file of its weights.
        pyramid: how the loss compares the levels of its searched pyramid: ``published``, or ``normalised``, which
            does not favour poolings of small values; see :class:`search_spaces.pooling.SearchedPyramid`.
        affine: whether batch norms scale and shift. Not while searching: a scale would undo the weighting of the
            operations.

    Raises:
        SettingError: naming the setting that does not fit.
    """

    extraction_cell: ClassVar[type[SearchedCell]] = SearchedExtraction
    fusion_cell: ClassVar[type[SearchedCell]] = SearchedFusion
    pyramid_levels: ClassVar[int] = 3
    recorded: ClassVar[bool] = True

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        _sign(cls)

    def __init__(
        self,
        *,
        cells: Annotated[int, Range(6, 64)] = 6,
        width: Annotated[int, Range(4, 8192, step=4)] = 64,
        taps: list[int] | None = None,
        edges_per_node: Annotated[int, Range(1, 64)] = 2,
        in_channels: Annotated[int, Range(1, 4096)] = 3,
        out_channels: Annotated[int, Range(1, 4096)] | None = None,
        map_stride: int | None = None,
        stem_stride: int = 1,
        trunk: str | None = None,
        trunk_stride: int = 8,
        trunk_weights: str = "imagenet",
        pyramid: str = "published",
        affine: bool = False,
    ):
        super().__init__()
        check(AMSNetSpace.__init__, {**locals(), "self": None}, "space.")
        extraction, fusion = (cell(edges_per_node, affine) for cell in (self.extraction_cell, self.fusion_cell))
        self.parts = (extraction, fusion)
        self.network = AMSNetBody(
            extraction,
            fusion,
            cells=cells,
            width=width,
            taps=taps,
            in_channels=in_channels,
            out_channels=1 if out_channels is None else out_channels,
            map_stride=map_stride,
            stem_stride=stem_stride,
            trunk=trunk,
            trunk_stride=trunk_stride,
            trunk_weights=trunk_weights,
        )
        self.pyramid = SearchedPyramid(pyramid, self.pyramid_levels)
        self.map_stride = self.network.map_stride
        # each level of the pyramid halves the map; the encoder halves the image twice
        self.multiple = math.lcm(2**self.pyramid_levels * self.map_stride, self.network.multiple)
        self.settings: dict[str, Any] = {
            **self.network.settings,
            "trunk": trunk,
            "trunk_stride": trunk_stride,
            "trunk_weights": trunk_weights,
            "edges_per_node": edges_per_node,
            "pyramid": pyramid,
            "affine": affine,
        }

    def forward(self, image: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` → ``(B, out_channels, H / map_stride, W / map_stride)``."""
        density: Tensor = self.network(image)
        return density

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The scale pyramid pooling loss of two maps, a scalar."""
        loss: Tensor = self.pyramid(estimate, target)
        return loss

    def architecture(
        self,
        sample: Mapping[str, Any],
        probabilities: Mapping[str, Mapping[Any, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        rule: str = "paper",
    ) -> Architecture:
        """The architecture that an NNI sample describes.

        Args:
            sample: label → choice, as a strategy exports it.
            probabilities: label → choice → softmax(α) or softmax(β), where the strategy has them; see
                :meth:`search_spaces.cell.SearchedCell.decode`.
            provenance: where it comes from, plain YAML.
            rule: how edges and operations are ranked, ``paper`` or ``joint``; see there too.
        """
        cells = {cell.kind.name: cell.decode(sample, probabilities, rule) for cell in self.parts}
        return Architecture(
            **cells,
            pooling=self.pyramid.decode(sample),
            network=dict(self.network.settings),
            provenance=dict(provenance or {}),
        )

    def sample(self, architecture: Architecture) -> dict[str, Any]:
        """The NNI sample, label → choice, that :meth:`architecture` turns into this architecture."""
        cells = [cell.sample(architecture.cell(cell.kind)) for cell in self.parts]
        return dict(ChainMap(*cells, self.pyramid.sample(architecture.pooling)))

    def deployed(self, **settings: Any) -> AMSNetSpace:
        """This space as its networks are retrained: with affine batch norms, at other settings where they are given."""
        found = dict(self.settings)
        if "cells" in settings and "taps" not in settings:
            found["taps"] = None  # they move along
        try:
            return type(self)(**{**found, **settings, "affine": True})
        except TypeError:
            known = ", ".join(self.settings)
            raise SettingError(f"cost.network: {', '.join(settings)}; the settings of a network are {known}") from None

    def joins(self) -> dict[str, tuple[str, int]]:
        """Label of an operation → label of the choice of edges on which it depends, and its number there."""
        return {
            cell.edge_label(source, node): (cell.node_label(node), source)
            for cell in self.parts
            for node in cell.kind.computed
            for source in range(node)
        }


def _sign(space: Any) -> None:
    """NNI wraps the constructor of a space and loses its signature, from which command lines are made."""
    functools.update_wrapper(space.__init__, space._init_wrapped)


_sign(AMSNetSpace)
