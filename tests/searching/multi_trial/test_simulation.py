"""Strategies against a table: they run as they are, and are answered as by trainings."""

import time

import numpy as np
import pytest
from made_up import planted
from small_space import SmallSpace

from nni_count.comparing.answers import Answers
from nni_count.comparing.surrogate import fit_surrogate
from nni_count.errors import ArchitectureError, SettingError
from nni_count.searching.multi_trial.simulation import check_space, simulate_search
from nni_count.searching.nni import Strategy
from search_spaces import AMSNetSpace
from strategies import TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("table") / "t.npz", 40)


@pytest.fixture(scope="module")
def answers(table):
    return Answers(table, "cells", fit_surrogate(table, "cells"))


@pytest.fixture(scope="module")
def space():
    return AMSNetSpace(width=16)


class Greedy(Strategy):
    """One of somebody else's: submits all that the table has, and more than it may, without asking."""

    def __init__(self, samples):
        super().__init__()
        self.samples = samples

    def _run(self):
        models = [self.model_space.freeze(sample) for sample in self.samples]
        self.engine.submit_models(*models)
        self.engine.wait_models(*models)
        self.kept = [model.metric for model in self.engine.list_models()]


@pytest.mark.parametrize("make", [Random, RegularizedEvolution, TPE, GridSearch, PolicyBasedRL])
def test_strategies_run_as_they_are(make, space, answers):
    if make is PolicyBasedRL:
        pytest.importorskip("tianshou")
    trials, start = 12, time.monotonic()
    found, again, other = (simulate_search(make(), space, answers, trials, seed) for seed in (0, 0, 1))
    assert len(found.errors) == trials
    assert found.errors.tolist() == again.errors.tolist()
    assert found.proposed in found.errors
    assert found.proposed == answers.ask(found.proposal, 0)[1]
    if make is not GridSearch:  # whose first ones differ in their poolings alone
        assert found.errors.tolist() != other.errors.tolist()
    if make is not PolicyBasedRL:  # which learns for a second an architecture
        assert time.monotonic() - start < 10  # TPE sleeps a second a trial where it is let


def test_strategies_learn_from_the_answers(space, answers):
    late = {
        make: np.mean([simulate_search(make(), space, answers, 60, seed).errors[-20:] for seed in range(3)])
        for make in (Random, RegularizedEvolution, TPE)
    }
    assert max(late[RegularizedEvolution], late[TPE]) < 0.8 * late[Random]


def test_an_answer_is_the_tables_row(space, table):
    samples = [
        {
            label: "".join(f"{one}+" for one in choice) if isinstance(choice, list) else choice
            for label, choice in s.items()
        }
        for s in map(space.sample, table.architectures)
    ]
    strategy, trained = Greedy(samples), Answers(table, "cells")
    found = simulate_search(strategy, space, trained, 30, seed=4)
    assert found.errors.tolist() == pytest.approx(list(table.errors("cells").values())[:30])
    told = [trained.ask(architecture, 4)[0] for architecture in table.architectures[:30]]
    assert strategy.kept == [-error for error in told]
    assert found.proposal.extraction == table.architectures[int(np.argmin(told))].extraction
    with pytest.raises(ArchitectureError, match="none of the 40"):
        simulate_search(Random(), space, trained, 30, seed=0)
    with pytest.raises(SettingError, match="Greedy has tried no architecture of AMSNetSpace"):
        simulate_search(Greedy([]), space, trained, 30, seed=0)


def test_a_table_of_another_space_is_refused(space, table):
    check_space(space, table)
    with pytest.raises(
        SettingError, match=r"architecture 0 is none of SmallSpace .* give --space with that of the table"
    ):
        check_space(SmallSpace(), table)
    with pytest.raises(SettingError, match="is none of AMSNetSpace"):
        check_space(AMSNetSpace(edges_per_node=1), table)


def test_sleep_is_what_it_was(space, answers):
    before = time.sleep
    simulate_search(TPE(), space, answers, 2, 0)
    assert time.sleep is before
