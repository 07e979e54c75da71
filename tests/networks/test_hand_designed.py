import pytest
import torch
from short import short
from torchvision.models import VGG16_Weights

from nni_count.commands.evaluate import evaluate
from nni_count.commands.predict import predict
from nni_count.commands.retrain import retrain
from nni_count.errors import SettingError
from nni_count.model import load_model
from nni_count.networks import NETWORKS, create, initialise
from nni_count.networks.hand_designed import HandDesigned


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "in_channels", "expected"),
    [
        ("mcnn", 3, 133_705),
        ("mcnn", 1, 127_953),
        ("csrnet", 3, 16_263_489),
        ("can", 3, 18_103_489),
        ("sanet", 3, 914_801),
        ("switch_cnn", 3, 15_112_590),
        ("tednet", 3, 1_639_348),  # published: 1.63M; the layers that the paper leaves open allow 1.63 to 1.64
    ],
)
def test_the_network_has_as_many_parameters_as_the_published_one(name, in_channels, expected):
    assert parameters(create(name, in_channels=in_channels)) == expected


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_unet_has_any_width_and_ends_where_its_stride_says(stride):
    network = create("unet", width=5, map_stride=stride, out_channels=2)
    assert network(torch.randn(2, 3, 16, 48)).shape == (2, 2, 16 // stride, 48 // stride)
    assert create("unet", width=5, levels=4).multiple == 8
    assert parameters(network) < parameters(create("unet", width=6, map_stride=stride, out_channels=2))
    for setting, value, known in (
        ("width", 0, "give a number from 1 to 1024"),
        ("map_stride", 8, "choose 1, 2 or 4"),
        ("levels", 1, "give a number from 4 to 8"),
    ):
        with pytest.raises(SettingError, match=f"network.{setting}: {value}; {known}"):
            create("unet", **{setting: value})


def test_several_maps_can_be_regressed():
    assert create("mcnn", out_channels=3)(torch.randn(1, 3, 16, 16)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("name", [name for name, kind in NETWORKS.items() if issubclass(kind, HandDesigned)])
def test_a_hand_designed_network_refuses_cells(name, architecture):
    with pytest.raises(SettingError, match=f"network {name}: is hand-designed .* leave out --architecture"):
        create(name, architecture)


@pytest.fixture
def offline(monkeypatch):
    def get_state_dict(self, **_):
        raise OSError("<urlopen error: no route to host>")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", get_state_dict)


@pytest.fixture
def imagenet(monkeypatch):
    """Weights as torchvision's, of ones; nothing is downloaded."""
    weights = {}
    widths, place, channels = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512], 0, 3
    for width in widths:
        if width:
            weights[f"features.{place}.weight"] = torch.ones(width, channels, 3, 3)
            weights[f"features.{place}.bias"] = torch.ones(width)
            channels = width
        place += 2 if width else 1
    weights["classifier.0.weight"] = torch.zeros(1)
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda self, **_: weights)


WITH_VGG = ("csrnet", "can", "switch_cnn")


@pytest.mark.parametrize("name", WITH_VGG)
def test_offline_the_remedy_is_named(name, offline):
    with pytest.raises(SettingError, match=r"could not be downloaded .*no route.*--network.pretrained false"):
        create(name, pretrained=True)
    create(name)  # asks for nothing


def test_pretrained_is_for_colour_and_a_truth_value():
    with pytest.raises(SettingError, match=r"in_channels is 1; choose --network.pretrained false"):
        create("csrnet", pretrained=True, in_channels=1)
    with pytest.raises(SettingError, match=r"network.pretrained: 'yes'; choose true or false"):
        create("csrnet", pretrained="yes")


def test_imagenet_weights_survive_the_initialisation_and_are_not_asked_for_again(imagenet):
    network = create("csrnet", pretrained=True)
    initialise(network)
    assert all((p == 1).all() for p in network.front_end.parameters())
    assert network.back_end[0].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert "pretrained" not in network.settings  # else loading a trained model would download


def test_without_imagenet_weights_the_signal_survives_the_front_end():
    network = create("csrnet")
    initialise(network)
    with torch.inference_mode():
        features = network.front_end(torch.randn(1, 3, 64, 64))
    assert 0.1 < features.std() < 10


@pytest.mark.parametrize("name", WITH_VGG)
def test_imagenet_weights_fit_every_front_end(name, imagenet):
    assert all((p == 1).all() for p in create(name, pretrained=True).front_end.parameters())


def test_tednet_answers_with_the_last_of_its_four_paths():
    network = create("tednet").eval()
    image = torch.randn(1, 3, 16, 24)
    with torch.inference_mode():
        maps = network.maps(image)
        assert [tuple(each.shape) for each in maps] == [(1, 1, 16, 24)] * 4
        torch.testing.assert_close(network(image), maps[-1])


