from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule
from samples import Maps
from torch import nn

from nni_count.errors import SettingError
from nni_count.searching.nni import read_probabilities
from nni_count.tasks.counting import Counting
from search_spaces import AMSNetSpace
from strategies import ENAS, RandomOneShot
from strategies.enas import Controller
from strategies.paths import batch_statistics


def module_of(strategy):
    torch.manual_seed(0)
    space = strategy.mutate_model(AMSNetSpace(width=16, map_stride=4))
    training = LightningModule()
    training.task = Counting()
    module = strategy.configure_oneshot_module(training)
    module.set_model(space)
    return module


@pytest.fixture
def module():
    return module_of(RandomOneShot())


def batch(people=3):
    targets = torch.zeros(2, 1, 8, 8)
    targets[:, 0, :people] = 1
    return torch.rand(2, 3, 32, 32), targets


def test_paths_are_drawn_evenly_and_by_torchs_seed_alone(module):
    torch.manual_seed(1)
    drawn = [module.draw() for _ in range(360)]
    torch.manual_seed(1)
    assert [module.draw() for _ in range(360)] == drawn
    operations = Counter(path["extraction_3_1"] for path in drawn)
    assert len(operations) == 9
    assert all(20 < times < 65 for times in operations.values())
    edges = Counter(tuple(path["fusion_4"]) for path in drawn)
    assert set(edges) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_one_candidate_a_label_is_computed_in_all_cells(module):
    path = module.resample()
    called = []
    for layer in module.supernet_modules():
        for name in getattr(layer, "names", ()):
            layer[name].register_forward_hook(lambda *_, at=(str(layer.label), name): called.append(at))
    module.model(torch.rand(1, 3, 32, 32))
    assert len(called) == 6 * 14 + 7
    assert all(path[label] == name for label, name in called)


def test_the_error_tells_how_far_counts_are_off(module, monkeypatch):
    images, targets = batch()
    for factor, expected in ((1, 0), (0, 0.5), (2, 0.5), (4, 0.75)):  # off / (off + truth)
        monkeypatch.setattr(module.model, "forward", lambda _, factor=factor: factor * targets)
        assert module.error((images, targets), log=False) == pytest.approx(expected, abs=1e-6)
    assert module.error((images, torch.zeros_like(targets)), log=False) == pytest.approx(1)


def test_another_task_has_an_error_of_its_own(module, monkeypatch):
    """Maps whose sums agree are all the same to counting, and not to a task that regresses them."""
    images, targets = batch()
    monkeypatch.setattr(module.model, "forward", lambda _: targets.flip(2))
    assert module.error((images, targets), log=False) == pytest.approx(0)
    monkeypatch.setattr(module.training_module, "task", Maps())
    assert module.error((images, targets), log=False) == pytest.approx(2 / 3)  # twice the square of an empty map


def test_judging_a_path_leaves_weights_and_statistics_alone(module):
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    module.resample()
    module.error(batch(), log=False)
    assert all(torch.equal(value, before[name]) for name, value in module.model.state_dict().items())
    assert all(layer.track_running_stats for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))


def test_batch_statistics_do_not_depend_on_the_mode():
    norm = nn.BatchNorm2d(2).eval()
    features = 5 + torch.rand(4, 2, 3, 3)
    with batch_statistics(norm):
        normalised = norm(features)
    assert normalised.mean().abs() < 1e-4
    assert not norm.training
    assert norm.running_mean.tolist() == [0, 0]


@pytest.mark.parametrize("strategy", [RandomOneShot(candidates=30), ENAS(candidates=30)])
def test_the_best_path_is_exported_and_kept(strategy, monkeypatch):
    module = module_of(strategy)
    monkeypatch.setattr(type(module), "warming_up", False, raising=False)
    module.held.append(batch())
    followed = {}
    monkeypatch.setattr(module, "follow", lambda path: followed.update(path=path))
    monkeypatch.setattr(module, "error", lambda *_, **__: float("skip" not in str(followed["path"]["extraction_2_0"])))
    exported = module.export()
    assert exported["extraction_2_0"] == "skip"
    module._ranked = False
    monkeypatch.setattr(module, "proposals", lambda: [{"extraction_2_0": "none"}])
    assert module.export() == exported
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    again = module_of(type(strategy)())
    again.on_load_checkpoint(checkpoint)
    assert again.best == exported


def test_the_baseline_is_of_all_processes_rewards(monkeypatch):
    """Else one that goes on from the first one's checkpoint goes on with another baseline than it had."""
    module = module_of(ENAS(baseline_decay=0.5))
    others = SimpleNamespace(reduce=lambda reward, reduce_op: (reward + 10) / 2)
    monkeypatch.setattr(type(module), "trainer", SimpleNamespace(strategy=others, current_epoch=1), raising=False)
    monkeypatch.setattr(module, "architecture_optimizers", lambda: torch.optim.SGD(module.controller.parameters(), 0.1))
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "manual_backward", lambda loss: loss.backward())
    for error, expected in ((3.0, 4.0), (1.0, 4.5)):
        monkeypatch.setattr(module, "error", lambda *_, of=error, **__: of)
        module.learn_to_draw(batch())
        assert module.baseline.item() == pytest.approx(expected)


def test_the_controller_learns_what_is_rewarded():
    torch.manual_seed(0)
    controller = Controller({"a": ["x", "y", "z"], "b": [[0], [1]], "c": ["only"]})
    optimizer = torch.optim.Adam(controller.parameters(), 1e-2)
    for _ in range(150):
        path, log_probability, entropy, _ = controller()
        reward = float(path["a"] == "y") + float(path["b"] == [1])
        optimizer.zero_grad()
        (-(reward - 1) * log_probability - 1e-4 * entropy).backward()
        optimizer.step()
    path, _, _, logs = controller(greedy=True)
    assert path == {"a": "y", "b": [1], "c": "only"}
    assert logs["a"].exp()[1] > 0.9
    assert logs["c"].exp().tolist() == [1]


def test_the_controllers_probabilities_are_those_of_operations_and_edges():
    alphas, betas = read_probabilities(module_of(ENAS()))
    assert len(alphas) == 24
    assert len(betas) == 6
    for choices in (*alphas.values(), *betas.values()):
        assert sum(choices.values()) == pytest.approx(1, abs=1e-5)
    assert betas["extraction_2"] == {0: 0.5, 1: 0.5}


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(SettingError, match=r"strategy\.candidates: 0"):
        ENAS(candidates=0)
