"""Cells that are searched on a trunk, decoded, retrained on it and applied."""

import pytest
import torch
import torchvision.models
from conftest import LIGHT, random_architecture

from nni_count.architecture import read_architecture, write_architecture
from nni_count.cli import main
from nni_count.model import load_model
from nni_count.runs.plain import read_yaml

NAME = "shufflenet_v2_x0_5"
ON = "--data synthetic --data.train 12 --data.size 64 --crop_size 64 --batch_size 2 --accelerator cpu"
SEARCH = f"search {ON} --max_epochs 1 --limit_train_batches 1 --space AMSNetSpace --space.width 16"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(torchvision.models.get_model(NAME, weights=None).state_dict(), file)
    return file


def test_from_search_to_count_and_again_from_its_configuration(weights, tmp_path, capsys):
    trunk = f"--space.trunk {NAME} --space.trunk_weights {weights}"
    out = tmp_path / "search"
    assert main(f"{SEARCH} {trunk} --strategy DARTS --out {out}".split()) == 0, capsys.readouterr().err
    found = read_architecture(out / "architecture.yaml")
    assert {name: found.network[name] for name in ("trunk", "trunk_stride", "trunk_weights", "map_stride")} == {
        **{"trunk": NAME, "trunk_stride": 8, "trunk_weights": str(weights), "map_stride": 8},
    }
    begun = torch.load(weights)["conv1.0.weight"]
    state = torch.load(out / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
    trained = next(tensor for name, tensor in state.items() if name.endswith("trunk.layers.0.weight"))
    assert 0 < (trained - begun).abs().max() < 0.05  # it began there, and learned
    again = f"search --config {out}/config.yaml --out {tmp_path}/again"
    assert main(again.split()) == 0, capsys.readouterr().err
    assert read_architecture(tmp_path / "again" / "architecture.yaml").extraction == found.extraction
    assert main(f"decode --run {out} --rule joint --out {tmp_path}/joint".split()) == 0, capsys.readouterr().err

    retrain = (
        f"retrain {ON} --max_steps 1 --learning_rate 1e-9 --architecture {out}/architecture.yaml --out {tmp_path}/run"
    )
    assert main(retrain.split()) == 0, capsys.readouterr().err
    assert read_yaml(tmp_path / "run" / "config.yaml")["architecture"]["network"]["trunk"] == NAME
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.network.settings["trunk"] == NAME
    further = f"retrain {ON} --max_steps 1 --from_model {tmp_path}/run/model.safetensors --out {tmp_path}/further"
    assert main(further.split()) == 0, capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["PartialChannel", "GDAS", "ENAS", "Random"])
def test_strategies_search_on_it(strategy, weights, tmp_path, capsys):
    trials = "--trials.number 1 --trials.engine local" if strategy == "Random" else ""
    width = SEARCH.replace("--space.width 16", "--space.width 64")
    call = f"{width} --space.trunk {NAME} --space.trunk_weights {weights} --strategy {strategy} {trials}"
    assert main(f"{call} --out {tmp_path}/search".split()) == 0, capsys.readouterr().err


def test_what_a_retraining_starts_from(weights, tmp_path, capsys):
    write_architecture(random_architecture(0, LIGHT), tmp_path / "cells.yaml")
    call = f"retrain {ON} --max_steps 1 --learning_rate 1e-9 --architecture {tmp_path}/cells.yaml"
    call += f" --network.width 16 --network.trunk {NAME} --out {tmp_path}/run"
    assert main(f"{call} --network.trunk_weights {tmp_path}/none.pth".split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "none.pth: no such file" in said[0]
    assert not (tmp_path / "run").exists()
    assert main(f"{call} --network.trunk_weights {weights}".split()) == 0, capsys.readouterr().err
    state = load_model(tmp_path / "run" / "model.safetensors").network.state_dict()
    torch.testing.assert_close(state["trunk.layers.0.weight"], torch.load(weights)["conv1.0.weight"], atol=1e-5, rtol=0)


def test_a_resumed_training_asks_for_no_weights(weights, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    file.write_bytes(weights.read_bytes())
    write_architecture(random_architecture(0, LIGHT), tmp_path / "cells.yaml")
    call = f"retrain {ON} --architecture {tmp_path}/cells.yaml --network.width 16 --out {tmp_path}/run"
    call += f" --network.trunk {NAME} --network.trunk_weights {file} --max_steps"
    assert main([*call.split(), "2"]) == 0, capsys.readouterr().err
    file.unlink()
    assert main([*call.split(), "3", "--resume"]) == 0, capsys.readouterr().err


def test_trials_do_not_begin_without_their_weights(tmp_path, capsys):
    call = (
        f"{SEARCH} --space.trunk {NAME} --space.trunk_weights {tmp_path}/no.pth --strategy Random --trials.engine local"
    )
    assert main(f"{call} --trials.number 2 --out {tmp_path}/search".split()) == 2
    assert "no.pth: no such file" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


def test_a_resumed_search_asks_for_no_weights(weights, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    file.write_bytes(weights.read_bytes())
    call = f"{SEARCH} --space.trunk {NAME} --space.trunk_weights {file} --strategy GDAS --out {tmp_path}/search"
    assert main(call.split()) == 0, capsys.readouterr().err
    file.unlink()
    assert main(f"{call} --resume".split()) == 0, capsys.readouterr().err
    assert main(f"{call}2".split()) == 2
    assert "no such file" in capsys.readouterr().err