def flat(number, images):
    """The map of a column that answers its number everywhere."""
    return torch.full((len(images), 1, images.shape[2] // 4, images.shape[3] // 4), float(number))


def switched_by(network, decide):
    """The network with columns that answer their number and a switch that decides by a patch's mean."""
    for number in range(3):
        network.columns[number].forward = lambda images, number=number: flat(number, images)
    network.switch = lambda patch: torch.eye(3)[decide(patch.mean((1, 2, 3)))]
    return network


def test_the_switch_sends_each_patch_of_each_image_through_its_own_column():
    network = switched_by(create("switch_cnn").eval(), lambda mean: mean.round().long())
    chosen = torch.tensor([[[0, 1, 2], [2, 2, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0], [2, 2, 2]]])
    height, width = [128, 128, 128], [144, 128, 128]  # of the patches: 25 blocks of 16 pixels in 3 columns
    images = chosen.repeat_interleave(torch.tensor(height), 1).repeat_interleave(torch.tensor(width), 2)
    images = images[:, None].float().expand(2, 3, -1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), images[:, :1, ::4, ::4])
        network.switch = lambda patch: torch.eye(3)[[2] * len(patch)]
        assert (network(images[..., :240, :112]) == 2).all()  # too small to be cut


def test_the_switch_is_trained_in_three_stages():
    network = create("switch_cnn")
    images, targets = torch.randn(2, 3, 32, 32), torch.zeros(2, 1, 8, 8)
    for value, column in zip((0, 0.15, 0.25), network.columns, strict=True):
        torch.nn.init.zeros_(column[-1].weight)
        torch.nn.init.constant_(column[-1].bias, value)
    targets[1] = 0.25  # the first patch is nearest to column 0, the second to column 2
    network.switch = lambda patch: 5 * torch.eye(3)[[1, 1]] + 0 * network.classifier(network.front_end(patch))

    def learning(progress):
        """Which columns, and whether the switch, get a gradient."""
        network.zero_grad()
        network.training_loss(images, targets, torch.nn.functional.mse_loss, progress).backward()
        biases = [column[-1].bias.grad for column in network.columns]
        return [b is not None and bool(b.abs().sum() > 0) for b in biases], network.classifier[-1].bias.grad is not None

    assert learning(0) == ([True, True, True], False)
    loss = network.training_loss(images, targets, torch.nn.functional.mse_loss, 0.4)
    assert loss.item() == 0  # each patch is judged by the column that is right
    assert learning(0.9) == ([False, True, False], True)
    coupled = network.training_loss(images, targets, torch.nn.functional.mse_loss, 0.9).item()
    wrong = torch.nn.functional.cross_entropy(torch.tensor([[0.0, 5, 0]]), torch.tensor([0])).item()
    assert coupled == pytest.approx((0.15**2 + 0.1**2) / 2 + wrong, rel=1e-4)


def test_labels_of_the_switch_weigh_alike_however_rare():
    network = create("switch_cnn")
    network.densities = lambda image: torch.stack([flat(number, image) for number in range(3)], 1)
    scores = torch.randn(4, 3)
    network.switch = lambda image: scores
    targets = flat(0, torch.zeros(4, 3, 16, 16))
    targets[3] += 2
    found = network.training_loss(torch.zeros(4, 3, 16, 16), targets, lambda e, t: torch.zeros(()), 1.0)
    each = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 0, 0, 2]), reduction="none")
    torch.testing.assert_close(found, (each[:3].mean() + each[3]) / 2)


def test_mcnn_is_trained_saved_loaded_evaluated_and_predicted_with_like_a_searched_network(shanghaitech, tmp_path):
    run = tmp_path / "run"
    settings = {"max_steps": 4, "crop_size": 32, "batch_size": 2, "accelerator": "cpu"}
    model = short(retrain)(data=shanghaitech, out=run, network="mcnn", **settings)
    loaded = load_model(run / "model.safetensors")
    assert loaded.architecture is None
    torch.testing.assert_close(loaded.network.state_dict(), model.network.state_dict())
    judged = evaluate(model=run / "model.safetensors", data=shanghaitech, out=tmp_path / "evaluation")
    assert judged["parameters"] == 133_705
    assert judged["mae"] >= 0
    images = shanghaitech / "test_data" / "images"
    rows = predict(images, model=run / "model.safetensors", out=tmp_path / "predicted")
    assert [row["count"] for row in rows] == [
        pytest.approx(loaded.count(path), abs=0.01) for path in sorted(images.iterdir())
    ]
