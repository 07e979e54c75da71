"""An image that does not fit into the memory is estimated in tiles, to the same map, or refused."""

import cv2
import numpy as np
import pytest
import torch
from conftest import LIGHT, random_architecture

from nni_count.commands.predict import predict
from nni_count.errors import DataError
from nni_count.model import Model
from nni_count.networks import create, initialise, whole_image
from nni_count.networks import reach as reaching
from nni_count.networks.reach import reach
from nni_count.networks.whole_image import whole_map
from nni_count.runs.memory import memory_left, within_memory
from nni_count.tasks.counting import Counting

LOCAL = {"mcnn": {}, "unet": {"width": 4, "levels": 4}, "amsnet": {"width": 16, "map_stride": 2}}


def made(name):
    torch.manual_seed(0)
    network = create(name, random_architecture(0, LIGHT) if name == "amsnet" else None, **LOCAL.get(name, {}))
    initialise(network)
    return network.eval()


@pytest.fixture
def little(monkeypatch):
    """Memory for as many pixels as it is called with, and the sizes that were tried."""
    sizes, real = [], whole_image._map

    def bound(pixels):
        def fitting(network, image, views):
            sizes.append(image.shape[-2] * image.shape[-1])
            if sizes[-1] > pixels:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            return real(network, image, views)

        monkeypatch.setattr(whole_image, "_map", fitting)
        return sizes

    monkeypatch.setattr(reaching, "FARTHEST", 160)
    return bound


@pytest.mark.parametrize(("name", "views"), [(name, 1) for name in LOCAL] + [("mcnn", 8)])
@torch.inference_mode()
def test_tiles_give_the_map_of_the_whole_image(little, name, views):
    network = made(name)
    margin = reach(network)
    assert 0 < margin < 160
    image = torch.randn(3, 331, 458)
    whole = whole_map(network, image, views)
    sizes = little(9 * image.numel() // 3 // 10)
    tiled = whole_map(network, image, views)
    assert len([size for size in sizes if size < sizes[0]]) > 2
    assert tiled.shape == whole.shape
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4 * float(whole.abs().max()))
    assert float(tiled.sum()) == pytest.approx(float(whole.sum()), rel=1e-4)


def test_too_little_overlap_would_be_seen(little, monkeypatch):
    network, image = made("mcnn"), torch.randn(3, 160, 200)
    monkeypatch.setattr(whole_image, "reach", lambda *_: 4)
    with torch.inference_mode():
        whole = whole_map(network, image)
        little(20_000)
        assert (whole_map(network, image) - whole).abs().max() > 1e-3 * whole.abs().max()


@pytest.mark.parametrize("name", ["can", "sanet", "switch_cnn"])
def test_networks_that_see_the_image_as_a_whole_are_not_cut(little, name, monkeypatch):
    little(0)
    monkeypatch.setattr(reaching, "FARTHEST", 640)  # Switch-CNN cuts a longer one into more patches
    with (
        torch.inference_mode(),
        pytest.raises(DataError, match=r"400×300 pixels .* sees images as a whole.*; scale it"),
    ):
        whole_map(made(name), torch.zeros(3, 300, 400))


def test_an_image_too_large_does_not_lose_the_others(little, tmp_path):
    for name, side in (("large", 200), ("small", 20)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    little(1000)
    with pytest.raises(DataError, match=r"1 of 2 images were not estimated, .*large.png: an image of 200×200 pixels"):
        predict(tmp_path, model=Model(made("mcnn"), "mcnn", None, Counting()), out=tmp_path / "out")
    assert "small.png" in (tmp_path / "out" / "counts.csv").read_text()


def test_what_does_not_fit_fails_with_an_error_and_a_fault_is_none(monkeypatch):
    before = memory_left()
    with pytest.raises((MemoryError, RuntimeError), match="allocate"), within_memory():
        torch.empty(int(before) + (1 << 30), dtype=torch.uint8)
    assert memory_left() > before / 2
    torch.empty(1 << 20)

    def faulty(*_):
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(whole_image, "_map", faulty)
    with pytest.raises(RuntimeError, match="sizes differ"):
        whole_map(made("mcnn"), torch.zeros(3, 20, 20))
