"""Early stages of a torchvision network with its weights, on which AMSNet's cells stand."""

import math
import re

import pytest
import torch
import torchvision.models
from conftest import LIGHT, random_architecture
from safetensors.torch import save_file

from nni_count.errors import ModelError, SettingError
from nni_count.model import Model, load_model, save_model
from nni_count.networks import create, initialise
from nni_count.networks.early import OTHERS
from nni_count.networks.network import at_most
from nni_count.networks.trunk import NONE, Trunk, load_trunks
from nni_count.tasks.counting import Counting

SMALL = "mobilenet_v3_small"
IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole():
    """Torchvision's network, with statistics that are not those of a new one."""
    torch.manual_seed(1)
    network = torchvision.models.get_model(SMALL, weights=None)
    with torch.no_grad():
        network(IMAGE)
    return network.eval()


@pytest.fixture
def file(whole, tmp_path):
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [
        *[(SMALL, 4, 16), (SMALL, 8, 24), (SMALL, 16, 48), ("resnet18", 8, 128), ("efficientnet_b0", 8, 40)],
        *[("efficientnet_lite0", 16, 112), ("mnasnet1_0", 8, 40), ("convnext_tiny", 8, 192), ("vgg11_bn", 8, 512)],
    ],
)
def test_all_layers_before_the_next_halving_are_taken(name, stride, channels):
    trunk = Trunk(name, stride, NONE).eval()
    with torch.inference_mode():
        found = trunk(IMAGE)
    assert found.shape == (2, channels, 64 // stride, 96 // stride)
    assert trunk.channels == channels
    assert found.isfinite().all()


def test_first_weights_are_torchs_own_and_differ(whole):
    torch.manual_seed(0)
    one, other = Trunk("convnext_tiny", 8, NONE), Trunk("convnext_tiny", 8, NONE)
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if mine.ndim == 4 and not name.endswith("scale"):
            assert not torch.equal(mine, theirs), name
            assert mine.std() < 2 / math.sqrt(mine[0].numel()), name


WAYS = {
    "torchvision's names": lambda weights: weights,
    "other names": lambda weights: {
        f"{number}.{name.rpartition('.')[2]}": tensor for number, (name, tensor) in enumerate(weights.items())
    },
    "in a checkpoint": lambda weights: {"state_dict": weights, "epoch": 3},
    "in another": lambda weights: {"model": weights},
    "of several devices": lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
    "of older norms": lambda weights: {n: tensor for n, tensor in weights.items() if "num_batches" not in n},
    "without a classifier": lambda weights: {n: tensor for n, tensor in weights.items() if "features" in n},
    "in half precision": lambda weights: {n: tensor.half() for n, tensor in weights.items()},
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "SAFETENSORS"])
@pytest.mark.parametrize("way", WAYS)
def test_a_trunk_computes_what_the_whole_network_does_up_to_there(whole, way, suffix, tmp_path):
    """Files of safetensors keep no order and no folders."""
    weights, path = WAYS[way](whole.state_dict()), tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(weights, path)
    elif way.startswith("in a") or way == "other names":
        return
    else:
        save_file(weights, path)
    trunk = Trunk(SMALL, 8, path).eval()
    trunk.load()
    with torch.inference_mode():
        torch.testing.assert_close(
            trunk(IMAGE), whole.features[:4](IMAGE), rtol=1e-2, atol=1e-2 if way.endswith("precision") else 1e-6
        )


def test_of_densely_connected_layers_the_names_that_are_stored_are_known(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.get_model("densenet121", weights=None).eval()
    stored = {re.sub(r"(norm|relu|conv)([12])\.", r"\1.\2.", n): t for n, t in network.state_dict().items()}
    assert stored.keys() != network.state_dict().keys()
    torch.save(stored, tmp_path / "weights.pth")
    trunk = Trunk("densenet121", 4, tmp_path / "weights.pth").eval()
    trunk.load()
    with torch.inference_mode():
        torch.testing.assert_close(trunk(IMAGE), network.features[:5](IMAGE))


def test_torchvisions_weights_are_taken_where_nothing_is_said(whole, monkeypatch):
    kind = torchvision.models.get_model_weights(SMALL)
    monkeypatch.setattr(kind, "get_state_dict", lambda self, **_: whole.state_dict())
    network = create("amsnet", random_architecture(0, LIGHT), width=16, trunk=SMALL)
    initialise(network)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval().trunk(IMAGE), whole.features[:4](IMAGE))


