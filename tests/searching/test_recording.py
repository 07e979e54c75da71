"""A pass that is recorded gives what the space gives; where nothing can be recorded, the space is called."""

import copy

import pytest
import torch
from torch import nn

from nni_count.searching.recipe import SpaceTraining
from nni_count.searching.recording import Recorded
from nni_count.tasks.task import usual_task
from nni_count.training.settings import Recipe
from search_spaces import AMSNetSpace
from strategies import PartialChannel

pytestmark = pytest.mark.filterwarnings("ignore")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class OnDevice(torch.Tensor):
    """Says that it is on a CUDA device."""

    is_cuda = True


@pytest.fixture
def recordings(monkeypatch):
    """What was recorded, by something that does on any device what torch does on a CUDA one."""
    made = []

    def record(module, arguments, allow_unused_input):
        for _ in range(4):
            module(*arguments)
        made.append(arguments[0].shape)
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    return made


@pytest.fixture
def space():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def images(batch=2):
    return torch.rand(batch, 3, 8, 8).as_subclass(OnDevice)


def test_the_second_pass_of_each_half_is_recorded_and_the_norms_see_each_batch_once(space, recordings):
    plain, recorded = copy.deepcopy(space), Recorded(space)
    for _ in range(4):
        for architecture in (True, False):
            batch = images()
            assert torch.equal(recorded(batch, architecture), plain(batch))
        assert all(torch.equal(*pair) for pair in zip(space.buffers(), plain.buffers(), strict=True))
    assert recordings == [(2, 3, 8, 8)] * 2
    assert space[1].num_batches_tracked == 8


def test_other_shapes_and_passes_without_gradients_are_not_recorded(space, recordings):
    recorded = Recorded(space)
    recorded(images(), False)
    for _ in range(3):
        recorded(images(1), False)
        with torch.no_grad():
            recorded(images(), False)
        recorded(torch.rand(2, 3, 8, 8), False)
    space.eval()
    recorded(images(), False)
    assert recordings == []


@pytest.mark.parametrize("fault", ["fails", "gives something else"])
def test_where_the_recording_fails_the_search_goes_on_as_it_was(space, monkeypatch, fault):
    tried = []

    def record(module, arguments, allow_unused_input):
        tried.append(arguments)
        if fault == "fails":
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda images: 2 * module(images)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    plain, recorded = copy.deepcopy(space), Recorded(space)
    batches = [images() for _ in range(3)]
    with pytest.warns(UserWarning, match="goes on, slower"):
        found = [recorded(batch, False) for batch in batches]
    assert all(torch.equal(one, plain(batch)) for one, batch in zip(found, batches, strict=True))
    assert space[1].num_batches_tracked == 3
    assert len(tried) == 1  # and not again in every step


def made(kind=AMSNetSpace):
    torch.manual_seed(0)
    strategy = PartialChannel()
    space = strategy.mutate_model(kind(width=64))
    module = strategy.configure_oneshot_module(training := SpaceTraining(usual_task(), Recipe(), 1))
    module.set_model(space)
    return module, space, training


def test_partial_channels_record_amsnet_and_no_space_that_does_not_say_that_it_can_be():
    assert made()[2].recorded is not None

    class Other(AMSNetSpace):
        recorded = False

    assert made(Other)[2].recorded is None


@on_cuda
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_a_recorded_search_learns_what_another_learns(precision):
    found = [learned(replayed, precision) for replayed in (False, True)]
    close = {"rtol": 2e-2, "atol": 2e-2} if precision else {"rtol": 1e-3, "atol": 1e-4}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **close)


def learned(replayed, precision):
    """Losses of some steps and the running means after them."""
    module, space, training = made()
    space.cuda().to(memory_format=torch.channels_last)
    own = set(module.arch_parameters())
    optimizers = {
        True: torch.optim.Adam(module.arch_parameters(), 1e-3),
        False: torch.optim.SGD([one for one in space.parameters() if one not in own], 1e-3),
    }
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(6):
        for half in (True, False):
            images = torch.rand(2, 3, 32, 32, generator=generator).cuda().contiguous(memory_format=torch.channels_last)
            training.halves.learn(architecture=half)
            module.resample()
            optimizers[half].zero_grad()
            with torch.autocast("cuda", precision, enabled=precision is not None):
                output = training.recorded(images, half) if replayed else space(images)
            loss = space.loss(output.float(), torch.full_like(output, 0.3).float())
            loss.backward()
            optimizers[half].step()
            losses.append(loss.detach().cpu())
    tracked = [buffer for name, buffer in space.named_buffers() if "num_batches" in name]
    assert {int(batches) for batches in tracked} == {12}
    alphas = [parameter.detach().cpu() for parameter in module.arch_parameters()]
    return torch.stack(losses), torch.cat([alpha.flatten() for alpha in alphas])
