"""``results.json``: written anew the moment there is something to add, so that a run cut off leaves what it has."""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nni_count.runs.files import write_text


class NoTime(Exception):
    """The minutes of a part are over."""


class Results:
    """What was measured: facts about the run, and ``parts`` by name.

    Args:
        path: of ``results.json``.
        facts: device, command, date, versions.
        started: ``time.monotonic()`` at the start of the run.
    """

    def __init__(self, path: Path, facts: dict[str, Any], started: float):
        self.path = path
        self.started = started
        self.content: dict[str, Any] = {"benchmark": "gpu", **facts, "parts": {}}
        self.write()

    @property
    def seconds(self) -> float:
        """Since the start of the run."""
        return time.monotonic() - self.started

    def write(self) -> None:
        self.content["seconds"] = round(self.seconds, 1)
        write_text(self.path, json.dumps(self.content, indent=1) + "\n")

    @contextmanager
    def part(self, name: str, end: float) -> Iterator[Part]:
        """A part of the run, which should end so many seconds after the start; whatever fails in it is written down."""
        facts: dict[str, Any] = {"state": "running"}
        self.content["parts"][name] = facts
        start = self.seconds
        with self.guarded(facts, name):
            yield Part(self, name, facts, end)
        facts["state"] = "failed" if "error" in facts else "done"
        facts["seconds"] = round(self.seconds - start, 1)
        self.write()

    @contextmanager
    def guarded(self, facts: dict[str, Any], what: str) -> Iterator[None]:
        """Write down how a part, or a row of it, failed, and go on; out of memory with the size that was asked for."""
        try:
            yield
        except NoTime:
            facts["error"] = "no time was left"
        except Exception as error:
            facts.update(failure(error))
        if "error" in facts:
            print(f"{what}: {facts['error']}", flush=True)

    @property
    def failed(self) -> bool:
        """Whether a part or a row has an error."""
        return '"error":' in json.dumps(self.content["parts"])


class Part:
    """A part of the results, as those who measure see it.

    Args:
        results: of the run.
        name: of the part.
        facts: what ``results.json`` holds of it.
        end: when it should be over, in seconds after the start of the run.
    """

    def __init__(self, results: Results, name: str, facts: dict[str, Any], end: float):
        self.results = results
        self.name = name
        self.facts = facts
        self.end = end

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - self.results.seconds

    def need(self, seconds: float = 0.0) -> None:
        """Raise :class:`NoTime` where less than so many seconds are left."""
        if self.left <= seconds:
            raise NoTime

    def set(self, **facts: Any) -> None:
        """Write down facts by name."""
        self.facts.update(facts)
        self.results.write()

    @contextmanager
    def row(self, kind: str, **known: Any) -> Iterator[dict[str, Any]]:
        """A row of the list ``kind``, to be filled; it is written when the block ends, also when that fails."""
        row = dict(known)
        with self.results.guarded(row, ", ".join(map(str, [self.name, *known.values()]))):
            yield row
        self.facts.setdefault(kind, []).append(row)
        self.results.write()
        print(f"{self.results.seconds:6.1f} s  {self.name}: {json.dumps(_short(row))}", flush=True)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "traceback"}


def failure(error: Exception) -> dict[str, Any]:
    """An exception as facts: ``error``, ``traceback``, and ``asked`` where memory was asked for that was not there."""
    lines = str(error).strip().splitlines() or [""]
    facts: dict[str, Any] = {
        "error": f"{type(error).__name__}: {lines[0]}",
        "traceback": traceback.format_exc().splitlines()[-12:],
    }
    if "out of memory" in str(error).lower():
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        facts["error"] = f"out of memory: asked for {asked[1] if asked else 'an unknown size'}"
        facts["asked"] = asked[1] if asked else None
    return facts
