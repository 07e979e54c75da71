"""What every one-shot strategy is asked. A strategy of your own is asked the same in a file ``test_mine.py``::

    from my_package import Mine
    from nni_count.testing.strategies import StrategyContract

    class TestMine(StrategyContract):
        strategy = Mine

The searches run on the CPU, on a small space and synthetic crowds, two steps each.
"""

from __future__ import annotations

import csv
import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, cast
from weakref import WeakSet

import numpy as np
import pytest
import torch
from torch import Tensor

import nni_count
from nni_count.architecture import Architecture, read_architecture
from nni_count.errors import Interrupted
from nni_count.searching.nni import BaseSuperNetModule, ModelSpace, OneShotStrategy
from nni_count.searching.settings import SearchBudget
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops

TOLERANCE = 1e-6


@dataclass
class Runs:
    """What the questions look at.

    Args:
        architecture: that the first run found.
        straight: folder of a run of two epochs.
        resumed: folder of the same run, interrupted in the second epoch and resumed.
        first: weights before the first step.
        between, last: weights and architecture parameters after the first and the last epoch.
        left: spaces that were built for the first run and outlive it.
        mutated: whether the given space was changed.
    """

    architecture: Architecture
    straight: Path
    resumed: Path
    first: dict[str, Tensor]
    between: dict[str, Tensor]
    last: dict[str, Tensor]
    left: int
    mutated: bool


class StrategyContract:
    """Subclass it as ``Test…``, and pytest asks the strategy all of this.

    Attributes:
        strategy: makes a new strategy without arguments, such as its class.
        learns: whether it has architecture parameters, which move.
    """

    strategy: Callable[[], OneShotStrategy]
    learns: ClassVar[bool] = True

    def space(self) -> ModelSpace:
        """What is searched; override it where the strategy needs another."""
        (found,) = entry_points(group="nni_count.search_spaces", name="AMSNetSpace")
        return found.load()(width=16, map_stride=4)

    def is_architecture(self, name: str) -> bool:
        """Whether a parameter of the search's module is learnt for the architecture, by its name in a checkpoint."""
        return name.endswith("_arch_alpha") or not name.startswith("training_module.")

    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory: pytest.TempPathFactory) -> Runs:
        folder = tmp_path_factory.mktemp("runs")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._search(folder / "straight", folder / "resumed")
        finally:
            torch.set_num_threads(threads)

    def _search(self, straight: Path, resumed: Path) -> Runs:
        given = _watched(self.space())
        watched = cast(Any, type(given))
        strategy = self.strategy()
        found = _run(straight, given, strategy)
        gc.collect()
        left = len(watched.alive) - 1
        mutated = any(isinstance(module, BaseSuperNetModule) for module in given.modules())
        watched.stop_when = resumed / "architecture.yaml"
        with pytest.raises(Interrupted):
            _run(resumed, given, self.strategy())
        between = checkpoint(resumed)
        _run(resumed, given, self.strategy(), resume=True)
        return Runs(found, straight, resumed, watched.first, between, checkpoint(straight), left, mutated)

    def test_it_finds_a_valid_architecture(self, runs: Runs) -> None:
        assert read_architecture(runs.straight / "architecture.yaml") == runs.architecture
        assert (runs.straight / "cells.png").stat().st_size

    def test_a_seed_gives_the_same_again(self, runs: Runs) -> None:
        _assert_close(_figures(runs.resumed)[0], _figures(runs.straight)[0])

    def test_a_resumed_run_equals_an_uninterrupted_one(self, runs: Runs) -> None:
        _assert_close(checkpoint(runs.resumed), runs.last)
        resumed = read_architecture(runs.resumed / "architecture.yaml")
        for part in ("extraction", "fusion", "pooling"):
            assert getattr(resumed, part) == getattr(runs.architecture, part)
        assert len(_figures(runs.resumed)) == len(_figures(runs.straight)) == 2

    def test_the_architecture_parameters_move_in_every_epoch(self, runs: Runs) -> None:
        names = [name for name in runs.last if self.is_architecture(name) and runs.last[name].is_floating_point()]
        assert bool(names) == self.learns
        for name in names:
            assert not torch.equal(runs.last[name], runs.between[name]), f"{name} stays"

    def test_the_weights_move_in_every_epoch(self, runs: Runs) -> None:
        weights = {name: value for name, value in runs.last.items() if not self.is_architecture(name)}
        assert any(not torch.equal(runs.between[name], runs.first[name]) for name in weights if name in runs.first)
        assert any(not torch.equal(value, runs.between[name]) for name, value in weights.items())

    def test_the_memory_is_freed(self, runs: Runs) -> None:
        assert not runs.left

    def test_the_given_space_stays_as_it_is(self, runs: Runs) -> None:
        assert not runs.mutated


def _watched(space: Any) -> ModelSpace:
    """The space, in a class that counts its instances, and stops a search once a file is there."""

    class Watched(type(space)):  # type: ignore[misc]
        alive: ClassVar[WeakSet[Any]] = WeakSet()
        first: ClassVar[dict[str, Tensor]] = {}
        stop_when: ClassVar[Path | None] = None

        def __init__(self, *arguments: Any, **settings: Any):
            super().__init__(*arguments, **settings)
            type(self).alive.add(self)

        def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
            own = type(self)
            if not own.first:
                own.first = {
                    f"training_module._model.{name}": value.detach().clone() for name, value in self.named_parameters()
                }
            if own.stop_when is not None and own.stop_when.is_file():
                own.stop_when = None
                os.kill(os.getpid(), signal.SIGINT)
            loss: Tensor = super().loss(estimate, target)
            return loss

    watched: ModelSpace = Watched(*space.trace_args, **space.trace_kwargs)
    return watched


def _run(out: Path, space: ModelSpace, strategy: OneShotStrategy, *, resume: bool = False) -> Architecture:
    return nni_count.search(  # type: ignore[no-any-return]  # found when it is asked for
        data={"path": "synthetic", "train": 4, "test": 1, "size": 48},
        space=space,
        strategy=strategy,
        out=out,
        budget=SearchBudget(max_epochs=2, limit_train_batches=1),
        crops=Crops(size=32, batch_size=1),
        compute=Compute(accelerator="cpu"),
        seed=3,
        resume=resume,
    )


def checkpoint(run: Path) -> dict[str, Tensor]:
    """The weights and architecture parameters that a run goes on from."""
    state: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def _figures(run: Path) -> list[dict[str, Tensor]]:
    """What was logged after each epoch."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {name: torch.tensor(float(value)) for name, value in row.items() if value and "second" not in name}
            for row in csv.DictReader(file)
        ]


def _assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].double(), value.double(), rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
