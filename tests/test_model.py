import inspect
import json
import os
import resource
import signal
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nni_count.errors import ModelError, NNICountError, SettingError
from nni_count.model import Model, load_model, save_model
from nni_count.model.seal import BLANK
from nni_count.networks import create, initialise
from nni_count.networks.devices import find_device
from nni_count.networks.whole_image import whole_map
from nni_count.tasks.counting import Counting


@pytest.fixture
def model(architecture):
    torch.manual_seed(0)
    network = create("amsnet", architecture, width=16, map_stride=2)
    initialise(network)
    for module in network.modules():  # statistics that are not those of a fresh network
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return Model(network, "amsnet", architecture, Counting(sigma=3), {"seed": 4})


IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)


def test_a_loaded_model_counts_as_the_saved_one(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    model.fold()  # as a loaded one is
    np.testing.assert_array_equal(loaded.density(IMAGE), model.density(IMAGE))
    assert loaded.task == model.task
    assert loaded.facts == model.facts
    assert loaded.architecture == model.architecture
    assert loaded.parameters == sum(p.numel() for p in model.network.parameters())
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def test_the_header_tells_what_the_weights_need(model, tmp_path):
    save_model(model, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        header = {**file.metadata(), "checksum": BLANK}
    assert json.loads(header["network"])["settings"]["map_stride"] == 2
    assert json.loads(header["preprocessing"])["mean"] == [0.485, 0.456, 0.406]
    assert json.loads(header["task"])["name"] == "nni_count.tasks.counting.Counting"
    assert json.loads(header["task"])["settings"]["density_scale"] == 100


@pytest.mark.parametrize("shape", [(37, 50), (1, 1), (4, 3), (64, 64), (5, 130)])
def test_any_size_gives_a_map_of_the_whole_image(model, shape):
    density = model.density(IMAGE[:1, :1].repeat(shape[0], 0).repeat(shape[1], 1))
    assert density.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert np.isfinite(density).all()


def test_padding_does_not_change_what_lies_inside(model):
    network = model.network
    image = torch.randn(3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(whole_map(network, image), network(image[None]), rtol=1e-4, atol=1e-5)


def test_several_views_are_the_mean_of_their_maps_turned_back(model):
    mirrored = model.map(np.ascontiguousarray(IMAGE[:32, :48][:, ::-1]))[:, :, ::-1]
    one = model.map(IMAGE[:32, :48])
    np.testing.assert_allclose(model.map(IMAGE[:32, :48], views=2), (one + mirrored) / 2, rtol=1e-4, atol=1e-6)
    assert model.map(IMAGE, views=8).shape == model.map(IMAGE).shape == (1, 19, 25)


@pytest.mark.parametrize("turn", [lambda image: np.rot90(image, axes=(0, 1)), lambda image: image[::-1]])
def test_with_eight_views_the_map_turns_with_the_image(model, turn):
    image = IMAGE[:32, :48]  # not padded
    turned = model.map(np.ascontiguousarray(turn(image)), views=8)[0]
    np.testing.assert_allclose(turned, turn(model.map(image, views=8)[0]), rtol=1e-3, atol=1e-5)
    with pytest.raises(AssertionError):
        alone = model.map(np.ascontiguousarray(turn(image)))[0]
        np.testing.assert_allclose(alone, turn(model.map(image)[0]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("views", [0, 3, "8"])
def test_other_numbers_of_views_are_refused(model, views):
    with pytest.raises(SettingError, match=r"views: .*; choose 1, 2 .* or 8"):
        model.map(IMAGE, views=views)


def test_the_count_is_the_sum_of_the_map_in_people(model):
    model.network.up_sampling.second.bias.data += 2  # more than nobody
    assert model.count(IMAGE) == pytest.approx(model.density(IMAGE).sum(), rel=1e-5)
    with torch.inference_mode():
        from nni_count.data.pixels import normalise

        raw = whole_map(model.network, normalise(IMAGE))
    assert model.count(IMAGE) == pytest.approx(float(raw.sum()) * 4 / 100, rel=1e-4)  # stride 2, density × 100


def test_count_and_density_are_explained(model):
    assert "How many" in inspect.getdoc(Model.count)
    assert list(inspect.signature(model.density).parameters) == ["image", "views"]
    assert {"count", "density"} <= {*dir(model)}


@pytest.mark.parametrize("device", ["meta", "none", "cuda:99"])
def test_a_device_that_computes_nothing_here_is_refused(model, tmp_path, device):
    save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(SettingError, match=rf"device: '{device}' cannot be used .*; choose cpu"):
        load_model(tmp_path / "model.safetensors", device=device)


def test_a_device_is_named_as_lightning_names_it():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device() == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SettingError, match="accelerator: 'tpu' is not here; choose among auto"):
        find_device("tpu")
    with pytest.raises(SettingError, match="devices: 2; a model is applied on one"):
        find_device("cpu", 2)


def test_grey_images_count_as_their_three_equal_channels(model):
    grey = IMAGE[:, :, 0]
    assert model.count(grey) == model.count(np.repeat(grey[:, :, None], 3, 2))


def test_a_mask_is_not_passed_over(model):
    with pytest.raises(NNICountError, match=r"image: has masked pixels; fill them first"):
        model.count(np.ma.masked_greater(IMAGE, 100))
    assert model.count(np.ma.array(IMAGE)) == model.count(IMAGE)  # nothing is masked


@pytest.mark.parametrize("image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_no_image_is_refused(model, image):
    with pytest.raises(NNICountError, match="expected"):
        model.count(image)


def test_a_damaged_or_foreign_file_is_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"something else entirely"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"model.safetensors: not a readable model .*give a model.safetensors"):
            load_model(path)
    with pytest.raises(ModelError, match="not a readable model"):
        load_model(tmp_path / "missing")
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="format is None"):
        load_model(path)


def header_and_weights(path):
    with safe_open(path, "pt") as file:
        return {**file.metadata(), "checksum": BLANK}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_file_that_names_counting_as_version_0_1_did_is_read(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    header, weights = header_and_weights(path)
    save_file(
        weights,
        path,
        {**header, "task": json.dumps({"name": "nni_count.tasks.counting.Counting", "settings": {"sigma": 3.0}})},
    )
    assert load_model(path).task == Counting(sigma=3)


def test_weights_of_another_network_are_refused(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    with safe_open(path, "pt") as file:
        header = {**file.metadata(), "checksum": BLANK}
    save_file({"weight": torch.zeros(3)}, path, metadata=header)
    with pytest.raises(ModelError, match="do not fit together"):
        load_model(path)


def test_a_header_builds_no_more_than_its_weights_account_for(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    header, weights = header_and_weights(path)
    network, cells = json.loads(header["network"]), json.loads(header["architecture"])
    changed = [{"network": {**network, "settings": {**network["settings"], name: value}}} for name, value in (
        *(("cells", cells) for cells in (100_000, 8, "6", None, 6.0, 1 << 70, -1, [6])),
        *(("width", width) for width in (16_384, 32, "16", None, 1 << 70, float("nan"))),
        *(("in_channels", channels) for channels in (10**9, 1 << 70, True, "3")),
        *(("taps", taps) for taps in ([4, "5", None], 3, [4, 5, 1 << 70], "456", {"a": 1})),
        ("stem_stride", [1]), ("map_stride", {}), ("affine", None), ("architecture", 1), ("parts", 1), ("1", 1),
    )]  # fmt: skip
    changed += [{"network": value} for value in (None, [], {"name": []}, {"name": "amsnet", "settings": []}, "x")]
    changed += [{"network": {"name": name, "settings": {}}} for name in ("csrnet", "none", "", ["a"])]
    changed += [{"network": {"name": "can", "settings": {"pretrained": True}}, "architecture": None}]
    changed += [{"architecture": {**cells, "extraction": value}} for value in ([], None, {"2": 3}, {"x": {}}, "x")]
    changed += [{"architecture": value} for value in ([], "x", 3, {}, None)]
    changed += [{"task": value} for value in (None, [1], {"name": None, "settings": {}}, {"name": "x"})]
    changed += [{"facts": value} for value in ([[1]], "x", 3, None)]
    texts = [{name: text} for name in header for text in ("", "{", "[" * 100_000, "NaN", "1" * 5000)]
    for change in [*({name: json.dumps(value) for name, value in one.items()} for one in changed), *texts]:
        if "preprocessing" in change:
            continue
        save_file(weights, path, {**header, **change})
        start = time.process_time()
        with pytest.raises(ModelError, match=r"m\.safetensors: ") as fault:
            load_model(path)
        assert len(str(fault.value)) <= 500
        assert time.process_time() - start < 2, change


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_model_with_a_weight_that_is_not_finite_is_written_or_loaded(model, tmp_path, value):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    header, weights = header_and_weights(path)
    name = next(iter(weights))
    weights[name].view(-1)[0] = value
    save_file(weights, path, header)
    with pytest.raises(ModelError, match=f"its weight {name} is not finite"):
        load_model(path)
    whole = path.read_bytes()
    next(iter(model.network.parameters())).data.view(-1)[0] = value
    with pytest.raises(ModelError, match="is not written: its weight"):
        save_model(model, path)
    assert path.read_bytes() == whole


def test_a_map_that_is_no_number_is_never_counted(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    header, weights = header_and_weights(path)
    name = next(name for name in weights if name.endswith("running_var"))
    task = json.loads(header["task"])
    task["settings"]["density_scale"] = 1e-300
    for change, more in (({name: -weights[name]}, {}), ({}, {"task": json.dumps(task)})):
        save_file(weights | change, path, header | more)
        loaded = load_model(path)
        for read in (loaded.count, loaded.density, loaded.points):
            with pytest.raises(ModelError, match=r"m.safetensors: its map of an image of 50×37 .* no longer a number"):
                read(IMAGE)
    assert np.isnan(Counting().numbers(np.full((1, 2, 2), np.nan))["count"])  # as a validation has it


def test_a_full_disk_is_told_by_the_models_name_and_the_one_before_stays(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    before, ignored = path.read_bytes(), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as told:
            save_model(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert told.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool])
def test_weights_that_are_no_fractions_are_refused(model, tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    with safe_open(path, "pt") as file:
        header, weights = {**file.metadata(), "checksum": BLANK}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({name: weight.to(dtype) for name, weight in weights.items()}, path, header)
    with pytest.raises(ModelError, match=rf"is of {dtype} in the file, torch.float32 in the network"):
        load_model(path)
    exact = {name: weight.double() if weight.is_floating_point() else weight for name, weight in weights.items()}
    save_file(exact, path, header)
    assert load_model(path).parameters == model.parameters


def test_a_pipe_is_no_model(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ModelError, match="not a readable model"):
            load_model(path)
