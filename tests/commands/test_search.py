import copy
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import nni
import nni.nas.strategy as nni_strategies
import numpy as np
import pytest
import torch
import yaml
from nni.nas.nn.pytorch import LayerChoice, MutableDropout
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning.callbacks import Callback
from short import short
from small_space import SmallSpace

from nni_count.architecture import read_architecture
from nni_count.commands import search as module
from nni_count.commands.decode import decode
from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.errors import Interrupted, RunError, SettingError, TrainingError
from nni_count.networks import create
from nni_count.ops import NONE
from nni_count.searching.cost import Cost, cost_table
from nni_count.searching.settings import EarlyStop
from nni_count.tasks.counting import Counting
from search_spaces import AMSNetSpace
from strategies import DARTS, GDAS, GumbelDARTS, PartialChannel, RandomOneShot

search = short(module.search)
STRATEGIES = {
    "DARTS": DARTS,
    "GumbelDARTS": GumbelDARTS,
    "GDAS": GDAS,
    "PartialChannel": PartialChannel,
    "nni Proxyless": nni_strategies.Proxyless,
}

#: the least that a strategy can do with, where it is not 16
WIDTHS = {PartialChannel: 64}

pytestmark = pytest.mark.filterwarnings("ignore")


class Noise(Dataset):
    """Images of noise with points; a split other than the training one is never asked for."""

    name = "noise"
    splits = ("train", "test")

    def __init__(self):
        super().__init__("nowhere")

    @staticmethod
    def recognises(root):
        return False

    def read(self, split):
        assert split == "train"
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (6, 40, 48, 3), np.uint8)
        return [Sample(str(i), rng.random((4, 2)) * 40, lambda i=i: images[i]) for i in range(6)]


class DisturbedSpace(SmallSpace):
    """At the loss number ``when``, the user presses Ctrl-C ``presses`` times, or the loss is no longer a number."""

    when, presses, losses = 0, 0, 0
    first: ClassVar = {}

    def loss(self, estimate, target):
        cls = type(self)
        cls.losses += 1
        if cls.losses == 1:
            cls.first = {name: parameter.detach().clone() for name, parameter in self.named_parameters()}
        loss = super().loss(estimate, target)
        if cls.losses == cls.when:
            for _ in range(cls.presses):
                os.kill(os.getpid(), signal.SIGINT)
            loss = loss if cls.presses else loss * float("nan")
        return loss


class SpaceWithARate(AMSNetSpace):
    """Holds a choice that no strategy with α can handle."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.dropout = MutableDropout(nni.uniform("rate", 0, 1))


class SpaceWhoseLabelsClash(AMSNetSpace):
    """Two choices of one label, between different things."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.one = LayerChoice({"a": torch.nn.Identity(), "b": torch.nn.ReLU()}, label="twice")
        self.other = LayerChoice({"a": torch.nn.Identity(), "c": torch.nn.ReLU()}, label="twice")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def disturb(when, presses):
    DisturbedSpace.when, DisturbedSpace.presses, DisturbedSpace.losses = when, presses, 0


def run(out, strategy, **settings):
    space = settings.pop("space", SmallSpace)(width=WIDTHS.get(type(strategy), 16), map_stride=4)
    defaults = {
        "max_epochs": 2,
        "crop_size": 32,
        "batch_size": 1,
        "limit_train_batches": 1,
        "accelerator": "cpu",
        "validation_images": 1,
        "seed": 3,
    }
    return search(data=Noise(), space=space, strategy=strategy, out=out, **{**defaults, **settings})


def state(out):
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def weights(checkpoint):
    """α and β, and all other weights."""
    tensors = checkpoint["state_dict"]
    alphas = {name: value for name, value in tensors.items() if name.endswith("_arch_alpha")}
    return alphas, {name: value for name, value in tensors.items() if name not in alphas and "running" not in name}


def rows(out):
    return list(csv.DictReader((out / "metrics.csv").open()))


def probabilities(out):
    names = [name for name in rows(out)[0] if name.startswith(("alpha/", "beta/"))]
    return [[float(row[name]) for name in names] for row in rows(out)]


