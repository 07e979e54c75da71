"""NNI experiments as they lie on the disk: live, finished or exported, their trials and figures."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nni_count.errors import RunError
from nni_count.runs.plain import parse_json, read_json

HOME = Path("~/nni-experiments").expanduser()  # where nnictl keeps its list, wherever the experiments are
DATABASE = Path("db") / "nni.sqlite"


@dataclass(frozen=True)
class NNITrial:
    """A trial as NNI knows it.

    Args:
        id: five letters.
        status: NNI's, such as ``SUCCEEDED`` or ``FAILED``.
        parameters: the settings that NNI gave it.
        final: its final result; None where there is none.
        folder: its output folder, where the trial ran on this machine.
    """

    id: str
    status: str
    parameters: dict[str, Any]
    final: dict[str, float] | None
    folder: Path | None = None

    def reason(self) -> str:
        """The last line that it wrote to its error stream, empty where that is not here."""
        for name in ("trial.stderr", "stderr"):
            path = self.folder / name if self.folder else None
            lines = path.read_text(errors="replace").strip().splitlines() if path and path.is_file() else []
            if lines:
                return lines[-1]
        return ""


def find_experiment(id: str) -> Path | None:
    """The folder of an experiment that nnictl has started on this machine; None where it knows no such id."""
    listed = HOME / ".experiment"
    try:
        entries = read_json(listed) if listed.is_file() else {}
        parent = Path(entries[id]["logDir"]) if id in entries else HOME
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{listed}: nnictl's list cannot be read ({error!r}); give the experiment's folder") from error
    return parent / id if (parent / id / DATABASE).is_file() else None


def read_experiment(folder: Path) -> list[NNITrial]:
    """The trials of an experiment, from its data base; its manager need not run.

    Raises:
        RunError: the data base cannot be read.
    """
    try:
        connection = sqlite3.connect(f"{(folder / DATABASE).resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            events = connection.execute(
                "select trialJobId, event, data, logPath from TrialJobEvent where event <> 'IMPORT_DATA' order by rowid"
            ).fetchall()
            finals = dict(connection.execute("select trialJobId, data from MetricData where type = 'FINAL'").fetchall())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RunError(f"{folder / DATABASE}: no readable data base of an NNI experiment ({error})") from error
    trials: dict[str, NNITrial] = {}
    try:
        for id, status, data, path in events:
            known = trials.get(id)
            parameters = parse_json(data)["parameters"] if data else (known.parameters if known else {})
            where = Path(path) if path and Path(path).is_dir() else None
            trials[id] = NNITrial(id, status, parameters, _final(finals.get(id)), where)
    except (ValueError, LookupError, TypeError) as error:
        raise RunError(f"{folder / DATABASE}: holds trials that NNI did not write ({error!r})") from error
    return list(trials.values())


def read_export(path: Path) -> list[NNITrial]:
    """The finished trials in a file of ``nnictl experiment export --type json``.

    Raises:
        RunError: the file is something else.
    """
    try:
        rows = read_json(path)
        return [
            NNITrial(row.get("trialJobId", row.get("id")), "SUCCEEDED", row["parameter"], _final(row["value"]))
            for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path}: not an exported experiment ({type(error).__name__}: {error}); "
            "write one with nnictl experiment export ID --filename FILE --type json"
        ) from error


def _final(text: Any) -> dict[str, float] | None:
    """NNI wraps its figures in JSON once or twice."""
    value = text
    while isinstance(value, str):
        value = parse_json(value)
    return {"default": float(value)} if isinstance(value, (int, float)) else value


def unfinished(trials: list[NNITrial]) -> Iterator[str]:
    """What became of the trials without a final result, a line each status."""
    left = [trial for trial in trials if trial.final is None]
    for status, number in Counter(trial.status for trial in left).items():
        reasons = Counter(trial.reason() for trial in left if trial.status == status == "FAILED")
        why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        yield f"{number} {status}" + (f" ({why})" if why else "")