def test_offline_the_remedy_is_named(monkeypatch):
    def offline(self, **_):
        raise OSError("no route")

    monkeypatch.setattr(torchvision.models.get_model_weights(SMALL), "get_state_dict", offline)
    network = create("amsnet", random_architecture(0, LIGHT), width=16, trunk=SMALL)
    with pytest.raises(
        SettingError, match=r"no route.; go online once, or give a file with --network.trunk_weights, or"
    ):
        initialise(network)

    def junk(self, **_):
        raise EOFError

    monkeypatch.setattr(torchvision.models.get_model_weights(SMALL), "get_state_dict", junk)
    with pytest.raises(SettingError, match=r"or read in .*hub \(EOFError\); go online once"):
        Trunk(SMALL).load()
    with pytest.raises(SettingError, match="torchvision has none of efficientnet_lite0; give a file"):
        Trunk("efficientnet_lite0").load()


class Code:
    """Pickled, it runs."""

    def __reduce__(self):
        return print, ("run",)


def changed(change, of="weight"):
    """A network's weights, of which some are otherwise."""
    weights = torchvision.models.get_model(SMALL).state_dict()
    return {name: change(values) if name.endswith(of) else values for name, values in weights.items()}


def mixed(one, other):
    """A network's weights under other names, of norms in another order."""
    weights = torchvision.models.get_model(SMALL).state_dict()
    found = {}
    for name, values in weights.items():
        place, _, kind = name.rpartition(".")
        if kind == other and f"{place}.{one}" in weights:
            found[f"_{place}.{one}"] = weights[f"{place}.{one}"]
        found.setdefault(f"_{name}", values)
    return found


def test_a_deeper_variants_weights_are_refused(tmp_path):
    torch.save(torchvision.models.get_model("resnet34").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=r"not those of resnet18: it has layer1\.2\.\S*, which resnet18 has not"):
        Trunk("resnet18", 8, tmp_path / "weights.pth").load()


def test_names_that_a_file_without_order_has_are_asked_for(whole, tmp_path):
    save_file(
        {f"_{name}": tensor for name, tensor in enumerate(whole.state_dict().values())}, tmp_path / "a.safetensors"
    )
    with pytest.raises(SettingError, match=r"none of torchvision's names .244 tensors, the first is _"):
        Trunk(SMALL, 8, tmp_path / "a.safetensors").load()


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (lambda: torchvision.models.get_model("resnet18").state_dict(), "not those of mobilenet_v3_small"),
        (lambda: OTHERS["efficientnet_lite0"]().state_dict(), "not those of mobilenet_v3_small"),
        (lambda: {"features.0.0.weight": torch.zeros(16, 3, 3, 3)}, "features.0.1.weight is missing"),
        (lambda: {}, "missing|none of torchvision's names .no tensors."),
        (lambda: {"0.weight": 3}, "missing|none of torchvision's names .no tensors."),
        (lambda: [1, 2], "missing|none of torchvision's names .no tensors."),
        (lambda: Code(), "no readable weights"),
        (lambda: torchvision.models.get_model("mobilenet_v3_large").state_dict(), "not those of"),
        (lambda: mixed("running_mean", "weight"), "not those of"),
        (lambda: changed(lambda values: values.to(torch.complex64)), "not those of .*complex64"),
        (lambda: changed(lambda values: values.int()), "not those of .*int32"),
        (lambda: changed(lambda values: values.to_sparse()), "not those of .*sparse"),
        (lambda: changed(lambda values: -values - 1, "running_var"), "a variance below 0"),
    ],
)
def test_weights_of_another_network_are_refused(weights, says, tmp_path, capsys):
    torch.save(weights(), tmp_path / "weights.pth")
    trunk = Trunk(SMALL, 8, str(tmp_path / "weights.pth"))
    before = [tensor.clone() for tensor in trunk.state_dict().values()]
    with pytest.raises(SettingError, match=rf"network.trunk_weights: .*weights.pth: .*{says}"):
        trunk.load()
    assert capsys.readouterr().out == ""
    assert all(map(torch.equal, before, trunk.state_dict().values()))


def test_weights_that_are_no_numbers_are_refused(whole, tmp_path):
    weights = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    weights["features.0.0.weight"][0, 0, 0, 0] = math.nan
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=r"0\.0\.weight is not finite"):
        Trunk(SMALL, 8, str(tmp_path / "weights.pth")).load()