@pytest.fixture(scope="module", params=["DARTS"])  # tests/strategies/test_strategy_contract.py asks all strategies
def searched(request, tmp_path_factory):
    """A run of two epochs, and one that is interrupted in the second and resumed."""
    straight, resumed = (tmp_path_factory.mktemp("runs") / name for name in ("straight", "resumed"))
    strategy = STRATEGIES[request.param]
    result = run(straight, strategy())
    disturb(when=3, presses=1)  # 2 losses a batch
    with pytest.raises(Interrupted, match="--resume"):
        run(resumed, strategy(), space=DisturbedSpace)
    between = state(resumed)
    between_rows = len(rows(resumed))
    run(resumed, strategy(), space=DisturbedSpace, resume=True)
    return result, straight, resumed, between, between_rows


@pytest.mark.rendered
def test_a_search_that_was_killed_after_its_last_epoch_gets_its_pictures(tmp_path):
    run(tmp_path / "run", STRATEGIES["DARTS"]())
    pictures = {name: (tmp_path / "run" / name).read_bytes() for name in ("cells.png", "progress.png")}
    for name in pictures:
        (tmp_path / "run" / name).write_text("of an earlier epoch")
    run(tmp_path / "run", STRATEGIES["DARTS"](), resume=True)
    for name, content in pictures.items():
        assert (tmp_path / "run" / name).read_bytes() == content, name


def test_the_run_folder_holds_a_valid_architecture_and_its_history(searched):
    result, out, *_ = searched
    assert read_architecture(out / "architecture.yaml") == result
    width = result.network["width"]
    assert width in (16, *WIDTHS.values())
    assert all(len(edges) == 2 for cell in (result.extraction, result.fusion) for edges in cell.values())
    assert [result.provenance[name] for name in ("seed", "data", "epochs")] == [3, "noise", 2]
    assert [len(result.provenance[name]) for name in ("alphas", "betas")] == [15, 4]
    assert (out / "cells.png").stat().st_size
    assert (out / "progress.png").stat().st_size
    assert 0 <= float(rows(out)[1]["agreement"]) <= 1
    assert list((out / "tensorboard").glob("events*"))
    assert yaml.safe_load((out / "config.yaml").read_text())["space"]["init_args"]["width"] == width
    assert [row["epoch"] for row in rows(out)] == ["0", "1"]
    for row in rows(out):
        assert float(row["validation_mae"]) >= 0
        assert 0 < float(row["alpha_entropy"]) <= 1
        assert float(row["loss/weights"]) > 0
        assert float(row["loss/architecture"]) > 0
        for label in ("alpha/extraction_3_2", "alpha/pooling_3", "beta/fusion_4"):
            assert sum(float(value) for name, value in row.items() if name.startswith(label + "/")) == pytest.approx(1)


def test_the_architecture_is_what_alpha_and_beta_rank_first(searched):
    result, *_ = searched
    alphas, betas = result.provenance["alphas"], result.provenance["betas"]
    for kind, cell in (("extraction", result.extraction), ("fusion", result.fusion)):
        for node, edges in cell.items():
            ranked = sorted(betas[f"{kind}_{node}"].values(), reverse=True)
            assert all(betas[f"{kind}_{node}"][source] >= ranked[1] for source in edges)
            real = [operation for operation in edges.values() if operation != "none"]
            for source, operation in edges.items() if len(real) == 2 else ():
                assert alphas[f"{kind}_{node}_{source}"][operation] == max(alphas[f"{kind}_{node}_{source}"].values())


def test_a_resumed_run_equals_an_uninterrupted_one(searched):
    _, straight, resumed, between, between_rows = searched
    assert [between["epoch"], between_rows, len(rows(resumed))] == [0, 1, 2]
    for found, expected in zip(weights(state(resumed)), weights(state(straight)), strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.allclose(found[name], expected[name], rtol=0, atol=1e-6) for name in expected)
    np.testing.assert_allclose(probabilities(resumed), probabilities(straight), atol=1e-6)


