"""A trained model: one safetensors file that holds the weights and all that is needed to apply them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nni_count.architecture import Architecture
from nni_count.data.images import read_image, scaled_down
from nni_count.data.origin import Origin
from nni_count.data.pixels import MEAN, STD, normalise, rgb
from nni_count.errors import ModelError, NNICountError, SettingError
from nni_count.networks import Network, create, number_of_parameters
from nni_count.networks.network import at_most
from nni_count.runs.describe import path_of
from nni_count.runs.files import whole
from nni_count.runs.plain import check_file, parse_json
from nni_count.tasks.judging import estimate_map
from nni_count.tasks.peaks import check_counts, find_points
from nni_count.tasks.task import Task, create_task

FORMAT = "nni-count-model/1"
PREPROCESSING = {"colours": "RGB", "mean": list(MEAN), "std": list(STD)}


class Model:
    """A network with its task, for images of any size.

    What the task reads from a map is a method here: ``count(image)`` and ``density(image)`` where it counts, others
    where the task has others (:attr:`nni_count.Task.readings`).

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
        self.network = network.eval().to(memory_format=torch.channels_last)
        self.name = name
        self.architecture = architecture
        self.task = task
        self.facts = facts or {}
        self.origin = origin
        self.file: Path | None = None  # that it was saved to or loaded from last

    def to_dict(self) -> str:
        """What configurations have in its place: its file."""
        return str(self.file or "a model in no file: nni_count.model.save_model writes one; give that here")

    @property
    def parameters(self) -> int:
        """The number of trained weights."""
        return number_of_parameters(self.network)

    @property
    def max_side(self) -> int | None:
        """To how many pixels images were scaled down in training, and are before they are estimated."""
        side: int | None = self.origin.settings.get("max_side") if self.origin else None
        return side

    @property
    def reading(self) -> dict[str, int | None]:
        """The settings of :func:`nni_count.data.images.read_image` that its images were read with in training."""
        return {name: self.origin.settings.get(name) if self.origin else None for name in ("white", "page")}

    def map(self, image: np.ndarray | str | Path, views: int = 1) -> np.ndarray:
        """The estimated maps of an image, in the task's unit: ``(K, h, w)`` float32, cells of ``network.map_stride``
        pixels a side of the image as it was in training, no larger than :attr:`max_side`.

        Args:
            image: ``(H, W, 3)`` or ``(H, W)`` uint8, RGB, or the path of an image file.
            views: of the image whose maps are averaged, 1, 2 or 8; see
                :func:`nni_count.networks.whole_image.whole_map`.
        """
        if not isinstance(image, np.ndarray):
            image = read_image(image, oriented=True, **self.reading)
        image = scaled_down(rgb(image), self.max_side)
        return estimate_map(self.network, self.task, normalise(image), views)

    def count(self, image: np.ndarray | str | Path, views: int = 1) -> float:
        """How many there are in an image; arguments as for :meth:`map`.

        Raises:
            AttributeError: the model's task does not count; naming what it reads.
        """
        return float(self.__getattr__("count")(image, views))

    def density(self, image: np.ndarray | str | Path, views: int = 1) -> np.ndarray:
        """How many there are in each cell of an image, ``(h, w)`` float32; sums to :meth:`count`, which see."""
        density: np.ndarray = self.__getattr__("density")(image, views)
        return density

    def points(
        self, image: np.ndarray | str | Path, views: int = 1, label: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where they are: the map's most prominent maxima ``(N, 2)``, x y in the image's own pixels as viewers show it,
        and how many of :meth:`count` are at each ``(N,)``, see :func:`nni_count.tasks.peaks.peaks`. Of a task that
        counts several kinds those with a ``label``, or all; a :class:`SettingError` where it counts nothing, or not it.
        """
        check_counts(self.task, "points", label)
        if not isinstance(image, np.ndarray):
            image = read_image(image, oriented=True, **self.reading)
        found = find_points(self.task, self.map(image, views), self.network.map_stride, image.shape, self.max_side)
        kinds = [kind for name, kind in found.items() if label in (None, name)]
        return np.concatenate([points for points, _ in kinds]), np.concatenate([mass for _, mass in kinds])

    def __getattr__(self, name: str) -> Any:
        readings = vars(self)["task"].readings if "task" in vars(self) else {}
        if name not in readings:
            known = f"; {type(self.task).__name__} reads {', '.join(readings)}" if readings else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r}{known}")
        return lambda image, views=1: readings[name](self.map(image, views))


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
    header = {
        "format": FORMAT,
        "network": json.dumps({"name": model.name, "settings": model.network.settings}),
        "architecture": json.dumps(model.architecture.to_dict() if model.architecture else None),
        "task": json.dumps({"name": path_of(type(model.task)), "settings": model.task.settings}),
        "preprocessing": json.dumps(PREPROCESSING),
        "origin": json.dumps(model.origin and model.origin.to_dict()),
        "facts": json.dumps(model.facts),
    }
    with whole(path) as temporary:
        temporary.write_bytes(save(weights, metadata=header))  # its own writer tells of a full disk in words of its own
    model.file = Path(path)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """Load a model that :func:`save_model` wrote; needs no NNI.

    Nothing that the file names is imported, downloaded or built unless its weights account for it. A task of one's own
    that is no entry point of an installed package must be imported before.

    Raises:
        ModelError: the file is missing, truncated, foreign or of another version, has a weight that is not finite, or
            was made for a task that is neither installed nor imported.
    """
    remedy = "give a model.safetensors that nni-count retrain wrote"
    try:
        check_file(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable model ({_first_line(error)}); {remedy}") from error
    if header.get("format") != FORMAT:
        raise ModelError(f"{path}: format is {header.get('format')!r}, expected {FORMAT!r}; {remedy}")
    try:
        described, cells, wanted, facts = (
            parse_json(header[name]) for name in ("network", "architecture", "task", "facts")
        )
        name, settings = _named(described)
        task_name, task_settings = _named(wanted)
        architecture = None if cells is None else Architecture.from_dict(_with_numbers(cells))
        if not isinstance(facts, dict):
            raise TypeError("facts: no figures by name")
        if parse_json(header["preprocessing"]) != PREPROCESSING:
            raise ValueError(f"preprocessing is {header['preprocessing']:.200}, expected {PREPROCESSING}")
        kept = parse_json(header.get("origin", "null"))  # a file of version 0.1 has none
        origin = None if kept is None else Origin.from_dict(kept)
        network = _build(name, architecture, settings, weights)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, NNICountError) as error:
        raise ModelError(f"{path}: header and weights do not fit together ({_first_line(error)}); {remedy}") from error
    try:
        check_finite(weights)
        task = create_task(task_name, task_settings, of_file=True)
    except (ValueError, SettingError) as error:
        raise ModelError(f"{path}: {error}") from error
    model = Model(network.to(device), name, architecture, task, facts, origin)
    model.file = Path(path)
    return model


def _named(described: Any) -> tuple[str, dict[str, Any]]:
    """What a header says of a network or task: its name and its settings."""
    name, settings = described["name"], described["settings"]
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise TypeError(f"{described!r} has no name and settings")
    return name, settings


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
    network = create(name, architecture, **settings)
    network.load_state_dict(weights)
    return network


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of which one is NaN or infinite with a ValueError: of such a network every estimate is none."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"its weight {name} is not finite; train it again, with a smaller learning_rate")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _with_numbers(architecture: Any) -> Any:
    """JSON turned the node numbers into text; turn them back."""
    for kind in ("extraction", "fusion"):
        architecture[kind] = {
            int(node): {int(source): operation for source, operation in edges.items()}
            for node, edges in architecture[kind].items()
        }
    return architecture
