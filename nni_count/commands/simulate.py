"""``nni-count simulate``: hundreds of multi-trial searches in a minute, answered from a table of trainings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, cast

import cloudpickle

from nni_count.architecture import write_architecture
from nni_count.comparing.answers import Answers
from nni_count.comparing.regret import Searches, Simulation
from nni_count.comparing.surrogate import check_enough, fit_surrogate
from nni_count.comparing.trained import open_table
from nni_count.errors import Note, SettingError
from nni_count.pictures.regret import draw_regret
from nni_count.plugins import load
from nni_count.runs.files import write_text
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import Run, open_run
from nni_count.runs.tables import write_table
from nni_count.searching.multi_trial.simulation import Found, check_space, simulate_search
from nni_count.searching.nni import ModelSpace, OneShotStrategy, Strategy

BASELINE = "Random"
PROPOSALS = 10  # seeds whose architectures are written, so that they can be trained for real
TOGETHER = 5  # searches that a process makes before it reports
RANKS_WELL = 0.7

Plan = tuple[str, dict[str, Any]]


def simulate(
    *,
    out: str | Path,
    table: str | Path | None = None,
    data_set: str | None = None,
    strategies: Sequence[str | dict[str, Any]] | str = ("RegularizedEvolution", "TPE"),
    space: ModelSpace | None = None,
    seeds: Annotated[int, Range(2, 100_000)] = 200,
    trials: Annotated[int, Range(1, 100_000)] = 50,
    processes: Annotated[int, Range(1, 1024)] | None = None,
) -> str:
    """Compare multi-trial strategies by many searches that train nothing.

    In the place of a training answers a table of trained architectures, and for others a surrogate fitted to it, with
    noise as between two seeds. Random is always among the strategies; the others are set beside it, seed by seed.

    Args:
        out: run folder; gets ``simulation.md``, ``regret.png``, ``regret.csv`` (the curves), ``searches.csv`` (a search
            a row), and in ``proposals`` what the first ten seeds would export.
        table: its file; the package's own by default.
        data_set: name of one of the table's data sets; all of them by default.
        strategies: names or dotted paths of multi-trial strategies; with settings as ``{name: TPE, startup: 20}``.
        space: that the table's architectures are of; AMSNetSpace by default.
        seeds: searches of each strategy.
        trials: architectures that a search may try.
        processes: at once; as many as there are cores by default.

    Returns:
        The text of ``simulation.md``.

    Raises:
        DataError: the table cannot be read, or has too few architectures.
        SettingError: the table has no such data set or is of another space, or a strategy is unknown or one-shot.
    """
    check(simulate, {"seeds": seeds, "trials": trials, "processes": processes})
    trained = open_table(table)
    if data_set is not None and data_set not in trained.data:
        raise SettingError(f"data_set: {data_set!r} is not in the table; it has {', '.join(trained.data) or 'no rows'}")
    searched = space if space is not None else cast(ModelSpace, load("space", "AMSNetSpace")())
    check_space(searched, trained)
    strategies = [strategies] if isinstance(strategies, str) else list(strategies)
    plans = _plans([BASELINE, *strategies])
    names = trained.data if data_set is None else (data_set,)
    for name in names:
        check_enough(trained, name)
    settings = {"out": out, "table": table, "data_set": data_set, "strategies": strategies, "space": space}
    settings |= {"seeds": seeds, "trials": trials, "processes": processes}
    with open_run(out, "simulate", settings) as run:
        simulations = []
        for name in names:
            surrogate = fit_surrogate(trained, name)
            if not surrogate.correlation >= RANKS_WELL:
                warnings.warn(
                    f"{surrogate}: below {RANKS_WELL}, so what is found here is of the surrogate more than of networks",
                    Note,
                    stacklevel=2,
                )
            answers = Answers(trained, name, surrogate)
            found = _searches(plans, searched, answers, seeds, trials, processes)
            searches = {}
            for label in plans:
                some = list(islice(found, seeds))
                print(f"{name}: {seeds} searches by {label}", flush=True)
                _write_proposals(run, name, label, some)
                searches[label] = Searches.gathered([f.errors for f in some], [f.proposed for f in some], trials)
            simulations.append(Simulation(name, searches, BASELINE, answers.lowest, str(surrogate), surrogate.noise))
        return _write(run, simulations)


def _write(run: Run, simulations: Sequence[Simulation]) -> str:
    write_table(run.folder / "regret.csv", [row for one in simulations for row in one.curve_rows()])
    write_table(run.folder / "searches.csv", [row for one in simulations for row in one.search_rows()])
    curves = {one.data: ({name: one.curve(name) for name in one.searches}, one.noise * one.best) for one in simulations}
    draw_regret(curves, run.folder / "regret.png")
    text = "\n\n".join(map(str, simulations)) + "\n"
    write_text(run.folder / "simulation.md", text)
    return text


def _write_proposals(run: Run, data: str, label: str, found: Sequence[Found]) -> None:
    for seed, one in enumerate(found[:PROPOSALS]):
        where = {"strategy": label, "seed": seed, "table": data, "trials": len(one.errors), "table_error": one.proposed}
        file = re.sub(r"[^\w.]+", "-", f"{data} {label} {seed}") + ".yaml"
        write_architecture(replace(one.proposal, provenance=where), run.folder / "proposals" / file)


def _plans(strategies: Sequence[str | Mapping[str, Any]]) -> dict[str, Plan]:
    """What strategies are called, and how each is made; each is made once, so that faults are known now."""
    plans: dict[str, Plan] = {}
    for given in strategies:
        settings = {"name": given} if isinstance(given, str) else dict(given)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise SettingError(
                f"strategies: {given} names none; give a name, or one with settings as {{name: TPE, startup: 20}}"
            )
        label = " ".join([name, *(f"{key}={value}" for key, value in settings.items())])
        made = _made(name, settings)
        if isinstance(made, OneShotStrategy) or not isinstance(made, Strategy):
            raise SettingError(f"strategies: {name} tries no architectures one by one; give multi-trial strategies")
        plans.setdefault(label, (name, settings))
    return plans


def _made(name: str, settings: Mapping[str, Any]) -> Strategy:
    try:
        return cast(Strategy, load("strategy", name)(**settings))
    except TypeError as error:
        raise SettingError(f"strategies: {name}: {error}; nni-count search --strategy.help {name} lists them") from None


def _searches(
    plans: Mapping[str, Plan], space: ModelSpace, answers: Answers, seeds: int, trials: int, processes: int | None
) -> Iterator[Found]:
    """The searches of all seeds of one strategy, then of the next."""
    from joblib import Parallel, delayed

    packed = cloudpickle.dumps((type(space), space.trace_args, space.trace_kwargs, answers))
    work = (
        delayed(_some)(packed, plan, range(start, min(start + TOGETHER, seeds)), trials)
        for plan in plans.values()
        for start in range(0, seeds, TOGETHER)
    )
    for some in Parallel(processes or -1, return_as="generator")(work):
        yield from some


def _some(packed: bytes, plan: Plan, seeds: range, trials: int) -> list[Found]:
    space, answers = _unpacked(packed)
    return [simulate_search(_made(*plan), space, answers, trials, seed) for seed in seeds]


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> tuple[ModelSpace, Answers]:
    """The space and the answers, once a process."""
    kind, arguments, settings, answers = cloudpickle.loads(packed)
    return kind(*arguments, **settings), answers