def test_alpha_and_weights_move_in_every_epoch(searched):
    _, straight, _, between, _ = searched
    (alphas_before, weights_before), (alphas, others) = weights(between), weights(state(straight))
    assert len({value.data_ptr() for value in alphas.values()}) == 19
    assert not any(torch.equal(alphas[name], alphas_before[name]) for name in alphas)
    assert not all(torch.equal(others[name], weights_before[name]) for name in others)
    first, second = probabilities(straight)
    assert not np.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_warm_up_keeps_alpha_and_moves_the_weights(name, tmp_path, capfd):
    class Ending(Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.should_stop = True

    disturb(when=0, presses=0)
    with pytest.warns(UserWarning, match="the search ended while it was warming up: α and β are as they were drawn"):
        run(tmp_path / "run", STRATEGIES[name](warmup_epochs=1), space=DisturbedSpace, callbacks=[Ending()])
    trained = state(tmp_path / "run")["state_dict"]
    moved = {
        name: not torch.equal(value, trained[f"training_module._model.{name}"])
        for name, value in DisturbedSpace.first.items()
    }
    assert not any(moved[name] for name in moved if name.endswith("_arch_alpha"))
    assert any(moved[name] for name in moved if not name.endswith("_arch_alpha"))
    assert "warming up" in "".join(capfd.readouterr())


@pytest.mark.parametrize("searched", ["DARTS"], indirect=True)
def test_an_interrupted_first_epoch_can_be_resumed(searched, tmp_path):
    disturb(when=2, presses=1)
    with pytest.raises(Interrupted):
        run(tmp_path / "run", DARTS(), space=DisturbedSpace)
    found = run(tmp_path / "run", DARTS(), space=DisturbedSpace, resume=True)
    np.testing.assert_allclose(probabilities(tmp_path / "run"), probabilities(searched[1]), atol=1e-6)
    assert run(tmp_path / "run", DARTS(), space=DisturbedSpace, resume=True) == found  # nothing is left to do
    assert len(rows(tmp_path / "run")) == 2


@pytest.mark.parametrize("searched", ["DARTS"], indirect=True)
def test_a_checkpoint_of_another_strategy_is_refused(searched, tmp_path):
    disturb(when=0, presses=0)
    run(tmp_path / "run", RandomOneShot(candidates=1), space=DisturbedSpace, max_epochs=1)
    with pytest.raises(RunError, match=r"was begun with strategy\.class_path .*RandomOneShot.*; resume with"):
        run(tmp_path / "run", DARTS(), space=DisturbedSpace, resume=True)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    shutil.copy(searched[1] / "checkpoints" / "last.ckpt", last)
    with pytest.raises(RunError, match=r"last\.ckpt: is of a run with space\.class_path .*; put back the one of this"):
        run(tmp_path / "run", RandomOneShot(candidates=1), space=DisturbedSpace, max_epochs=3, resume=True)
    state = torch.load(last, weights_only=True)
    del state["settings"]  # as an earlier version wrote it
    torch.save(state, last)
    with pytest.raises(RunError, match=r"last\.ckpt: is of another space or strategy than DisturbedSpace and Random"):
        run(tmp_path / "run", RandomOneShot(candidates=1), space=DisturbedSpace, max_epochs=3, resume=True)


@pytest.mark.parametrize("searched", ["DARTS"], indirect=True)
def test_another_seed_gives_other_weights(searched, tmp_path):
    run(tmp_path / "run", DARTS(), seed=4, max_epochs=1)
    assert not np.allclose(probabilities(tmp_path / "run")[0], probabilities(searched[1])[0], atol=1e-5)


def test_a_search_keeps_to_its_budget(tmp_path):
    cost = Cost(budget=20_000, network={"width": 48})
    found = run(tmp_path / "run", DARTS(), cost=cost)
    network = create("amsnet", found, width=48)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 20_000
    assert found.provenance["cost"]["value"] == float(rows(tmp_path / "run")[-1]["cost"])
    with pytest.raises(SettingError, match=r"cost\.budget: 100 parameters, but the cheapest"):
        run(tmp_path / "other", DARTS(), cost=Cost(budget=100))
    with pytest.raises(SettingError, match="RandomOneShot has no α"):
        run(tmp_path / "other", nni_strategies.RandomOneShot(), cost=cost)
    assert not (tmp_path / "other").exists()


def test_alpha_learns_to_keep_to_the_budget(tmp_path):
    """With a heavy weight on the cost, it falls although the operations that are replaced in the end are left out."""
    settings = {"max_epochs": 1, "limit_train_batches": 5, "validation_images": 0}
    cost = Cost(budget=2_000, weight=1e6)
    run(tmp_path / "cheap", DARTS(arc_learning_rate=0.5), cost=cost, **settings)
    run(tmp_path / "free", DARTS(arc_learning_rate=0.5), **settings)
    table = cost_table(SmallSpace(width=16, map_stride=4), cost)
    cheap, free = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("cheap", "free")
    )
    cheap, free = (table.of(state["callbacks"]["AfterEpoch"]["found"]["sample"]) for state in (cheap, free))
    assert cheap <= 2_000 < free


