import random

import pytest
import torch
from samples import random_sample

from nni_count.searching.certainty import agreement, certainty, entropy
from nni_count.searching.frozen import frozen, recalibrate
from nni_count.searching.settings import EarlyStop
from search_spaces import AMSNetSpace
from strategies import DARTS, GDAS, PartialChannel

pytestmark = pytest.mark.filterwarnings("ignore:.*won on all kept edges")


def architecture(seed, **changes):
    return AMSNetSpace(width=16).architecture(random_sample(seed) | changes)


def test_a_search_ends_at_so_many_skips():
    sample = {"extraction_2_0": "skip", "extraction_2": [0, 1], "extraction_2_1": "conv_1x1"}
    calm = {f"extraction_{node}_{source}": "conv_1x1" for node in (3, 4, 5) for source in range(node)}
    found = architecture(0, **calm, **sample)
    assert EarlyStop(skips=2).reason([found]) is None
    assert "1 skip" in EarlyStop(skips=1).reason([found])
    assert EarlyStop().reason([found] * 9) is None


def test_a_search_ends_when_the_architecture_stays():
    stop, same, other = EarlyStop(unchanged=2), architecture(0), architecture(2)
    assert stop.reason([same, same]) is None
    assert stop.reason([other, same, same]) is None
    assert stop.reason([same, other, same, same]) is None
    assert "the same for 2 epochs" in stop.reason([other, same, same, same])


def test_entropy_is_a_share_of_the_largest():
    assert entropy({"a": {0: 0.5, 1: 0.5}, "b": {0: 1.0, 1: 0.0}}) == pytest.approx(0.5)
    assert entropy({}) == 0.0


def test_what_a_search_says_of_its_certainty():
    before = {"a": "skip", "b": [0, 2], "c": 1, "d": 1}
    assert agreement(before, {"a": "skip", "b": [0, 1], "c": 1, "d": 0}) == 0.5
    said = certainty({"agreement": 0.5, "alpha_entropy": 0.98765})
    assert "50% of the choices are as they were an epoch before, α has 0.988 of the entropy" in said
    assert "one epoch tells nothing" in certainty({"validation_mae": 3.0})


@pytest.mark.parametrize("strategy", [DARTS, GDAS, PartialChannel])
def test_the_frozen_network_is_a_copy_with_the_weights_of_the_space(strategy):
    torch.manual_seed(0)
    space = strategy().mutate_model(AMSNetSpace(width=64, map_stride=4))
    before = {name: value.clone() for name, value in space.state_dict().items()}
    sample = space.sample(space.architecture(random_sample(0)))
    network = frozen(space, sample)
    image = torch.rand(2, 3, 32, 32)
    recalibrate(network, [image, torch.rand(2, 3, 32, 32)])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
        assert network(image).isfinite().all()
        assert network(image).shape == (2, 1, 8, 8)
    assert sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in space.parameters()) / 2
    after = space.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any("running_mean" in name for name in before)


def test_a_frozen_network_computes_its_own_edges_alone():
    space = DARTS().mutate_model(AMSNetSpace(width=16, map_stride=4))
    sample = space.sample(space.architecture(random_sample(2)))
    network = frozen(space, sample).train()
    image = torch.rand(2, 3, 32, 32)
    logits = {name: value for name, value in space.named_parameters() if name.endswith("_arch_alpha")}
    with torch.no_grad():
        expected = network(image)
        for value in logits.values():
            value.normal_(generator=torch.Generator().manual_seed(random.Random(0).randrange(99)))
        torch.testing.assert_close(frozen(space, sample).train()(image), expected)
