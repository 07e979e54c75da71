"""What a run that was started from Python leaves in its config.yaml runs again from the command line."""

import json

import cv2
import numpy as np
import pytest
import yaml
from conftest import LIGHT, random_architecture
from small_space import SmallSpace

import nni_count
from nni_count import Augmentation, Budget, Compute, Cost, Crops, Decoding, RandomBudget, SearchBudget, TrainingRecipe
from nni_count.cli import main
from nni_count.commands import demo as demonstration
from nni_count.data.held_out import HeldOut
from nni_count.data.synthetic.sets import SyntheticCrowds
from nni_count.errors import RunError
from nni_count.model import Model, load_model
from nni_count.networks import create
from nni_count.tasks.counting import Counting
from strategies import DARTS, Random

CROPS = Crops(size=32, batch_size=2, augmentation=Augmentation(rotation=5, quarter_turns=True))
CPU = Compute(accelerator="cpu")
BRIEF = {"budget": Budget(max_steps=1), "crops": CROPS, "recipe": TrainingRecipe(validation_fraction=0), "compute": CPU}
SPACE = {"width": 16, "map_stride": 4}
SEARCH = {"budget": SearchBudget(max_epochs=1, limit_train_batches=1), "crops": CROPS, "compute": CPU}


@pytest.fixture(scope="module")
def data():
    return SyntheticCrowds(train=8, test=2, size=64, seed=3)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    """Retrained from Python, with an architecture and a data set that are no files."""
    out = tmp_path_factory.mktemp("model") / "run"
    return nni_count.retrain(
        data=data,
        architecture=random_architecture(0, LIGHT),
        network={"width": 16},
        task=Counting(sigma=3),
        out=out,
        **{**BRIEF, "recipe": TrainingRecipe(validation_fraction=0, loss={"sppl": 1, "count": 0.1})},
    )


@pytest.fixture(scope="module")
def search(data, tmp_path_factory):
    """The folder of a search from Python."""
    out = tmp_path_factory.mktemp("search") / "run"
    decoding = Decoding("joint", Cost("parameters", 2e5, image_size=(64, 64)), validation_images=1)
    nni_count.search(
        data=HeldOut(data, 0.25), space=SmallSpace(**SPACE), strategy=DARTS(), decoding=decoding, out=out, **SEARCH
    )
    return out


def again(folder):
    """The folder of the same run once more, by the command line, whose settings are the same."""
    text = (folder / "config.yaml").read_text()
    command, other = text.split("\n")[0].removeprefix("# nni-count "), folder.with_name("again")
    assert main([command, "--config", str(folder / "config.yaml"), "--out", str(other)]) == 0
    before, after = (yaml.safe_load((run / "config.yaml").read_text()) for run in (folder, other))
    del before["out"]
    assert {name: after[name] for name in before} == before  # what was left out stands there with its default
    return other


def test_a_search(search):
    found, expected = (nni_count.read_architecture(run / "architecture.yaml") for run in (again(search), search))
    assert found == expected


def test_a_retraining(model):
    found = load_model(again(model.file.parent) / "model.safetensors")
    assert found.architecture == random_architecture(0, LIGHT)
    assert found.task == Counting(sigma=3)
    assert found.facts["loss"] == model.facts["loss"]
    for name, value in model.network.state_dict().items():
        np.testing.assert_allclose(found.network.state_dict()[name], value, atol=5e-3)  # Adam divides by noise


def test_a_retraining_goes_on_with_its_own_architecture_alone(data, tmp_path):
    settings = {"data": data, "network": {"width": 16}, "out": tmp_path / "run", **BRIEF}
    first, other = random_architecture(0, LIGHT), random_architecture(1, LIGHT)
    nni_count.retrain(architecture=first, **settings)
    with pytest.raises(RunError, match=r"was begun with architecture\..*resume with the same settings"):
        nni_count.retrain(architecture=other, resume=True, **settings)
    nni_count.retrain(architecture=first.to_dict(), resume=True, **settings)


def test_an_evaluation_a_prediction_and_a_fine_tuning_of_a_model(model, data, tmp_path):
    one = nni_count.evaluate(
        model=model, data=data, views=2, compute=nni_count.Inference("cpu"), out=tmp_path / "evaluation" / "run"
    )
    text = (again(tmp_path / "evaluation" / "run") / "evaluation.json").read_text()
    assert json.loads(text)["mae"] == pytest.approx(one["mae"], rel=1e-6)  # a loaded model folds its batch norms

    cv2.imwrite(str(tmp_path / "photo.png"), np.full((40, 50, 3), 99, np.uint8))
    nni_count.predict([tmp_path / "photo.png"], model=model, out=tmp_path / "prediction" / "run")
    assert (again(tmp_path / "prediction" / "run") / "photo_count.jpg").is_file()

    nni_count.retrain(data=data, from_model=model, out=tmp_path / "tuning" / "run", **BRIEF)
    assert load_model(again(tmp_path / "tuning" / "run") / "model.safetensors").network.settings["width"] == 16


def test_a_model_without_a_file_is_said_to_have_none(model, data, tmp_path, capsys):
    bare = Model(create("mcnn"), "mcnn", None, Counting())
    nni_count.evaluate(model=bare, data=data, out=tmp_path / "run")
    assert main(["evaluate", "--config", str(tmp_path / "run" / "config.yaml"), "--out", str(tmp_path / "again")]) == 2
    assert "save_model" in capsys.readouterr().err


def test_a_reading_of_a_search(search, tmp_path):
    nni_count.decode(run=search, out=tmp_path / "run", rule="joint")
    again(tmp_path / "run")


def test_a_trial_and_a_comparison(data, tmp_path):
    brief = {"budget": Budget(max_steps=1), "crops.size": 32, "batch_size": 2, "network": {"width": 16}}
    nni_count.trial(
        data=data,
        space=SmallSpace(**SPACE),
        strategy=Random(),
        out=tmp_path / "run",
        retrain=brief,
        random=RandomBudget(evaluations=1, steps=1),
        task=Counting(sigma=3),
        **SEARCH,
    )
    assert (again(tmp_path / "run") / "result.json").is_file()
    nni_count.compare([tmp_path / "run", tmp_path / "again"], out=tmp_path / "comparison" / "run")
    again(tmp_path / "comparison" / "run")


def test_an_examination(data, tmp_path):
    nni_count.doctor(data=data, out=tmp_path / "run")
    again(tmp_path / "run")


def test_the_demonstration(tmp_path, monkeypatch):
    monkeypatch.setattr(demonstration, "search", lambda **_: None)
    monkeypatch.setattr(demonstration, "retrain", lambda **_: None)
    monkeypatch.setattr(demonstration, "evaluate", lambda **_: {"seed": 1})
    monkeypatch.setattr(demonstration, "predict", lambda *_, **__: None)
    monkeypatch.setattr(demonstration, "table", lambda _: "")
    nni_count.demo(out=tmp_path / "run", seed=1)
    again(tmp_path / "run")
