"""What came of trials: read from run folders, NNI experiments and their exports, and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.comparing import experiments
from nni_count.errors import RunError
from nni_count.runs.plain import read_json

#: what a trial costs, beside how good its network is
COSTS = ("parameters", "flops", "search_seconds", "memory_mb")
NONE = {"candidates": 0, "seconds": 0.0}  # the verification of a run without one


@dataclass(frozen=True)
class Result:
    """What came of a trial; figures that are not known are NaN.

    Args:
        strategy: by which it searched.
        seed: of the run.
        figures: the task's main metric, ``rmse`` where it has that, and :data:`COSTS`.
        metric: the main metric.
        larger_is_better: whether more of it is better.
        facts: how they were obtained, as ``result.json`` has them; empty where only NNI's figures are known.
        folder: its run folder, where it is on this machine.
    """

    strategy: str
    seed: Any
    figures: dict[str, float]
    metric: str = "mae"
    larger_is_better: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def figure(self) -> float:
        """The main metric."""
        return self.figures[self.metric]

    @property
    def rank(self) -> float:
        """The main metric such that less is better."""
        return -self.figure if self.larger_is_better else self.figure


def by_strategy(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each strategy, that with the best mean of the main metric first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.strategy, []).append(result)
    return dict(sorted(groups.items(), key=lambda group: float(np.mean([result.rank for result in group[1]]))))


def check_comparable(results: Sequence[Result]) -> None:
    """Refuse results of different metrics with a :class:`RunError`."""
    judged = [[name for name in result.figures if name not in COSTS] for result in results]
    found = {" and ".join(names): r.folder or r.strategy for names, r in zip(judged, results, strict=True)}
    if len(found) > 1:
        metrics = ", ".join(f"{names} ({where})" for names, where in found.items())
        raise RunError(f"runs are judged by different metrics: {metrics}; compare those of one task at a time")


def load_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run.

    Raises:
        RunError: it cannot be read.
    """
    try:
        loaded = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); run it again, or leave it out") from error
    if not isinstance(loaded, dict):
        raise RunError(f"{path}: holds no figures by name; run it again, or leave it out")
    return loaded


def of_folder(folder: Path) -> Result:
    """The result of a trial's run folder.

    Raises:
        RunError: ``result.json`` is not one of a trial.
    """
    facts = load_json(folder / "result.json")
    try:
        metric = facts["main_metric"]
        names = [name for name in (metric, "rmse", *COSTS) if name != "rmse" or name in facts]
        figures = {name: float(facts[name]) for name in names}
        verified = facts.get("verification") or NONE
        others = [*map(float, facts.get("trainings", [])), *(float(verified[name]) for name in NONE)]
        if not np.isfinite([*figures.values(), *others]).all():
            raise ValueError(f"figures are {figures}, {others}")
        hash(facts["seed"])  # runs of one seed are set beside one another
        larger = facts.get("larger_is_better", False)  # earlier ones, all of counting, do not say
        return Result(str(facts["strategy"]), facts["seed"], figures, metric, larger, facts, folder)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise RunError(f"{folder}/result.json: no result of nni-count trial ({error!r}); leave it out") from error


def of_experiment(source: str, path: Path) -> tuple[list[Result], list[str]]:
    """The finished trials of an experiment, and a word on the others.

    Raises:
        RunError: there is no such experiment, or none of its trials has finished.
    """
    if path.is_file():
        trials = experiments.read_export(path)
    else:
        folder = path if (path / experiments.DATABASE).is_file() else experiments.find_experiment(source)
        if folder is None:
            raise RunError(
                f"{source}: neither a finished run of nni-count trial or evaluate, nor an NNI experiment of this "
                "machine (nnictl experiment list --all shows them), nor an exported one"
            )
        trials = experiments.read_experiment(folder)
    try:
        return _finished(source, trials)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunError(
            f"{source}: holds trials with other figures than those of nni-count trial ({error!r})"
        ) from error


def _finished(source: str, trials: list[experiments.NNITrial]) -> tuple[list[Result], list[str]]:
    # after nnictl resume, NNI's grid proposes again what was running
    once = {str(sorted(trial.parameters.items())): trial for trial in reversed(trials) if _of_trial(trial)}
    finished = [result for trial in reversed(once.values()) if (result := _of_trial(trial))]
    others = ", ".join(experiments.unfinished(trials))
    if not finished:
        raise RunError(
            f"{source}: none of its {len(trials)} trials has finished ({others or 'none was started'}); "
            "wait for one, or mend what made them fail and run nnictl resume"
        )
    return finished, [f"{source}: {len(finished)} of {len(trials)} trials; left out: {others}."] if others else []


def _of_trial(trial: experiments.NNITrial) -> Result | None:
    folder = trial.folder / "run" if trial.folder else None
    if folder and (folder / "result.json").is_file():  # it may be there though NNI did not hear of it
        return of_folder(folder)
    if trial.final is None:
        return None
    if "rmse" not in trial.final:
        raise RunError(
            f"trial {trial.id}: NNI does not know by which metric its task is judged; compare run folders, whose "
            "result.json says it, where the trial ran"
        )
    figures = {name: float(trial.final.get(name, np.nan)) for name in ("rmse", *COSTS)}
    strategy = str(trial.parameters.get("strategy", "trial")).rpartition(".")[2]
    strategy = "random" if strategy == "Random" else strategy
    return Result(strategy, trial.parameters.get("seed"), {"mae": trial.final["default"], **figures})
