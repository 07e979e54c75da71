from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule

from nni_count.errors import SettingError
from nni_count.searching.nni import read_probabilities
from search_spaces import AMSNetSpace
from strategies import GDAS
from strategies.gdas import Draws, SampledLayer, WeightedInput

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def module():
    torch.manual_seed(0)
    strategy = GDAS()
    space = strategy.mutate_model(AMSNetSpace(width=16, map_stride=4))
    module = strategy.configure_oneshot_module(LightningModule())
    module.set_model(space)
    module.resample()
    return module


def sampled_layers(module):
    return [layer for layer in module.supernet_modules() if isinstance(layer, SampledLayer)]


def count_calls(layer):
    calls = Counter()
    for name in layer.names:
        layer[name].register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def choose(layer, name):
    """Noise with which the given candidate is drawn."""
    layer._softmax.drawn.pop(layer._arch_alpha, None)
    layer._softmax.noise[layer._arch_alpha] = 5.0 * torch.tensor([float(other == name) for other in layer.names])


def layer_of(module, label):
    return next(layer for layer in sampled_layers(module) if layer.label == label)


def test_one_candidate_is_computed_and_it_is_the_same_in_all_cells(module):
    calls = [(layer, count_calls(layer)) for layer in sampled_layers(module)]
    drawn = module.resample()
    density = module.model(IMAGE)
    module.model.loss(density, torch.rand_like(density))
    assert len(calls) == 6 * 14 + 7 + 3
    for layer, called in calls:
        times = 2 if layer.label.startswith("pooling") else 1  # the estimate and the target
        assert called == {drawn[layer.label]: times}


def test_every_phase_draws_anew(module):
    assert len({tuple(module.resample()[f"extraction_2_{source}"] for source in (0, 1)) for _ in range(20)}) > 5


def test_draws_follow_the_probabilities(module):
    layer = layer_of(module, "pooling_1")
    with torch.no_grad():
        layer._arch_alpha.copy_(torch.tensor([0.6, 0.2, 0.1, 0.1, 1e-6, 1e-6]).log())
    module.resample()
    drawn = Counter(module.resample()["pooling_1"] for _ in range(150))
    expected = dict(zip(layer.names, (90, 30, 15, 15), strict=False))
    assert all(abs(drawn[name] - times) < 25 for name, times in expected.items())


def test_the_output_is_the_sampled_operations_to_the_last_bit(module):
    layer = layer_of(module, "extraction_3_1")
    features = torch.rand(2, 1, 8, 8)
    for name in layer.names:
        choose(layer, name)
        candidate = layer[name].eval()
        features = torch.rand(2, 1, 8, 8)
        assert torch.equal(layer(features), candidate(features))


def test_the_gradient_of_alpha_is_that_of_the_soft_weight(module):
    layer = layer_of(module, "pooling_2")
    layer._softmax.tau = 2.0
    choose(layer, "avg_2x2")
    noise = layer._softmax.noise[layer._arch_alpha]
    features = torch.rand(1, 1, 4, 4)
    layer(features).sum().backward()
    alpha = layer._arch_alpha.detach().clone().requires_grad_()
    soft = torch.softmax((alpha + noise) / 2.0, 0)[layer.names.index("avg_2x2")]
    (soft * layer["avg_2x2"](features).sum()).backward()
    torch.testing.assert_close(layer._arch_alpha.grad, alpha.grad)


def test_edges_are_weighted_by_the_softmax_of_beta(module):
    join = next(layer for layer in module.supernet_modules() if layer.label == "extraction_4")
    assert isinstance(join, WeightedInput)
    maps = [torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(4)]
    wanted = torch.rand(2, 3, 4, 4)
    (join(maps) * wanted).sum().backward()
    got = [join._arch_alpha.grad.clone(), *(part.grad.clone() for part in maps)]
    beta = join._arch_alpha.detach().clone().requires_grad_()
    again = [part.detach().requires_grad_() for part in maps]
    (sum(weight * part for weight, part in zip(torch.softmax(beta, 0), again, strict=True)) * wanted).sum().backward()
    torch.testing.assert_close(got, [beta.grad, *(part.grad for part in again)])


