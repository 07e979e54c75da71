import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule

from nni_count.searching.nni import read_probabilities
from search_spaces import AMSNetSpace
from strategies import DARTS, GumbelDARTS


def module_of(strategy):
    torch.manual_seed(0)
    space = strategy.mutate_model(AMSNetSpace(width=16, map_stride=4))
    module = strategy.configure_oneshot_module(LightningModule())
    module.set_model(space)
    return module


@pytest.mark.parametrize("strategy", [DARTS, GumbelDARTS])
def test_alpha_and_beta_come_once_in_the_order_of_the_network(strategy):
    module = module_of(strategy())
    parameters = module.arch_parameters()
    first_seen = list(dict.fromkeys(layer.label for layer in module.supernet_modules()))
    by_label = {layer.label: layer._arch_alpha for layer in module.supernet_modules()}
    assert len(parameters) == 30
    assert all(found is by_label[label] for found, label in zip(parameters, first_seen, strict=True))


def test_the_optimiser_is_the_papers():
    group = module_of(DARTS()).configure_architecture_optimizers().param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (6e-4, (0.5, 0.999), 1e-3)


def test_checkpoint_hooks_reach_the_evaluator():
    class Keeps(LightningModule):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["kept"] = 3

        def on_load_checkpoint(self, checkpoint):
            self.found = checkpoint["kept"]

    module = DARTS().configure_oneshot_module(Keeps())
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    assert module.training_module.found == 3


def test_gumbel_noise_is_one_for_all_layers_of_a_label_and_new_in_every_phase():
    module = module_of(GumbelDARTS())
    weights = [
        layer._softmax(layer._arch_alpha) for layer in module.supernet_modules() if layer.label == "extraction_3_1"
    ]
    assert len(weights) == 6
    assert all(torch.equal(weights[0], other) for other in weights[1:])
    module.resample()
    layer = next(layer for layer in module.supernet_modules() if layer.label == "extraction_3_1")
    assert not torch.allclose(weights[0], layer._softmax(layer._arch_alpha))


def test_equal_maps_have_no_gumbel_loss():
    space = module_of(GumbelDARTS()).model
    density = torch.rand(2, 1, 8, 8)
    assert space.loss(density, density.clone()).item() == 0


def test_gumbel_probabilities_are_exported_without_noise():
    module = module_of(GumbelDARTS())
    alphas, betas = read_probabilities(module)
    assert module.export_probs() == {**alphas, **betas}
    alpha = next(layer for layer in module.supernet_modules() if layer.label == "fusion_3_0")._arch_alpha
    assert list(alphas["fusion_3_0"].values()) == pytest.approx(torch.softmax(alpha, 0).tolist())


def test_a_fixed_temperature_may_be_an_integer():
    scheduler = module_of(GumbelDARTS(temperature=2)).temperature_scheduler
    assert scheduler.step(0, 10) == scheduler.step(9, 10) == 2