@pytest.mark.parametrize("searched", ["DARTS"], indirect=True)
def test_another_rule_reads_another_architecture_without_searching(searched, tmp_path):
    result, out, *_ = searched
    same = decode(run=out, out=tmp_path / "paper")
    assert (same.extraction, same.fusion, same.pooling) == (result.extraction, result.fusion, result.pooling)
    joint = decode(run=out, rule="joint", out=tmp_path / "joint")
    assert read_architecture(tmp_path / "joint" / "architecture.yaml") == joint
    assert joint.provenance["decode"] == "joint"
    assert NONE not in [name for cell in (joint.extraction, joint.fusion) for e in cell.values() for name in e.values()]
    small = decode(run=out, out=tmp_path / "small", cost=Cost(budget=6_000))
    assert small.provenance["cost"]["value"] <= 6_000
    with pytest.raises(SettingError, match="rule: 'best' is unknown; choose paper or joint"):
        decode(run=out, rule="best", out=tmp_path / "x")
    with pytest.raises(RunError, match="nowhere: holds no run of a search"):
        decode(run=tmp_path / "nowhere", out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_search_can_end_early_and_tells_callbacks(tmp_path, capsys):
    class Told(Callback):
        epochs: ClassVar = []

        def on_train_epoch_end(self, trainer, module):
            self.epochs.append(float(trainer.callback_metrics["validation_mae"]))

    still = DARTS(arc_learning_rate=1e-9)
    run(tmp_path / "run", still, max_epochs=9, early_stop=EarlyStop(unchanged=1), callbacks=[Told()])
    assert len(Told.epochs) == len(rows(tmp_path / "run")) == 2
    assert "the same for 1 epochs" in capsys.readouterr().out
    run(tmp_path / "timed", still, max_epochs=200, max_time="00:00:00:01", validation_images=0)
    assert 1 <= len(rows(tmp_path / "timed")) < 200


def test_the_optimiser_and_the_precision_are_settings(tmp_path):
    settings = {"max_epochs": 1, "optimizer": "sgd", "precision": "bf16-mixed", "gradient_clip": 0.1}
    assert run(tmp_path / "a", PartialChannel(), **settings)
    with pytest.raises(SettingError, match="optimizer: 'lion' is unknown; choose adam or adamw or sgd"):
        run(tmp_path / "b", DARTS(), optimizer="lion")


@pytest.mark.parametrize("strategy", [DARTS, RandomOneShot])
@pytest.mark.parametrize(
    ("loss", "task"), [({"sppl": 1, "bayesian": 0.1}, None), ("zip", Counting(bins=(1, 2, 4, 8))), ("dm_count", None)]
)
def test_any_loss_is_searched_by(tmp_path, strategy, loss, task):
    """``sppl`` in it is the space's own pyramid, whose α then learns; without it, it stays."""

    class First(Callback):
        alphas: ClassVar = {}

        def on_train_start(self, trainer, module):
            self.alphas.update(weights({"state_dict": copy.deepcopy(module.state_dict())})[0])

    found = run(tmp_path / "a", strategy(), loss=loss, task=task, max_epochs=1, callbacks=[First()])
    assert found.network["out_channels"] == (5 if task else 1)
    if strategy is DARTS:
        alphas, _ = weights(state(tmp_path / "a"))
        pyramid = [name for name in alphas if "pyramid" in name]
        assert len(pyramid) == 3
        moved = [not torch.equal(alphas[name], First.alphas[name]) for name in pyramid]
        assert moved == ["sppl" in loss] * 3


def test_a_search_by_a_loss_that_its_network_has_no_head_for_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"loss zip: the network has no head for bins"):
        run(tmp_path / "a", DARTS(), loss="zip")
    assert not (tmp_path / "a").exists()


