"""``nni-count decode``: another architecture out of a search that was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import PickleError
from typing import Any, cast

import torch

from nni_count.architecture import Architecture
from nni_count.data import SYNTHETIC, DataSetting, halves, open_data
from nni_count.data.origin import as_begun
from nni_count.data.sample import Sample
from nni_count.errors import RunError, SettingError
from nni_count.networks.devices import find_device
from nni_count.networks.network import at_most
from nni_count.plugins import named_by_file
from nni_count.runs.checkpoints import read_checkpoint
from nni_count.runs.plain import check_file, read_yaml
from nni_count.runs.run import Run, open_run
from nni_count.searching.cost import Cost, cost_table
from nni_count.searching.decoding import strongest, write
from nni_count.searching.nni import ModelSpace, OneShotStrategy, Strategy
from nni_count.searching.one_shot import mutated
from nni_count.searching.perturbation import by_perturbation, judging_batches, load_weights
from nni_count.searching.space import DECODES, PERTURBATION, Space
from nni_count.tasks.task import Task, create_task
from nni_count.training.settings import Augmentation, Crops, check_choice

#: of a space for each byte of its checkpoint: strategies of partial channels train a share of its weights
MOST_WEIGHTS = 16


def decode(
    *,
    run: str | Path,
    out: str | Path,
    rule: str = "paper",
    cost: Cost | None = None,
    data: DataSetting | None = None,
    accelerator: str = "auto",
    space_class: type[ModelSpace] | None = None,
    strategy_class: type[Strategy] | None = None,
    task_class: type[Task] | None = None,
) -> Architecture:
    """Read another architecture out of a search that was made, without searching again.

    ``paper`` and ``joint`` read α and β; ``perturbation`` tries the trained space on crops of the half for the
    architecture.

    Args:
        run: the run folder of a search; its last whole epoch is read.
        out: run folder; gets ``architecture.yaml`` and ``cells.png``.
        rule: ``paper``: edges by β, operations by α; ``joint``: edges by β × their best real operation, and that one;
            ``perturbation``: what the trained space of a one-shot search can least do without.
        cost: a budget that the architecture keeps to.
        data: of a perturbation alone, the data set that was searched on, where it is not where the run says.
        accelerator: of a perturbation alone: ``auto``, ``cpu``, ``gpu`` …
        space_class: the class of the searched space, by dotted path, where it is of no installed package: a folder has
            nothing imported.
        strategy_class, task_class: likewise, of a perturbation alone.

    Returns:
        The architecture that stands in ``architecture.yaml``.

    Raises:
        RunError: the folder holds no search with a whole epoch, or for a perturbation no one-shot search, or its
            images are not there.
        SettingError: the rule is unknown or does not fit the strategy, no architecture is within the budget, or the
            space is neither of an installed package nor imported.
    """
    check_choice("rule", rule, DECODES)
    if rule != PERTURBATION and data is not None:
        raise SettingError(f"data: {rule} reads no images; leave it out, or choose the rule {PERTURBATION}")
    searched = Run(Path(run))
    config = _config(searched)
    remade = _remade(searched, config, data) if rule == PERTURBATION else None
    device = find_device(accelerator)
    checkpoint = _checkpoint(searched)
    found = checkpoint["callbacks"]["AfterEpoch"]["found"]
    space = _space(searched, config["space"]["class_path"], config["space"].get("init_args", {}))
    table = cost_table(space, cost) if cost else None
    if remade:
        strategy, task, crops, samples, seed = remade
        supernet = mutated(cast(ModelSpace, space), strategy)
        load_weights(supernet, checkpoint, searched.last_checkpoint)
        batches = judging_batches(samples, task, crops, space.map_stride, seed)
        found = by_perturbation(supernet, found, batches, task, seed, device)
    try:
        architecture = strongest(space, found["sample"], found["probabilities"], found["provenance"], rule, table)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{searched.last_checkpoint}: is of another space than {searched.folder}/config.yaml ({error!r}); give the "
            "folder of a search"
        ) from error
    settings = {"run": run, "rule": rule, "cost": cost, "data": data, "accelerator": accelerator}
    classes = {"space_class": space_class, "strategy_class": strategy_class, "task_class": task_class}
    write(architecture, open_run(out, "decode", {**settings, **classes}))
    return architecture


def _config(run: Run) -> Any:
    """The settings of a search, which at least name its space."""
    try:
        config = read_yaml(run.folder / "config.yaml")
        config["space"]["class_path"], config["space"].get("init_args")
        return config
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{run.folder}: holds no run of a search ({error}); give the folder of one") from error


def _remade(
    run: Run, config: Any, data: DataSetting | None
) -> tuple[OneShotStrategy, Task, Crops, Sequence[Sample], int]:
    """What searched a run, its task and crops, its half for the architecture, and its seed."""
    try:
        kind = named_by_file("strategy", config["strategy"]["class_path"], Strategy)
        if not issubclass(kind, OneShotStrategy):
            name = f"{run.folder}: {kind.__name__}"
            raise RunError(f"{name} trains no space that could be perturbed; give the run of a one-shot search")
        strategy = kind(**config["strategy"].get("init_args", {}))
        task = create_task(config["task"]["class_path"], config["task"].get("init_args", {}), of_file=True)
        crops = Crops(**{**config["crops"], "augmentation": Augmentation(**config["crops"]["augmentation"])})
        dataset, seed = open_data(_data(run, config["data"]) if data is None else data), int(config["seed"])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise RunError(f"{run.folder}: its config.yaml is damaged ({error!r}); give the folder of a search") from error
    parts = as_begun(run.folder, "search", dataset, halves(dataset.samples("train"), seed))
    return strategy, task, crops, parts[1], seed


def _data(run: Run, described: Any) -> DataSetting:
    """Where the data of a search are, as its run says it; a class is not called because a file names it."""
    path = described["path"] if isinstance(described, dict) and "class_path" not in described else described
    if isinstance(path, str) and (path in SYNTHETIC or Path(path).is_dir()):
        return cast(DataSetting, described)
    raise RunError(f"{run.folder}: its data ({described!s:.100}) are not here, or come from a class; give --data")


def _space(run: Run, path: Any, settings: Any) -> Space:
    """The space that a run searched, built anew."""
    kind = named_by_file("space", path, ModelSpace)
    try:
        with at_most(MOST_WEIGHTS * run.last_checkpoint.stat().st_size), torch.device("meta"):
            kind(**settings)  # takes no memory, and says how much it would take
        return cast(Space, kind(**settings))
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, SettingError) as error:
        raise RunError(f"{run.folder}: its space cannot be built ({error}); give the folder of a search") from error


def _checkpoint(run: Run) -> dict[str, Any]:
    """The state after the last whole epoch, with what the search's own callback found then."""
    path = run.last_checkpoint
    try:
        check_file(path)
        checkpoint: dict[str, Any] = read_checkpoint(
            path, lambda: torch.load(path, map_location="cpu", weights_only=True)
        )
        found = checkpoint["callbacks"]["AfterEpoch"]["found"]
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, PickleError) as error:
        raise RunError(f"{path}: no checkpoint of a search; give the folder of one") from error
    if not found:
        raise RunError(f"{run.folder}: stopped before the end of its first epoch; continue it with --resume")
    return checkpoint