def test_the_gradient_reaches_every_alpha_and_beta(module):
    for layer in sampled_layers(module):
        choose(layer, "sep_conv_3x3" if "sep_conv_3x3" in layer.names else "avg_4x4")
    density = module.model(torch.rand(2, 3, 64, 64))
    module.model.loss(density, torch.rand_like(density)).backward()
    parameters = module.arch_parameters()
    assert len(parameters) == 30
    assert all(parameter.grad is not None for parameter in parameters)
    assert sum(bool(parameter.grad.any()) for parameter in parameters) == 30


def test_without_gradients_the_most_probable_operation_is_taken(module):
    layer = layer_of(module, "extraction_2_0")
    with torch.no_grad():
        layer._arch_alpha[layer.names.index("skip")] = 1
    choose(layer, "none")
    features = torch.rand(1, 1, 4, 4)
    assert not layer(features).any()
    with torch.no_grad():
        assert torch.equal(layer(features), features)


def test_noise_and_weights_are_of_single_precision(module):
    layer = layer_of(module, "pooling_3")
    alpha = layer._arch_alpha.detach().to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, slope = layer._softmax(alpha)
        assert slope.dtype == layer._softmax.noise[alpha].dtype == torch.float32


def test_probabilities_are_exported_without_noise(module):
    alphas, betas = read_probabilities(module)
    assert module.export_probs() == {**alphas, **betas}
    alpha = layer_of(module, "fusion_3_0")._arch_alpha
    assert list(alphas["fusion_3_0"].values()) == pytest.approx(torch.softmax(alpha, 0).tolist())


@pytest.mark.parametrize(("warmup", "expected"), [(0, [10, 7.525, 5.05, 2.575, 0.1]), (3, [10, 10, 10, 10, 0.1])])
def test_the_temperature_falls_from_the_first_to_the_last_epoch(warmup, expected, monkeypatch):
    strategy = GDAS(warmup_epochs=warmup)
    space = strategy.mutate_model(AMSNetSpace(width=16, map_stride=4))
    module = strategy.configure_oneshot_module(LightningModule())
    module.set_model(space)
    monkeypatch.setattr(module, "log", lambda *_: None)
    found = []
    for epoch in range(5):
        module.trainer = SimpleNamespace(current_epoch=epoch, max_epochs=5)
        module.on_train_epoch_start()
        found.append({layer._softmax.tau for layer in sampled_layers(module)})
    assert [tau for (tau,) in found] == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [(0.1, 10.0), (1.0, 0.0)])
def test_a_temperature_that_cannot_fall_is_refused(temperature):
    with pytest.raises(SettingError, match=r"strategy\.temperature"):
        GDAS(temperature=temperature)


def test_the_drawn_output_is_handed_on_without_a_copy(module):
    """A copy would be kept for the backward pass, of every edge."""
    layer, made = layer_of(module, "extraction_2_0"), []
    for name in layer.names:
        layer[name].register_forward_hook(lambda module, inputs, output: made.append(output))
    output = layer(torch.rand(1, 1, 8, 8))
    assert output.data_ptr() == made[0].data_ptr()


def test_what_is_drawn_together_is_what_is_drawn_alone():
    alphas = [torch.randn(size) for size in (9, 6, 9, 4, 6)]
    found = []
    for together in (False, True):
        draws = Draws()
        draws.tau = 2.0
        for phase in range(3):
            torch.manual_seed(phase)
            draws.clear()
            if not together:
                draws._before = []
            found.append([(number, slope) for number, slope in map(draws, alphas)])
    for alone, joined in zip(found[:3], found[3:], strict=True):
        assert [number for number, _ in alone] == [number for number, _ in joined]
        torch.testing.assert_close([slope for _, slope in alone], [slope for _, slope in joined], rtol=0, atol=0)
