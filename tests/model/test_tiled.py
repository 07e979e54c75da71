"""An image that is estimated in tiles has the map that it has as a whole."""

import numpy as np
import pytest
import rasterio
import torch
from conftest import LIGHT, random_architecture
from scipy.spatial import cKDTree
from torch import nn

from nni_count.commands.predict import predict
from nni_count.data import rasters
from nni_count.data.pixels import normalise
from nni_count.errors import DataError, SettingError
from nni_count.model import Model, load_model, save_model
from nni_count.model.graph import export_onnx
from nni_count.model.inference import Inference
from nni_count.networks import create, initialise
from nni_count.networks.network import Network
from nni_count.tasks.counting import Counting

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


class Dots(Network):
    """Counts white dots of 3×3 pixels on black, each of which it blurs over eleven cells a side."""

    multiple, map_stride, settings = 4, 4, {}

    def __init__(self):
        super().__init__()
        weights = torch.outer(*[torch.hann_window(13, periodic=False)[1:-1]] * 2)
        self.blur = nn.Conv2d(1, 1, 11, padding=5, bias=False)
        self.blur.weight.data = (weights / weights.sum())[None, None]
        self.black, self.white = (normalise(np.full((1, 1, 3), pixel, np.uint8)).mean() for pixel in (0, 255))
        one = torch.zeros(1, 1, 1)
        self.unit = 1 / float(Counting().estimate(one + 1, 4).sum())  # of a map that counts one

    def forward(self, image):
        dots = (image.mean(1, keepdim=True) - self.black) / (self.white - self.black) / 9
        return self.unit * self.blur(nn.functional.avg_pool2d(dots, 4) * 16)


def dots(path, height, width, places, **kind):
    with rasterio.open(path, "w", driver="GTiff", count=3, dtype="uint8", height=height, width=width,
                       photometric="RGB", tiled=True, compress="deflate", **kind) as file:  # fmt: skip
        image = np.zeros((3, height, width), np.uint8)
        for x, y in places:
            image[:, y - 1 : y + 2, x - 1 : x + 2] = 255
        file.write(image)


@pytest.fixture(scope="module")
def amsnet():
    torch.manual_seed(0)
    cells = random_architecture(0, LIGHT)
    network = create("amsnet", cells, width=16, map_stride=4)
    initialise(network)
    return Model(network.eval(), "amsnet", cells, Counting())


@pytest.fixture(params=["model.safetensors", "model.onnx"])
def model(request, amsnet, tmp_path):
    """Computed by torch, and exported."""
    if request.param == "model.safetensors":
        return amsnet
    export_onnx(amsnet, tmp_path / request.param)
    return load_model(tmp_path / request.param)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (331, 458, 3), np.uint8)


@pytest.mark.parametrize("views", [1, 2])
def test_tiles_give_the_map_of_the_whole_image(model, amsnet, picture, views):
    assert model.reach == amsnet.reach > 0
    whole = model.map(picture, views)
    tiled = Inference(tile=100).ready(model).map(picture, views)
    assert tiled.shape == whole.shape
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * np.abs(whole).max())
    assert tiled.sum() == pytest.approx(whole.sum(), rel=1e-4)
    assert model.tile is None  # the one that was given stays as it is


def test_a_large_file_has_the_count_of_its_pixels(amsnet, picture, tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=3, dtype="uint8", height=331, width=458) as file:
        file.write(picture.transpose(2, 0, 1))
    save_model(amsnet, tmp_path / "model.safetensors")
    regions = tmp_path / "regions.json"
    regions.write_text('{"shapes": [{"label": "a", "shape_type": "rectangle", "points": [[10, 10], [300, 200]]}]}')
    asked = {"model": tmp_path / "model.safetensors", "maps": True, "points": "csv", "regions": regions}
    (whole,) = predict(path, out=tmp_path / "whole", **asked)
    monkeypatch.setattr(rasters, "MAX_PIXELS", 1000)
    for size in (64, 128):
        (row,) = predict(path, out=tmp_path / f"{size}", compute=Inference(tile=size), **asked)
        assert row["count"] == pytest.approx(whole["count"], rel=1e-4)
        assert row["regions"][0]["count"] == pytest.approx(whole["regions"][0]["count"], rel=1e-4)
        maps = [np.load(tmp_path / folder / "a_count.npy") for folder in ("whole", str(size))]
        np.testing.assert_allclose(*maps, atol=1e-4 * np.abs(maps[0]).max())
        for name in ("points.csv", "a_count.jpg", "regions.csv"):
            assert (tmp_path / f"{size}" / name).stat().st_size > 10


@pytest.mark.parametrize(("side", "number"), [(1728, 400), pytest.param(7680, 10_000, marks=pytest.mark.slow)])
def test_dots_at_the_seams_are_counted_once(tmp_path, monkeypatch, side, number):
    tile, draw = 192, np.random.default_rng(0)
    seams, along = np.arange(tile, side, tile), np.arange(24, side - 24, 36)
    lines = [(x, y) for y in seams for x in along] + [(x, y) for x in seams for y in along]
    jitter = draw.integers(-4, 5, (len(lines), 2))  # nearer to a seam than the network sees
    free = [all(36 <= v % tile <= tile - 36 for v in (x if y % tile == 0 else y,)) for x, y in lines]  # no crossings
    places = (np.array(lines) + jitter)[free][:number]
    assert len(places) == number
    path = tmp_path / "dots.tif"
    dots(path, side, side, places)
    monkeypatch.setattr(rasters, "MAX_PIXELS", 1000)
    model = Inference(tile=tile).ready(Model(Dots(), "dots", None, Counting()))
    assert model.reach == 24
    (row,) = predict(path, model=model, out=tmp_path / "out", points="csv")
    assert row["count"] == pytest.approx(len(places), rel=1e-4)
    told = np.loadtxt(tmp_path / "out" / "points.csv", delimiter=",", skiprows=1, usecols=(1, 2))
    assert len(told) == len(places)
    assert cKDTree(places).query(told)[0].max() < 6


class Average(Dots):
    """Sees images as a whole."""

    def forward(self, image):
        return super().forward(image) * image.mean()


def test_a_network_that_sees_images_as_a_whole_says_by_how_much_tiles_differ(picture):
    model = Model(Average(), "average", None, Counting())
    with pytest.warns(UserWarning, match=r"average sees images as a whole: .* in tiles of 100 pixels differs, by .*%"):
        found = Inference(tile=97).ready(model).map(picture)
    assert found.shape == model.map(picture).shape


def test_what_does_not_fit_into_the_memory_is_cut(model, picture, monkeypatch):
    whole, real = model.map(picture), model._estimate

    def estimate(image, views):
        if image.shape[0] * image.shape[1] > 120_000:
            raise DataError("an image does not fit into the memory")
        return real(image, views)

    monkeypatch.setattr(model, "_estimate", estimate)
    with pytest.raises(DataError):  # smaller than a tile
        model.map(picture)
    monkeypatch.setattr("nni_count.model.estimator.SIDE", 64)
    np.testing.assert_allclose(model.map(picture), whole, atol=1e-4 * np.abs(whole).max())


def test_settings_that_do_not_fit_are_refused(amsnet, tmp_path):
    export_onnx(amsnet, tmp_path / "model.onnx")
    for name, settings in (
        ("tile", {"tile": 8}),
        ("threads", {"threads": 0}),
        ("precision", {"precision": "16-mixed"}),
        ("precision", {"precision": "bf16-mixed"}),
    ):
        with pytest.raises(SettingError, match=f"{name}: "):
            Inference(**settings).ready(tmp_path / "model.onnx")
