import pytest
import torch

from nni_count.architecture import write_architecture
from nni_count.cli import main
from nni_count.errors import SettingError
from nni_count.model import load_model
from nni_count.networks import create
from nni_count.networks.sanet import Aggregation


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_both_of_amsnets_parts_are_amsnet(architecture):
    both = create("ablation", architecture, encoder="amsnet", decoder="amsnet").eval()
    whole = create("amsnet", architecture).eval()
    parts = {name.partition(".")[2]: value for name, value in both.state_dict().items()}
    whole.load_state_dict(parts)
    image = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(both(image), whole(image))


def test_each_part_is_the_same_in_every_row_but_for_the_channels_that_arrive(architecture):
    grid = {(e, d): create("ablation", architecture, encoder=e, decoder=d) for e in KINDS for d in KINDS}
    for encoder in KINDS:
        assert len({parameters(grid[encoder, decoder].encoder) for decoder in KINDS}) == 1
    for e in KINDS:  # the fusion cell is what AMSNet's decoder has more
        plain = parameters(grid[e, "baseline"].decoder.up_sampling.second)
        assert plain == parameters(grid[e, "amsnet"].decoder.up_sampling.second)


KINDS = ("baseline", "amsnet")


def test_the_baseline_encoder_is_sanets_blocks_at_a_quarter_of_the_size():
    encoder = create("ablation").encoder
    assert parameters(encoder) == parameters(create("sanet").encoder)
    assert [type(block) for block in encoder.blocks] == [Aggregation] * 4
    features = encoder.features(torch.randn(1, 3, 32, 48))
    assert [tuple(each.shape) for each in features] == [(1, channels, 8, 12) for channels in (128, 128, 64)]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_map_has_the_size_that_the_stride_asks_for(stride):
    assert create("ablation", map_stride=stride)(torch.randn(1, 3, 32, 48)).shape == (1, 1, 32 // stride, 48 // stride)


def test_the_size_at_which_the_cells_were_found_may_be_changed(architecture):
    network = create("ablation", architecture, encoder="amsnet", cells=8, width=32, map_stride=2)
    assert network.settings == {
        "encoder": "amsnet", "decoder": "baseline", "cells": 8, "width": 32, "taps": [4, 6, 8],
        "in_channels": 3, "out_channels": 1, "map_stride": 2, "stem_stride": 1,
    }  # fmt: skip
    again = create("ablation", architecture, **network.settings)
    assert again.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("decoder", ["baseline", "amsnet"])
def test_cells_that_were_found_behind_a_coarser_stem_go_with_either_encoder(architecture, decoder):
    architecture.network.update(stem_stride=2, map_stride=4, width=32)
    for encoder in ("baseline", "amsnet"):
        network = create("ablation", architecture, encoder=encoder, decoder=decoder)
        assert network(torch.randn(1, 3, 32, 64)).shape == (1, 1, 8, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "sanet"}, "network.encoder: 'sanet' is unknown; choose baseline or amsnet"),
        ({"decoder": 3}, "network.decoder: 3 is unknown"),
        ({"encoder": "amsnet"}, "AMSNet's encoder needs the cells that a search found; give --architecture FILE"),
        ({"decoder": "amsnet"}, "AMSNet's decoder needs the cells"),
        ({"map_stride": 8}, "network.map_stride: 8; choose 1, 2 or 4"),
        ({"depth": 8}, "unknown setting 'depth'; known: encoder, decoder, cells"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings, message):
    with pytest.raises(SettingError, match=message):
        create("ablation", **settings)


@pytest.mark.parametrize(("encoder", "decoder"), [("baseline", "amsnet"), ("baseline", "baseline")])
def test_any_combination_is_trained_from_the_command_line(architecture, shanghaitech, tmp_path, encoder, decoder):
    line = f"retrain --data {shanghaitech} --network ablation --network.encoder {encoder} --network.decoder {decoder}"
    line += f" --loss sal --network.map_stride 4 --crop_size 32 --batch_size 2 --max_steps 1 --out {tmp_path / 'run'}"
    if decoder == "amsnet":
        write_architecture(architecture, tmp_path / "cells.yaml")
        line += f" --architecture {tmp_path / 'cells.yaml'}"
    assert main(line.split()) == 0
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert (model.network.settings["encoder"], model.network.settings["decoder"]) == (encoder, decoder)
    assert model.facts["loss"] == {"sal": {"weight": 1.0}}
