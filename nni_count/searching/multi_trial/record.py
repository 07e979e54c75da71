"""The trials of a multi-trial search: how many, how a space proposes them, and the record that a run folder keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import combinations
from typing import Annotated, Any

from nni_count.architecture import Architecture, write_architecture
from nni_count.errors import NNICountError, RunError, SettingError
from nni_count.runs.checkpoints import WholeCheckpoints
from nni_count.runs.plain import parse_json, read_json
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import Run
from nni_count.runs.tables import write_table
from nni_count.searching.nni import Categorical, CategoricalMultiple, ModelSpace, SimplifiedModelSpace
from nni_count.searching.space import Space
from nni_count.tasks.judging import best_first
from nni_count.tasks.task import Task
from nni_count.training.settings import check_choice

JOIN = "+"
#: what trains → the settings that are its own
ENGINES = {"nni": ("port", "public"), "local": (), "folder": ("folder", "timeout"), "slurm": ("slurm",)}


@dataclass(frozen=True)
class Trials:
    """How many architectures a multi-trial strategy tries; one-shot strategies have no trials.

    Args:
        number: of architectures that are trained, each for the search's ``max_epochs``.
        concurrency: trained at once, or waiting for a worker or a node.
        engine: what trains them: ``nni``, its training service on this machine with its portal; ``local``, processes
            of this machine; ``folder``, any number of ``nni-count work`` on machines that share ``trials.folder``;
            ``slurm``, jobs of a cluster.
        port: of the web portal while the search runs; None for a free one.
        public: whether the portal answers other machines too; it asks for no password.
        folder: through which the search and its workers speak; it must be there, and on a disk that all of them see.
        timeout: seconds without a heartbeat after which a worker's trial goes to another.
        slurm: parameters of submitit, such as ``{timeout_min: 60, gpus_per_node: 1, slurm_partition: gpu}``;
            ``cluster: local`` tries the same jobs on this machine.
    """

    number: Annotated[int, Range(1)] = 20
    concurrency: Annotated[int, Range(1)] = 1
    engine: str = "nni"
    port: Annotated[int, Range(1, 65535)] | None = None
    public: bool = False
    folder: str | None = None
    timeout: Annotated[float, Range(1)] = 120
    slurm: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check(Trials, vars(self), "trials.")
        check_choice("trials.engine", self.engine, ENGINES)
        defaults = {one.name: one.default for one in fields(self)}
        for engine, names in ENGINES.items():
            for name in names:
                if engine != self.engine and getattr(self, name) != defaults[name]:
                    raise SettingError(
                        f"trials.{name}: of the engine {engine}, and {self.engine} is given; leave it out"
                    )
        if self.engine == "folder" and self.folder is None:
            raise SettingError("trials.folder: is not given; the engine folder needs one that its workers see too")


class CombinedSpace(SimplifiedModelSpace):
    """A space in which choosing n of m is one choice among all combinations, since NNI's TPE and PolicyBasedRL, its
    portal and its tuners know no other. A combination is written ``0+2``.
    """

    sample: dict[str, Any]

    @classmethod
    def from_model(cls, model_space: ModelSpace, evaluator: Any = None, **settings: Any) -> CombinedSpace:
        mutables = {label: _combined(mutable) for label, mutable in model_space.simplify().items()}
        return cls(model_space, mutables, evaluator)

    @property
    def choices(self) -> dict[str, Any]:
        """The sample as the space itself writes it, label → choice or list of chosen ones."""
        return _choices(self.sample)

    def executable_model(self) -> Any:
        with_combinations, self.sample = self.sample, self.choices
        try:
            return super().executable_model()
        finally:
            self.sample = with_combinations


def _combined(mutable: Any) -> Any:
    if not isinstance(mutable, CategoricalMultiple) or mutable.n_chosen is None:
        return mutable
    chosen = [JOIN.join(map(str, some)) + JOIN for some in combinations(mutable.values, mutable.n_chosen)]
    return Categorical(chosen, label=mutable.label)


def _choices(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as the space itself writes it."""
    return {label: _taken_apart(choice) for label, choice in sample.items()}


