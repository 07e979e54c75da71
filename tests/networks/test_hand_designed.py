import pytest
import torch
from torchvision.models import VGG16_Weights

from nni_count.errors import SettingError
from nni_count.evaluate import evaluate
from nni_count.model import load_model
from nni_count.networks import HAND_DESIGNED, create, initialise
from nni_count.predict import predict
from nni_count.retrain import retrain


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


def test_several_maps_can_be_regressed():
    assert create("mcnn", out_channels=3)(torch.randn(1, 3, 16, 16)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("name", HAND_DESIGNED)
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


def test_the_switch_sends_each_image_through_its_own_column():
    network = create("switch_cnn").eval()
    network.switch = lambda image: torch.eye(3)[[2, 0]]
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        densities, output = network.densities(images), network(images)
        torch.testing.assert_close(output, torch.stack([densities[0, 2], densities[1, 0]]))
        network.train()
        network.switch = lambda image: torch.zeros(2, 3)
        torch.testing.assert_close(network(images), densities.mean(1))


def test_mcnn_is_trained_saved_loaded_evaluated_and_predicted_with_like_a_searched_network(shanghaitech, tmp_path):
    run = tmp_path / "run"
    settings = {"max_steps": 4, "crop_size": 32, "batch_size": 2, "accelerator": "cpu"}
    model = retrain(data=shanghaitech, out=run, network="mcnn", **settings)
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
