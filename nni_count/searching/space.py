"""What a space must be, beside being NNI's ``ModelSpace``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.searching.nni import ModelSpace


class Space(Protocol):
    """What ``nni_count.search`` needs of a space, beside being NNI's ``ModelSpace``.

    Attributes:
        map_stride: pixels a side of a cell of the map.
        multiple: what the side of a training crop must be divisible by.
        settings: the constructor's arguments by name, plain YAML.
        recorded: asked for where it is there: whether ``forward`` calls the same operations whatever the images hold,
            so that a strategy may record it on a CUDA device (:class:`nni_count.searching.recording.Recorded`).
    """

    map_stride: int
    multiple: int
    settings: dict[str, Any]

    def __call__(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → ``(B, K, H / map_stride, W / map_stride)``."""

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """What is minimised, a scalar; it may hold choices of its own."""

    def architecture(
        self,
        sample: Mapping[str, Any],
        probabilities: Mapping[str, Mapping[Any, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        rule: str = "paper",
    ) -> Architecture:
        """The architecture that a sample (label → choice) describes; probabilities where the strategy has them.

        Args:
            rule: one of :data:`RULES`.
        """

    def sample(self, architecture: Architecture) -> dict[str, Any]:
        """The sample of an architecture, the other way round."""

    def deployed(self, **settings: Any) -> Space:
        """The space as its networks are retrained, at settings of the network; asked only for a search with a cost."""

    def joins(self) -> dict[str, tuple[str, int]]:
        """Label of an operation → label of the choice of edges on which it depends, and its number there. The labels
        are those whose choices a retrained network has; asked only for a search with a cost.
        """


#: how an architecture is read from α and β: ``paper`` takes the edges of largest β, each with its operation of largest
#: α; ``joint`` the edges of largest β × largest α of a real operation
RULES = ("paper", "joint")

#: by what removals cost, whatever α and β are (:func:`nni_count.searching.perturbation.by_perturbation`)
PERTURBATION = "perturbation"
DECODES = (*RULES, PERTURBATION)

MEMBERS = ("forward", "loss", "architecture", "sample", "map_stride", "multiple", "settings")


def check_is_space(space: Any) -> None:
    """Refuse with a :class:`SettingError` what is no NNI space, or lacks what a search needs of it."""
    name = type(space).__name__
    if not isinstance(space, ModelSpace):
        raise SettingError(f"space: {name} is no NNI ModelSpace; choose one, such as AMSNetSpace")
    missing = [member for member in MEMBERS if not hasattr(space, member)]
    if missing:
        raise SettingError(f"space: {name} lacks {', '.join(missing)}; see docs/spaces.md")