def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path):
    """SIGKILL at an arbitrary moment: in the middle of a step, of an epoch's end, of a file."""
    script = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); import test_search as t\n"
        "t.torch.set_num_threads(1)  # sums in another order differ by more than 1e-6\n"
        "t.run(t.Path(sys.argv[2]), t.GDAS(), max_epochs=4, resume=len(sys.argv) > 3)"
    )
    call = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        f"{Path(__file__).parent}:{Path(__file__).parents[1]}",
        str(tmp_path / "killed"),
    ]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    table = tmp_path / "killed" / "metrics.csv"
    while process.poll() is None and not (table.is_file() and len(table.read_text().splitlines()) > 2):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    run(tmp_path / "killed", GDAS(), max_epochs=4, resume=True)
    run(tmp_path / "straight", GDAS(), max_epochs=4)
    for found, expected in zip(*(weights(state(tmp_path / name)) for name in ("killed", "straight")), strict=True):
        assert all(torch.allclose(found[name], expected[name], rtol=0, atol=1e-6) for name in expected)
    killed, straight = (read_architecture(tmp_path / name / "architecture.yaml") for name in ("killed", "straight"))
    assert killed == straight


def test_the_given_space_stays_as_it_is(tmp_path):
    space = AMSNetSpace(width=16, map_stride=4)
    search(
        data=Noise(),
        space=space,
        strategy=nni_strategies.RandomOneShot(),
        out=tmp_path / "run",
        max_epochs=1,
        crop_size=32,
        batch_size=1,
        limit_train_batches=1,
        accelerator="cpu",
    )
    assert read_architecture(tmp_path / "run" / "architecture.yaml").provenance["alphas"] == {}
    assert not any(isinstance(module, BaseSuperNetModule) for module in space.modules())


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path):
    disturb(when=3, presses=0)
    with pytest.raises(TrainingError, match=r"nan at step 1 \(epoch 1, half for the architecture\)"):
        run(tmp_path / "run", DARTS(), space=DisturbedSpace)
    checkpoint = state(tmp_path / "run")
    assert checkpoint["epoch"] == 0
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert read_architecture(tmp_path / "run" / "architecture.yaml").provenance["epochs"] == 1
    disturb(when=0, presses=0)
    run(tmp_path / "run", DARTS(), space=DisturbedSpace, resume=True, learning_rate=1e-5, final_learning_rate=1e-5)
    rates = [
        group["lr"] for optimizer in state(tmp_path / "run")["optimizer_states"] for group in optimizer["param_groups"]
    ]
    assert sorted(rates) == pytest.approx([1e-5, 6e-4])  # of the weights; that of α and β is the strategy's


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    disturb(when=2, presses=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", DARTS(), space=DisturbedSpace)
    assert signal.getsignal(signal.SIGINT) is handler


def test_settings_that_cannot_work_are_named(tmp_path):
    with pytest.raises(SettingError, match="strategy: object is no NNI strategy"):
        run(tmp_path / "a", object())
    with pytest.raises(SettingError, match="devices: 0; give a number from 1"):
        run(tmp_path / "a", DARTS(), devices=0)
    with pytest.raises(SettingError, match=r"DARTS: cannot search SpaceWithARate .*categorical.*; write that"):
        run(tmp_path / "a", DARTS(), space=SpaceWithARate)
    with pytest.raises(SettingError, match=r"rate is a Numerical, of which no path can be drawn; write it as"):
        run(tmp_path / "a", RandomOneShot(), space=SpaceWithARate)
    for strategy in (DARTS(), GDAS(), RandomOneShot()):
        with pytest.raises(SettingError, match=r"same label twice .*; give one of the two another label"):
            run(tmp_path / "a", strategy, space=SpaceWhoseLabelsClash)
    with pytest.raises(SettingError, match="crop_size: 40; SmallSpace needs a multiple of 32"):
        run(tmp_path / "a", DARTS(), crop_size=40)
    with pytest.raises(SettingError, match="space: Linear is no NNI ModelSpace"):
        search(data=Noise(), space=torch.nn.Linear(1, 1), strategy=DARTS(), out=tmp_path / "a")
    narrow = AMSNetSpace(width=16, map_stride=4)  # one channel a node in the first cell
    with pytest.raises(SettingError, match="k = 4 does not divide"):
        search(data=Noise(), space=narrow, strategy=PartialChannel(), out=tmp_path / "a", crop_size=32)
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    with pytest.raises(RunError, match="not empty"):
        run(tmp_path / "b", DARTS())
