"""A stage that is computed in tiles gives the maps of the whole, and is computed whole where tiles cannot."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import LIGHT, random_architecture
from torch import nn

from nni_count.model import Model
from nni_count.networks import create, initialise, stages
from nni_count.networks.stages import Staged
from nni_count.ops import OPERATIONS, Operation
from nni_count.tasks.counting import Counting

TRUNK = {"trunk": "efficientnet_lite0", "trunk_stride": 4, "trunk_weights": "none"}
IMAGE = np.random.default_rng(0).integers(0, 256, (171, 238, 3), np.uint8)


@pytest.fixture
def cut(monkeypatch):
    """Small maps are large, and the sizes of all tiles are kept."""
    monkeypatch.setattr(stages, "WHOLE", 1 << 12)
    monkeypatch.setattr(stages, "VALUES", 1 << 13)
    monkeypatch.setattr(stages, "ROWS", 8)
    pieces, real = [], stages.tiles
    monkeypatch.setattr(stages, "tiles", lambda *of: [pieces.append(tile) or tile for tile in real(*of)])
    return pieces


def made(architecture, **settings):
    torch.manual_seed(0)
    network = create("amsnet", architecture, **{"width": 16, **settings})
    initialise(network)
    return network.eval()


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize(
    "settings",
    [{"map_stride": 1}, {"map_stride": 4, "cells": 7}, {"map_stride": 4, "stem_stride": 2}, TRUNK],
)
def test_a_folded_model_gives_the_map_of_the_whole_image(cut, settings, views):
    model = Model(made(random_architecture(1), **settings), "amsnet", None, Counting())
    whole = model.map(IMAGE, views)
    assert not cut
    model.fold()
    found = model.map(IMAGE, views)
    assert len(cut) > 20
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-4 * np.abs(whole).max())
    assert found.sum() == pytest.approx(whole.sum(), rel=1e-4)


def test_wide_maps_are_cut_into_squares_and_narrow_ones_into_rows(cut):
    network = made(random_architecture(0, LIGHT))
    network.in_tiles = True
    for height, width in ((32, 2048), (2048, 32)):
        cut.clear()
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width))
        columns = {tile.cells[1].stop - tile.cells[1].start for tile in cut}
        assert max(columns) < 1024 if width > height else max(columns) <= 32


def test_training_never_cuts(cut):
    network = made(random_architecture(0, LIGHT)).train()
    network(torch.zeros(2, 3, 64, 64))
    assert not cut


class Mean(nn.Module):
    """Sees all of what it is given."""

    def forward(self, features):
        return features + features.mean((2, 3), keepdim=True)


class Edge(nn.Module):
    """Sees 9 cells to one side only, along rows or columns."""

    def __init__(self, along):
        super().__init__()
        self.along = along

    def forward(self, features):
        features = features.transpose(self.along, -1)
        return (features + F.pad(features, (9, 0))[..., :-9]).transpose(self.along, -1)


def test_an_operation_that_sees_everything_keeps_its_stages_whole(cut, monkeypatch):
    monkeypatch.setitem(OPERATIONS, "mean", Operation(lambda channels, affine: Mean()))
    architecture = random_architecture(0, ("mean", "conv_1x1"))
    network = made(architecture)
    image = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        whole = network(image)
        network.in_tiles = True
        torch.testing.assert_close(network(image), whole)
    assert set(network._margins.values()) == {None}


@pytest.mark.parametrize("along", [-1, -2])
def test_how_far_an_operation_of_ones_own_sees_is_found(cut, monkeypatch, along):
    monkeypatch.setitem(OPERATIONS, "edge", Operation(lambda channels, affine: Edge(along)))
    network = made(random_architecture(0, ("edge",)))
    image = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        whole = network(image)
        network.in_tiles = True
        torch.testing.assert_close(network(image), whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert cut
    assert min(network._margins.values()) >= 9


def test_too_small_a_margin_would_be_seen(cut, monkeypatch):
    network = made(random_architecture(0, LIGHT))
    image = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        whole = network(image)
        network.in_tiles = True
        monkeypatch.setattr(stages, "reach_of", lambda *_: 0)
        assert (network(image) - whole).abs().max() > 1e-3 * whole.abs().max()


def test_every_folded_amsnet_is_staged():
    model = Model(made(random_architecture(0, LIGHT)), "amsnet", None, Counting())
    model.fold()
    assert model._folded.in_tiles
    assert not model.network.in_tiles
    assert isinstance(model.network, Staged)
