"""A trained model: one safetensors file that holds the weights and all that is needed to apply them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nni_count.architecture import Architecture
from nni_count.data.origin import Origin
from nni_count.data.pixels import normalise
from nni_count.errors import ModelError, NNICountError, SettingError
from nni_count.model.estimator import Estimator
from nni_count.model.header import DAMAGED, FORMAT, first_line, read_header, write_header
from nni_count.model.named import find_model
from nni_count.model.seal import check_seal, sealed
from nni_count.networks import Network, create, number_of_parameters
from nni_count.networks.folding import folded
from nni_count.networks.network import at_most
from nni_count.networks.reach import reach
from nni_count.networks.stages import Staged
from nni_count.runs.files import whole
from nni_count.runs.plain import check_file
from nni_count.tasks.judging import estimate_map
from nni_count.tasks.task import Task, create_task


class Model(Estimator):
    """A network with its task, for images of any size.

    Args:
        network: as :func:`nni_count.networks.create` gives it.
        name: of the network, e.g. ``amsnet``.
        architecture: the cells, where the network was searched.
        task: how its map is read.
        facts: figures that are kept with it, plain JSON.
        origin: the images that it was trained on, and how they were read; None where that is not known.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        architecture: Architecture | None,
        task: Task,
        facts: dict[str, Any] | None = None,
        origin: Origin | None = None,
    ):
        known = network.settings, number_of_parameters(network), network.map_stride
        super().__init__(name, *known, task, facts, origin)
        self.network = network.eval().to(memory_format=torch.channels_last)
        self.architecture = architecture
        self._folded: Network | None = None

    def _estimate(self, image: np.ndarray, views: int) -> np.ndarray:
        device = next(self.network.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bfloat16):
            return estimate_map(self._folded or self.network, self.task, normalise(image), views)

    @property
    def multiple(self) -> int:
        return self.network.multiple

    @cached_property
    def reach(self) -> int | None:
        return reach(self.network)

    def fold(self) -> None:
        """Estimate by a copy of the network whose batch norms are folded into its convolutions and whose stages are
        computed in tiles, which takes less time and memory; to be called again where the network's weights change.
        """
        self._folded = folded(self.network)
        for part in self._folded.modules():
            if isinstance(part, Staged):
                part.in_tiles = True


def save_model(model: Model, path: str | Path) -> None:
    """Write the model's one file, whole or not at all.

    Raises:
        ModelError: a weight is not finite; nothing is written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    try:
        check_finite(weights)
    except ValueError as error:
        raise ModelError(f"{path}: is not written: {error}") from None
    with whole(path) as temporary:
        # the library's own writer tells of a full disk in words of its own
        temporary.write_bytes(sealed(save(weights, metadata=write_header(model))))
    model.file = Path(path)


def load_trained(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """Load a model that :func:`save_model` wrote; needs no NNI.

    Nothing that the file names is imported, downloaded or built unless its weights account for it. A task of one's own
    that is no entry point of an installed package must be imported before.

    Raises:
        ModelError: the file is missing, truncated, damaged, foreign or of another version, has a weight that is not
            finite, or was made for a task that is neither installed nor imported.
    """
    path, remedy = find_model(path), "give a model.safetensors that nni-count retrain wrote"
    try:
        check_file(path)
        content = path.read_bytes()  # the library takes whatever keeps it from reading for a missing file
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable model ({first_line(error)}); {remedy}") from error
    if header.get("format") != FORMAT:
        raise ModelError(f"{path}: format is {header.get('format')!r}, expected {FORMAT!r}; {remedy}")
    try:
        of = read_header(header)
        architecture = None if of.cells is None else Architecture.from_dict(_with_numbers(of.cells))
        network = _build(of.name, architecture, of.settings, weights)
    except (*DAMAGED, NNICountError) as error:
        raise ModelError(f"{path}: header and weights do not fit together ({first_line(error)}); {remedy}") from error
    try:
        check_finite(weights)
        task = create_task(of.task, of.task_settings, of_file=True)
        check_seal(header.get("checksum"), content)
    except (ValueError, SettingError) as error:
        raise ModelError(f"{path}: {error}") from error
    try:
        if (place := torch.zeros(0, device=device)).is_meta:
            raise RuntimeError("it computes nothing")
        network.to(place.device)
    except (RuntimeError, AssertionError) as error:  # as torch is built
        raise SettingError(f"device: {str(device)!r} cannot be used ({first_line(error)}); choose cpu") from error
    model = Model(network, of.name, architecture, task, of.facts, of.origin)
    model.file = Path(path)
    return model


def _build(
    name: str, architecture: Architecture | None, settings: dict[str, Any], weights: Mapping[str, Tensor]
) -> Network:
    """The network of a header with its weights. First it is built without memory, as far as the weights go."""
    if settings.get("pretrained"):
        raise SettingError("network.pretrained: a model brings its weights")
    # some layers make weights that others take the place of
    with at_most(4 * sum(tensor.numel() for tensor in weights.values())), torch.device("meta"):
        planned = create(name, architecture, **settings).state_dict()
    found, expected = ({key: tuple(tensor.shape) for key, tensor in of.items()} for of in (weights, planned))
    for key in found | expected:
        if found.get(key) != expected.get(key):
            raise SettingError(f"{key}: shape {found.get(key)} in the file, {expected.get(key)} in the network")
        if weights[key].is_floating_point() != planned[key].is_floating_point():  # what is rounded estimates nothing
            raise SettingError(f"{key}: is of {weights[key].dtype} in the file, {planned[key].dtype} in the network")
    network = create(name, architecture, **settings)
    network.load_state_dict(weights)
    return network


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of which one is NaN or infinite with a ValueError: of such a network every estimate is none."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"its weight {name} is not finite; train it again, with a smaller learning_rate")


def _with_numbers(architecture: Any) -> Any:
    """JSON turned the node numbers into text; turn them back."""
    for kind in ("extraction", "fusion"):
        architecture[kind] = {
            int(node): {int(source): operation for source, operation in edges.items()}
            for node, edges in architecture[kind].items()
        }
    return architecture
