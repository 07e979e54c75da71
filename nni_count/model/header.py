"""What a model's file says of it beside the weights, the same in a file of weights and in an exported graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nni_count.data.origin import Origin
from nni_count.data.pixels import MEAN, STD
from nni_count.model.seal import BLANK
from nni_count.runs.describe import path_of
from nni_count.runs.plain import parse_json

if TYPE_CHECKING:
    from nni_count.model.trained import Model

FORMAT = "nni-count-model/1"
PREPROCESSING = {"colours": "RGB", "mean": list(MEAN), "std": list(STD)}
#: what whoever reads a header must be ready for, since anybody may have written it
DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


class Header(NamedTuple):
    """The network by its name and settings, its cells as plain data, the task likewise, and where it comes from."""

    name: str
    settings: dict[str, Any]
    cells: Any
    task: str
    task_settings: dict[str, Any]
    facts: dict[str, Any]
    origin: Origin | None


def write_header(model: Model) -> dict[str, str]:
    """What is written of a model, text by name."""
    return {
        "format": FORMAT,
        "network": json.dumps({"name": model.name, "settings": model.settings}),
        "architecture": json.dumps(model.architecture.to_dict() if model.architecture else None),
        "task": json.dumps({"name": path_of(type(model.task)), "settings": model.task.settings}),
        "preprocessing": json.dumps(PREPROCESSING),
        "origin": json.dumps(model.origin and model.origin.to_dict()),
        "facts": json.dumps(model.facts),
        "checksum": BLANK,
    }


def read_header(texts: Mapping[str, str]) -> Header:
    """What :func:`write_header` wrote; one of :data:`DAMAGED` or a NNICountError where that is not what it is."""
    described, cells, wanted, facts = (parse_json(texts[name]) for name in ("network", "architecture", "task", "facts"))
    if not isinstance(facts, dict):
        raise TypeError("facts: no figures by name")
    if parse_json(texts["preprocessing"]) != PREPROCESSING:
        raise ValueError(f"preprocessing is {texts['preprocessing']:.200}, expected {PREPROCESSING}")
    kept = parse_json(texts.get("origin", "null"))  # a file of version 0.1 has none
    origin = None if kept is None else Origin.from_dict(kept)
    return Header(*_named(described), cells, *_named(wanted), facts, origin)


def _named(described: Any) -> tuple[str, dict[str, Any]]:
    """What a header says of a network or task: its name and its settings."""
    name, settings = described["name"], described["settings"]
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise TypeError(f"{described!r} has no name and settings")
    return name, settings


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
