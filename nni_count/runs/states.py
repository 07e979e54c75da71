"""What parts of a run gave, such as one of several trainings: JSON with its checksum, which a resumed run reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nni_count.errors import RunError
from nni_count.runs.files import write_text
from nni_count.runs.plain import read_json

SUM = "checksum"


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write plain values by name, whole or not at all."""
    write_text(path, json.dumps({**state, SUM: _sum(state)}))


def read_state(path: Path, *names: str) -> dict[str, Any]:
    """What :func:`write_state` wrote; a file of an earlier version has no checksum.

    Raises:
        RunError: it is damaged, or lacks one of these names; the message says how to go on.
    """
    try:
        state = read_json(path)
        if not isinstance(state, dict) or not {*names} <= state.keys():
            raise ValueError("other values are expected")
        if state.pop(SUM, known := _sum(state)) != known:
            raise ValueError("bad checksum")
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error}); remove it, and --resume does that part again") from error
    return state


def _sum(state: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in state.items() if name != SUM}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
