"""What settings are called: by dotted names, and what most people set by short ones."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

#: what most people set has a short name on the command line, in configurations, and among the settings of a trial
SHORT = {
    "crop_size": "crops.size",
    **{name: f"crops.{name}" for name in ("batch_size", "augmentation", "cache_gb", "num_workers")},
    **{
        name: f"recipe.{name}"
        for name in ("optimizer", "learning_rate", "final_learning_rate", "weight_decay", "gradient_clip")
    },
    **{name: f"recipe.{name}" for name in ("loss", "schedule", "average_decay", "frozen_norms", "validation_fraction")},
    **{name: f"recipe.{name}" for name in ("teacher", "teacher_weight")},
    **{name: f"budget.{name}" for name in ("max_epochs", "max_steps", "max_time", "limit_train_batches", "early_stop")},
    "verify": "budget.verify",
    **{name: f"compute.{name}" for name in ("accelerator", "devices", "num_nodes", "precision", "threads", "tile")},
    "decode": "decoding.rule",
    **{name: f"decoding.{name}" for name in ("cost", "validation_images")},
    **{name: f"data.{name}" for name in ("fold", "scene")},
    **{name: f"video.{name}" for name in ("every", "smoothing")},
}


#: what may be written alone, or with settings beside it → what it is called among them
HEADS = {"data": "path", "network": "name"}


def dotted(name: str, own: Container[str]) -> str:
    """The dotted name of a setting that is given by its short one, e.g. ``crops.size`` of ``crop_size``.

    Args:
        name: short or dotted.
        own: the settings of the function itself, which come before short names.
    """
    first, dot, rest = name.partition(".")
    return name if first in own or first not in SHORT else SHORT[first] + dot + rest


def nested(settings: Mapping[str, Any], own: Container[str]) -> dict[str, Any]:
    """Settings by short, dotted or plain names, as the dataclasses nest them; arguments as for :func:`dotted`."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        *groups, last = dotted(name, own).split(".")
        place = result
        for group in groups:
            if not isinstance(place.get(group, {}), dict):
                place[group] = {HEADS[group]: place[group]}
            place = place.setdefault(group, {})
        if isinstance(value, Mapping) and isinstance(place.get(last), dict):
            place[last].update(value)
        elif isinstance(place.get(last), dict) and last in HEADS:
            place[last][HEADS[last]] = value
        else:
            place[last] = dict(value) if isinstance(value, Mapping) else value
    return result
