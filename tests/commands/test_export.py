import numpy as np
import pytest
from model.test_graph import made
from samples import synthetic_crowds

from nni_count.cli import main
from nni_count.commands.export import export, table
from nni_count.errors import ModelError, RunError, SettingError
from nni_count.model import load_model, save_model

DATA = {"path": "synthetic", "train": 6, "size": 64}
IMAGE = synthetic_crowds(1, size=(70, 90))[0].read()


@pytest.fixture
def model():
    model = made("mcnn")
    model.origin = None
    return model


def test_the_command_writes_and_tells(model, tmp_path, capsys):
    save_model(model, tmp_path / "m.safetensors")
    assert (
        main(["export", "--model", str(tmp_path / "m.safetensors"), "--to", "onnx", "--out", str(tmp_path / "out")])
        == 0
    )
    told = capsys.readouterr()
    assert told.err == ""
    assert "model.onnx" in told.out
    assert "opset 18" in told.out
    assert "at most, on images of 5 sizes" in told.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.yaml", "model.onnx"}
    assert load_model(tmp_path / "out" / "model.onnx").count(IMAGE) == pytest.approx(model.count(IMAGE), rel=1e-4)


def test_openvino(model, tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.model.graph.SIZES", ((64, 96), (37, 53)))  # it compiles anew for each
    report = export(model=model, out=tmp_path / "out", to="openvino")
    assert report["files"] == ["model.bin", "model.xml"]
    assert max(report["difference"].values()) < 1e-4
    exported = load_model(tmp_path / "out" / "model.xml", threads=1)
    np.testing.assert_allclose(exported.map(IMAGE), model.map(IMAGE), atol=1e-4)
    (tmp_path / "out" / "model.bin").unlink()
    with pytest.raises(ModelError, match=r"model.xml: not a readable model"):
        load_model(tmp_path / "out" / "model.xml")


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_eight_bits(model, tmp_path, to, monkeypatch):
    monkeypatch.setattr("nni_count.model.graph.SIZES", ((64, 96),))
    report = export(model=model, out=tmp_path / "out", to=to, precision="int8", data=DATA, calibration=2)
    assert (report["metric"], report["images"]) == ("mae", 4)
    assert 0 < abs(report["after"] - report["before"]) < 0.1 * report["before"]
    assert f"MAE          {report['before']:.3f} -> {report['after']:.3f}" in table(report)
    exported = load_model(tmp_path / "out" / report["files"][-1])
    assert 0 < np.abs(exported.map(IMAGE) - model.map(IMAGE)).max() < 0.1 * model.map(IMAGE).max()
    assert exported.facts == model.facts


def test_images_that_set_the_ranges_do_not_tell_the_error(model, tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.model.graph.SIZES", ((64, 96),))
    ranges = []
    monkeypatch.setattr("nni_count.commands.export.quantise", lambda graph, images: ranges.append(images))
    for calibration in (6, 500):
        with pytest.warns(UserWarning, match="calibration: 6 images set the ranges, and none is left to tell"):
            report = export(
                model=model, out=tmp_path / f"{calibration}", precision="int8", data=DATA, calibration=calibration
            )
        assert "metric" not in report
        assert "MAE" not in table(report)
    report = export(model=model, out=tmp_path / "out", precision="int8", data=DATA, calibration=4)
    assert report["images"] == 2
    assert [len(images) for images in ranges] == [6, 6, 4]
    left = [all((image != one).any() for one in ranges[2]) for image in ranges[0]]
    assert left == [False, False, True, False, False, True]  # evenly spread


def test_what_differs_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.model.graph.MEAN", (0.485, 0.4, 0.4))
    with pytest.raises(ModelError, match=r"is not exported: the graph differs from the model \(map by"):
        export(model=model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_do_not_go_together(model, tmp_path):
    for settings, words in (
        ({"precision": "int8"}, "--precision int8 finds its ranges"),
        ({"data": DATA}, "only with it"),
        ({"to": "tflite"}, "choose onnx or openvino"),
        ({"precision": "int8", "data": DATA, "calibration": 0}, "calibration: 0"),
    ):
        with pytest.raises(SettingError, match=words):
            export(model=model, out=tmp_path / "out", **settings)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(RunError, match="is not empty"):
        export(model=model, out=tmp_path / "used")
