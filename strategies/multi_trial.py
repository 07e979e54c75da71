"""NNI's multi-trial strategies, with the settings that a command line can give. The seed is the search's."""

from __future__ import annotations

from typing import Annotated

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import nni_strategies


class Random(nni_strategies.Random):
    """Random search (Li and Talwalkar, UAI 2019): the baseline of every comparison. No architecture comes twice."""

    def __init__(self) -> None:
        super().__init__()


class GridSearch(nni_strategies.GridSearch):
    """All architectures, one after another; on a large space the first ones differ in the last choices alone.

    Args:
        shuffle: take each hundred in random order.
    """

    def __init__(self, *, shuffle: bool = True):
        super().__init__(shuffle=shuffle)


class RegularizedEvolution(nni_strategies.RegularizedEvolution):
    """Ageing evolution (Real et al., Regularized evolution for image classifier architecture search, AAAI 2019).

    Args:
        population_size: architectures that are alive; the first ones are random.
        sample_size: of those, how many compete to be a parent.
        mutation_prob: how probably each choice is drawn anew.
        crossover: whether a child has two parents.
    """

    def __init__(
        self,
        *,
        population_size: Annotated[int, Range(1)] = 10,
        sample_size: Annotated[int, Range(1)] = 4,
        mutation_prob: Annotated[float, Range(0, 1)] = 0.1,
        crossover: bool = False,
    ):
        check(RegularizedEvolution.__init__, locals(), "strategy.")
        if not 1 <= sample_size <= population_size:
            raise SettingError(
                f"strategy.sample_size: {sample_size} of a population of {population_size}; give 1 to {population_size}"
            )
        super().__init__(
            population_size=population_size,
            sample_size=sample_size,
            mutation_prob=mutation_prob,
            crossover=crossover,
        )


class TPE(nni_strategies.TPE):
    """Tree-structured Parzen estimator (Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011).

    Args:
        startup: random architectures at the start.
        candidates: from which the next architecture is chosen.
    """

    def __init__(self, *, startup: Annotated[int, Range(1)] = 10, candidates: Annotated[int, Range(1)] = 24):
        check(TPE.__init__, locals(), "strategy.")
        super().__init__(
            optimize_mode="maximize", seed=0, tpe_args={"n_startup_jobs": startup, "n_ei_candidates": candidates}
        )
        self.startup = startup
        self.candidates = candidates


class PolicyBasedRL(nni_strategies.PolicyBasedRL):
    """Reinforcement learning: PPO on an LSTM that makes one choice after another (Zoph and Le, ICLR 2017).

    It needs ``pip install "nni-count[rl]"``.

    Args:
        samples_per_update: architectures between updates of the policy.

    Raises:
        SettingError: tianshou or gym, which NNI's implementation needs, is missing.
    """

    def __init__(self, *, samples_per_update: Annotated[int, Range(1)] = 5):
        check(PolicyBasedRL.__init__, locals(), "strategy.")
        if not nni_strategies.rl.has_tianshou:
            raise SettingError('strategy PolicyBasedRL: needs tianshou and gym; pip install "nni-count[rl]"')
        super().__init__(samples_per_update=samples_per_update)
