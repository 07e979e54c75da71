"""Steps of an example, each a run folder: what is finished stays, what was interrupted goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nni_count
from nni_count.architecture import Architecture, read_architecture
from nni_count.searching.settings import SearchBudget


def searched(out: Path, *, budget: SearchBudget, **settings: Any) -> Architecture:
    """The architecture of a whole search."""
    found = out / "architecture.yaml"
    if not (found.is_file() and read_architecture(found).provenance["epochs"] == budget.max_epochs):
        nni_count.search(out=out, budget=budget, resume=_begun(out), **settings)
    return read_architecture(found)


def retrained(out: Path, **settings: Any) -> Path:
    """The model file of a whole retraining."""
    if not (out / "model.safetensors").is_file():
        nni_count.retrain(out=out, resume=_begun(out), **settings)
    return out / "model.safetensors"


def evaluated(out: Path, **settings: Any) -> None:
    """An evaluation, anew where it was not finished."""
    if not (out / "evaluation.json").is_file():
        for path in out.glob("*"):
            path.unlink()
        nni_count.evaluate(out=out, **settings)


def duration(minutes: float) -> str:
    """As ``max_time`` is written."""
    seconds = round(60 * minutes)
    return f"00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _begun(out: Path) -> bool:
    return (out / "checkpoints" / "last.ckpt").is_file()
