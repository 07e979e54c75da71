"""On the half for α and β only they get gradients, on the other all but them; the gradients are the same as before."""

import pytest
import torch
from small_space import SmallSpace

from nni_count.searching.recipe import SpaceTraining
from nni_count.tasks.task import usual_task
from nni_count.training.settings import Recipe
from strategies import DARTS, GDAS, GumbelDARTS, PartialChannel

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("strategy", [DARTS, GumbelDARTS, GDAS, PartialChannel])
def test_gradients_that_are_used_stay_and_others_are_not_computed(strategy):
    made = strategy()
    space = made.mutate_model(SmallSpace(width=64 if strategy is PartialChannel else 16, map_stride=4)).double()
    module = made.configure_oneshot_module(training := SpaceTraining(usual_task(), Recipe(), 1))
    module.set_model(space)
    own = set(module.arch_parameters())
    images = torch.rand(2, 3, 32, 32, dtype=torch.double)

    def gradients():
        torch.manual_seed(1)
        module.resample()
        for parameter in space.parameters():
            parameter.grad = None
        output = space(images)
        space.loss(output, torch.full_like(output, 0.3)).backward()
        return {parameter: parameter.grad for parameter in space.parameters() if parameter.grad is not None}

    both = gradients()
    assert own & set(both)
    for alone in (True, False):
        training.halves.learn(architecture=alone)
        found = gradients()
        assert set(found) == {parameter for parameter in both if (parameter in own) == alone}
        for parameter, gradient in found.items():
            torch.testing.assert_close(gradient, both[parameter], rtol=1e-9, atol=1e-12)


def test_a_step_gives_each_half_its_own():
    made = DARTS()
    space = made.mutate_model(SmallSpace(width=16, map_stride=4))
    module = made.configure_oneshot_module(training := SpaceTraining(usual_task(), Recipe(), 1))
    module.set_model(space)
    seen = []
    training._loss = lambda batch, half: seen.append((half, {*filter(asks, space.parameters())}))
    batch = {"train": [1], "val": [2]}
    training.on_train_batch_start(batch, 0)
    for half in ("val", "train"):
        training.training_step(batch[half], 0)
    own = set(module.arch_parameters())
    assert seen == [("architecture", own), ("weights", {*space.parameters()} - own)]


def asks(parameter):
    return parameter.requires_grad
