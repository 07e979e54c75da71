import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import nn

from nni_count.errors import SettingError
from nni_count.ops import OPERATIONS
from search_spaces import AMSNetSpace
from strategies import DARTS, PartialChannel
from strategies.partial_layer import PartialLayer, narrow


class OneChoice(ModelSpace):
    def __init__(self, candidates):
        super().__init__()
        self.edge = LayerChoice(candidates, label="edge")

    def forward(self, features):
        return self.edge(features)


def operations(channels):
    return {name: operation.build(channels, True) for name, operation in OPERATIONS.items()}


def searched(space, **settings):
    """The module that searches a space."""
    torch.manual_seed(0)
    strategy = PartialChannel(**settings)
    space = strategy.mutate_model(space)
    module = strategy.configure_oneshot_module(LightningModule())
    module.set_model(space)
    return module


def edge_of(candidates, **settings):
    module = searched(OneChoice(candidates), **settings)
    return module, module.model.edge


def input_of(candidate):
    """Keeps what a module was given last."""
    kept = []
    candidate.register_forward_hook(lambda module, arguments, output: kept.append(arguments[0]))
    return kept


def test_candidates_have_a_share_of_the_width():
    _, edge = edge_of(operations(16))
    for name, operation in OPERATIONS.items():
        expected = operation.build(4, True).state_dict()
        assert {key: value.shape for key, value in edge[name].state_dict().items()} == {
            key: value.shape for key, value in expected.items()
        }
        assert str(edge[name]) == str(operation.build(4, True))


@pytest.mark.parametrize("channels", ["random", "fixed"])
def test_channels_that_do_not_pass_the_candidates_stay_as_they_are(channels):
    _, edge = edge_of(operations(16), channels=channels)
    given = input_of(edge["skip"])
    features = torch.rand(2, 16, 8, 8)
    found = edge(features)
    passing = {
        channel for channel in range(16) if any(torch.equal(features[:, channel], x) for x in given[0].unbind(1))
    }
    assert len(passing) == 4
    if channels == "fixed":  # c of the groups of four → channel c of every group of four
        assert passing == {0, 1, 2, 3}
        found = found.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    unchanged = {channel for channel in range(16) if torch.equal(found[:, channel], features[:, channel])}
    assert unchanged == set(range(16)) - passing


def test_the_passing_channels_are_weighted_by_alpha():
    _, edge = edge_of({"a": nn.Conv2d(8, 8, 1), "b": nn.Identity()}, k=2)
    passing = edge.channels.of(torch.rand(1, 8, 4, 4))
    weights = torch.softmax(edge._arch_alpha, 0)
    features = torch.rand(1, 8, 4, 4)
    share = features[:, passing]
    torch.testing.assert_close(edge(features)[:, passing], weights[0] * edge["a"](share) + weights[1] * share)


@pytest.mark.parametrize("channels", ["random", "fixed"])
def test_with_k_of_one_it_is_the_mixed_operation_of_darts(channels):
    _, edge = edge_of(operations(8), k=1, channels=channels)
    strategy = DARTS()
    plain = strategy.mutate_model(OneChoice(operations(8))).edge
    plain.load_state_dict(edge.state_dict())
    features = torch.rand(2, 8, 8, 8)
    torch.testing.assert_close(edge(features), plain(features), rtol=0, atol=1e-6)


def test_random_channels_are_one_draw_a_phase_for_all_edges():
    module = searched(AMSNetSpace(width=64, map_stride=4))
    edges = [layer for layer in module.supernet_modules() if isinstance(layer, PartialLayer)]
    assert len(edges) == 6 * 14 + 7

    def drawn():
        return [tuple(edge.channels.of(torch.empty(1, 64, 1, 1)).tolist()) for edge in edges]

    draws = []
    for _ in range(5):
        module.resample()
        assert drawn() == drawn()
        draws += set(drawn())
    assert len(set(draws)) == len(draws) == 5
    assert all(len(set(draw)) == 16 for draw in draws)


def test_choices_without_channels_are_searched_plainly():
    module = searched(AMSNetSpace(width=64, map_stride=4))
    assert all(type(pooling) is DifferentiableMixedLayer for pooling in module.model.pyramid.poolings)


@pytest.mark.parametrize("channels", ["random", "fixed"])
def test_gradients_reach_every_alpha_beta_and_weight(channels):
    module = searched(AMSNetSpace(width=64, map_stride=4), channels=channels)
    density = module.model(torch.rand(2, 3, 32, 32))
    module.model.loss(density, torch.rand_like(density)).backward()
    assert len(module.arch_parameters()) == 30
    assert all(parameter.grad is not None for parameter in module.model.parameters())
    assert all(parameter.grad.any() for parameter in module.arch_parameters())


def test_mixed_precision_keeps_the_other_channels_exact():
    _, edge = edge_of(operations(16))
    features = torch.rand(1, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = edge(features)
    assert found.dtype == torch.float32
    assert sum(torch.equal(found[:, channel], features[:, channel]) for channel in range(16)) == 12


def test_the_architecture_is_the_usual_one():
    module = searched(AMSNetSpace(width=64, map_stride=4))
    architecture = AMSNetSpace(width=64, map_stride=4).architecture(module.export())
    assert architecture.network["width"] == 64


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (
            operations(6),
            r"edge \(edge\), conv_1x1: k = 4 does not divide 6 .* choose a k .* or a space 2 times as wide",
        ),
        (
            [nn.Linear(8, 8), nn.Identity()],
            "Linear has parameters and is neither Conv2d nor BatchNorm2d; search this space with DARTS",
        ),
        ([nn.Conv2d(8, 8, 1, groups=4), nn.Identity()], "leaves 2 channels, which 4 groups do not divide"),
        ([nn.Conv2d(8, 16, 1), nn.Conv2d(8, 16, 3, padding=1)], "changes channels or size"),
        ([nn.Conv2d(8, 8, 1), nn.Conv2d(16, 16, 1)], "changes channels or size"),
        ([nn.Conv2d(8, 8, 1, stride=2), nn.AvgPool2d(2)], "changes channels or size"),
    ],
)
def test_candidates_that_cannot_be_narrowed_are_named_before_the_first_step(candidates, message):
    with pytest.raises(SettingError, match=message):
        PartialChannel().mutate_model(OneChoice(candidates))


def test_a_choice_within_a_choice_is_refused():
    class Nested(OneChoice):
        def __init__(self):
            inner = LayerChoice([nn.Conv2d(8, 8, 1), nn.Identity()], label="inner")
            super().__init__([nn.Sequential(inner), nn.Identity()])

    with pytest.raises(SettingError, match="LayerChoice, a choice within a choice"):
        PartialChannel().mutate_model(Nested())


@pytest.mark.parametrize("settings", [{"k": 0}, {"k": 2.5}, {"channels": "some"}])
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(SettingError, match=f"strategy.{next(iter(settings))}"):
        PartialChannel(**settings)


def test_narrowing_keeps_the_settings_of_layers():
    convolution = nn.Conv2d(8, 16, (3, 5), 2, (1, 2), 1, 2, False, "reflect")
    assert str(narrow(convolution, 2)) == str(nn.Conv2d(4, 8, (3, 5), 2, (1, 2), 1, 2, False, "reflect"))
    norm = nn.BatchNorm2d(8, 1e-3, 0.2, affine=False)
    assert str(narrow(norm, 4)) == str(nn.BatchNorm2d(2, 1e-3, 0.2, affine=False))