@pytest.mark.parametrize("name", ["missing.pth", "", "text.pth", "text.safetensors"])
def test_a_file_that_holds_no_weights_is_named(name, tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(SettingError, match=r"network.trunk_weights: .*(no such file|no readable weights)"):
        Trunk(SMALL, 8, str(tmp_path / name)).load()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"trunk": "mobilnet"}, "network.trunk: 'mobilnet' is unknown; choose a network of torchvision, such as"),
        ({"trunk": "faster_rcnn"}, "is unknown"),
        ({"trunk": 3}, "network.trunk: '3' is unknown"),
        ({"trunk": "swin_t"}, "no layer of swin_t ends at 8 .but at 1, 4.; choose another stride or trunk"),
        ({"trunk": "regnet_y_400mf"}, "choose another"),
        ({"trunk_stride": 2}, "network.trunk_stride: 2; choose 4, 8 or 16"),
        ({"trunk_stride": True}, "network.trunk_stride: True; choose 4, 8 or 16"),
        ({"trunk_weights": 3}, "network.trunk_weights: 3; give a file, imagenet or none"),
        ({"in_channels": 1}, "network.in_channels: 1; give no trunk, .* or choose 3"),
        ({"stem_stride": 2}, "network.stem_stride: 2; give no trunk, .* or choose 1"),
        ({"trunk": None, "trunk_stride": 4}, "network.trunk_stride: 4; give a trunk too, or choose 8"),
        ({"trunk": None, "trunk_weights": "a"}, "network.trunk_weights: 'a'; give a trunk too, or choose imagenet"),
        ({"trunk": ["resnet18"]}, "is unknown"),
        ({"trunk": "vit_b_16"}, "no layer of vit_b_16 ends at 8"),
        ({"map_stride": 1}, "network.map_stride: 1; choose 2, 4 or 8 where cells end at stride 8"),
    ],
)
def test_what_cannot_stand_on_a_trunk_is_said(settings, says):
    with pytest.raises(SettingError, match=says):
        create("amsnet", random_architecture(0, LIGHT), **{"width": 16, "trunk": SMALL, **settings})


@pytest.mark.parametrize(("stride", "map_stride"), [(4, None), (8, 2), (16, 8)])
def test_all_cells_keep_the_trunks_size(stride, map_stride):
    network = create(
        *("amsnet", random_architecture(0, LIGHT)),
        **{"width": 16, "trunk": SMALL, "trunk_stride": stride, "map_stride": map_stride},
    )
    sizes = set()
    for cell in network.cells:
        cell.register_forward_hook(lambda _, __, out: sizes.add(tuple(out.shape[-2:])))
    found, expected = network(IMAGE), map_stride or stride
    assert sizes == {(64 // stride, 96 // stride)}
    assert found.shape == (2, 1, 64 // expected, 96 // expected)
    assert (network.map_stride, network.multiple) == (expected, stride)


def test_strides_move_along_with_the_trunk():
    cells = random_architecture(0, LIGHT)
    cells.network.update(map_stride=4, stem_stride=2)
    assert create("amsnet", cells, width=16, trunk=SMALL).map_stride == 8
    cells.network.update(stem_stride=1, trunk=SMALL, trunk_stride=8, trunk_weights=NONE, map_stride=8)
    assert create("amsnet", cells, width=16).trunk.weights == NONE
    assert create("amsnet", cells, width=16, trunk_stride=16).map_stride == 16
    without = create("amsnet", cells, width=16, trunk=None)
    assert (without.trunk, without.map_stride) == (None, 1)


@pytest.mark.parametrize("encoder", ["amsnet", "baseline"])
def test_the_ablations_encoder_takes_a_trunk_too(encoder):
    cells = random_architecture(0, LIGHT)
    cells.network.update(trunk=SMALL, trunk_stride=8, trunk_weights=NONE, map_stride=8)
    network = create("ablation", cells, encoder=encoder, width=16, map_stride=4)
    assert network(IMAGE).shape == (2, 1, 16, 24)
    assert ("trunk" in network.settings) == (encoder == "amsnet")
    create("ablation", cells, **network.settings)


def test_a_trained_model_asks_for_no_weights(file, tmp_path):
    cells = random_architecture(0, LIGHT)
    cells.network.update(width=16)
    network = create("amsnet", cells, trunk=SMALL, trunk_weights=file)
    initialise(network)
    save_model(Model(network, "amsnet", cells, Counting()), tmp_path / "model.safetensors")
    (tmp_path / "weights.pth").unlink()
    found = load_model(tmp_path / "model.safetensors").network
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    assert file not in (tmp_path / "model.safetensors").read_bytes().decode("latin-1")


def test_a_model_that_says_a_trunk_it_has_not_is_refused(tmp_path):
    cells = random_architecture(0, LIGHT)
    network = create("amsnet", cells, width=16, map_stride=4)
    network.settings.update(trunk="regnet_y_128gf")
    save_model(Model(network, "amsnet", cells, Counting()), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="do not fit together"):
        load_model(tmp_path / "model.safetensors")


def test_a_trunks_weights_are_counted_before_they_take_memory():
    cells = random_architecture(0, LIGHT)
    with pytest.raises(SettingError, match="has more than 1,000,000 weights"), at_most(10**6), torch.device("meta"):
        create("amsnet", cells, width=16, trunk="convnext_large", trunk_stride=16)
    with at_most(10**6), torch.device("meta"):
        create("amsnet", cells, width=16, trunk=SMALL)


def test_trunks_anywhere_in_a_module_are_loaded(whole, file):
    holder = torch.nn.ModuleList([torch.nn.ModuleList([Trunk(SMALL, 4, file)])])
    load_trunks(holder)
    assert torch.equal(next(holder.parameters()), whole.features[0][0].weight)