def _taken_apart(choice: Any) -> Any:
    if isinstance(choice, str) and choice.endswith(JOIN):
        return [int(number) for number in choice.removesuffix(JOIN).split(JOIN)]
    return choice


@dataclass
class Trial:
    """One architecture that was tried: its sample, and what came out."""

    number: int
    sample: dict[str, Any]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return not self.figures


class Record:
    """The trials of a run: ``metrics.csv``, the best architecture, and what a resumed run need not train again.

    Args:
        run: where they stand.
        space: reads samples.
        task: whose main metric tells which is best.
        provenance: of the architecture, as far as it is known before the search.
    """

    def __init__(self, run: Run, space: Space, task: Task, provenance: Mapping[str, Any], *, resume: bool):
        self.run = run
        self.space = space
        self.task = task
        self.provenance = provenance
        self.trials: list[Trial] = []
        if resume:
            self.trials = self._read()
        self._known = {_key(trial.sample): trial for trial in self.trials}

    def _read(self) -> list[Trial]:
        file = self.run.last_checkpoint
        with file.open("rb") as opened:
            earlier = opened.read(1) == b"["  # before version 0.2, JSON
        kept = None if earlier else WholeCheckpoints(self.run).load_checkpoint(file, weights_only=True)
        try:
            trials = [Trial(**trial) for trial in (read_json(file) if kept is None else parse_json(kept["trials"]))]
            for trial in trials:
                self.space.architecture(_choices(trial.sample))
        except (ValueError, TypeError, KeyError, NNICountError) as error:
            raise RunError(
                f"{file}: is of another space or strategy ({type(error).__name__}: {error}); "
                "resume with those that the run was begun with"
            ) from error
        return trials

    def known(self, sample: Mapping[str, Any]) -> Trial | None:
        """The finished trial of that sample in the run that is resumed."""
        return self._known.get(_key(sample))

    @property
    def best(self) -> Trial | None:
        """The trial of the best main metric; None where none has succeeded."""
        return next(iter(self._ranked()), None)

    def _ranked(self) -> list[Trial]:
        """The trials that did not fail, best first."""
        done = (trial for trial in self.trials if not trial.failed)
        return best_first(done, self.task, lambda trial: trial.figures[self.task.main_metric])

    def ranked(self) -> Iterator[Architecture]:
        """The architectures of the trials that did not fail, best first."""
        return map(self._architecture, self._ranked())

    def add(self, trial: Trial) -> None:
        """Take a finished trial in, and write all files."""
        self.trials.append(trial)
        self.save()
        self._write_table()
        if self.best is not None:
            self._write_architecture(self.best)

    def save(self) -> None:
        """Write what a resumed run need not train again."""
        finished = [vars(trial) for trial in self.trials if not trial.failed]
        state = {"global_step": len(finished), "trials": json.dumps(finished)}
        WholeCheckpoints(self.run).save_checkpoint(state, self.run.last_checkpoint)

    def _write_table(self) -> None:
        names = (self.task.main_metric, "parameters", "seconds")
        unknown = {names[0]: "failed", **dict.fromkeys(names[1:], "")}
        rows = [{"trial": trial.number, **unknown, **trial.figures, **trial.sample} for trial in self.trials]
        write_table(self.run.folder / "metrics.csv", rows)

    def _write_architecture(self, best: Trial) -> None:
        from nni_count.pictures.cells import draw_cells

        architecture = self._architecture(best)
        write_architecture(architecture, self.run.folder / "architecture.yaml")
        if best is self.trials[-1]:
            draw_cells(architecture, self.run.folder / "cells.png")

    def _architecture(self, trial: Trial) -> Architecture:
        return self.space.architecture(
            _choices(trial.sample),
            None,
            {**self.provenance, "trial": trial.number, "trials": len(self.trials), **trial.figures},
        )


def _key(sample: Mapping[str, Any]) -> str:
    return json.dumps(sample, sort_keys=True)
