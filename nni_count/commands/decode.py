"""``nni-count decode``: another architecture out of a search that was made."""

from __future__ import annotations

from pathlib import Path
from pickle import PickleError
from typing import Any, cast

import torch

from nni_count.architecture import Architecture
from nni_count.errors import RunError, SettingError
from nni_count.networks.network import at_most
from nni_count.plugins import named_by_file
from nni_count.runs.plain import check_file, read_yaml
from nni_count.runs.run import Run, open_run
from nni_count.searching.cost import Cost, cost_table
from nni_count.searching.decoding import strongest, write
from nni_count.searching.nni import ModelSpace
from nni_count.searching.space import RULES, Space
from nni_count.training.settings import check_choice

#: of a space for each byte of its checkpoint: strategies of partial channels train a share of its weights
MOST_WEIGHTS = 16


def decode(
    *,
    run: str | Path,
    out: str | Path,
    rule: str = "paper",
    cost: Cost | None = None,
    space_class: type[ModelSpace] | None = None,
) -> Architecture:
    """Read another architecture out of a search that was made, without searching again.

    Args:
        run: the run folder of a search; its last whole epoch is read.
        out: run folder; gets ``architecture.yaml`` and ``cells.png``.
        rule: ``paper``: edges by β, operations by α; ``joint``: edges by β × their best real operation, and that one.
        cost: a budget that the architecture keeps to.
        space_class: the class of the searched space, by dotted path, where it is of no installed package: a folder has
            nothing imported.

    Returns:
        The architecture that stands in ``architecture.yaml``.

    Raises:
        RunError: the folder holds no search with a whole epoch.
        SettingError: the rule is unknown or does not fit the strategy, no architecture is within the budget, or the
            space is neither of an installed package nor imported.
    """
    check_choice("rule", rule, RULES)
    searched = Run(Path(run))
    described = _described(searched)
    found = _found(searched)
    space = _space(searched, *described)
    table = cost_table(space, cost) if cost else None
    try:
        architecture = strongest(space, found["sample"], found["probabilities"], found["provenance"], rule, table)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{searched.last_checkpoint}: is of another space than {searched.folder}/config.yaml ({error!r}); give the "
            "folder of a search"
        ) from error
    write(architecture, open_run(out, "decode", {"run": run, "rule": rule, "cost": cost, "space_class": space_class}))
    return architecture


def _described(run: Run) -> tuple[Any, Any]:
    """The path of the space that a run searched, and its settings."""
    try:
        space = read_yaml(run.folder / "config.yaml")["space"]
        return space["class_path"], space.get("init_args", {})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{run.folder}: holds no run of a search ({error}); give the folder of one") from error


def _space(run: Run, path: Any, settings: Any) -> Space:
    """The space that a run searched, built anew."""
    kind = named_by_file("space", path, ModelSpace)
    try:
        with at_most(MOST_WEIGHTS * run.last_checkpoint.stat().st_size), torch.device("meta"):
            kind(**settings)  # takes no memory, and says how much it would take
        return cast(Space, kind(**settings))
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, SettingError) as error:
        raise RunError(f"{run.folder}: its space cannot be built ({error}); give the folder of a search") from error


def _found(run: Run) -> dict[str, Any]:
    """What the search's own callback kept of the last whole epoch."""
    try:
        check_file(run.last_checkpoint)
        checkpoint = torch.load(run.last_checkpoint, map_location="cpu", weights_only=True)
        found: dict[str, Any] = checkpoint["callbacks"]["AfterEpoch"]["found"]
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, PickleError) as error:
        raise RunError(f"{run.last_checkpoint}: no checkpoint of a search; give the folder of one") from error
    if not found:
        raise RunError(f"{run.folder}: stopped before the end of its first epoch; continue it with --resume")
    return found
