"""An exported model is applied as the trained one is, by its runtime alone."""

import json
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
from model.test_graph import made
from samples import synthetic_crowds

from nni_count.cli import main
from nni_count.errors import DataError, ModelError, SettingError
from nni_count.model import load_model, save_model
from nni_count.model.exported import ExportedModel
from nni_count.model.graph import export_onnx


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, what was exported of it, and a photo."""
    place = tmp_path_factory.mktemp("exported")
    model = made("unet", width=4, levels=4)
    save_model(model, place / "model.safetensors")
    export_onnx(model, place / "model.onnx")
    cv2.imwrite(str(place / "photo.png"), synthetic_crowds(1, size=(67, 350))[0].read()[:, :, ::-1])
    return place


ALONE = """
import sys, nni_count
print(nni_count.load_model(sys.argv[1]).count(sys.argv[2]))
print(*({"torch", "nni", "onnx", "scipy", "matplotlib"} & {*sys.modules}))
"""


def test_onnx_runtime_alone_is_needed(place):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, place / "model.onnx", place / "photo.png"], text=True, capture_output=True
    )
    count, imported = done.stdout.split("\n")[:2]
    assert float(count) == pytest.approx(load_model(place / "model.safetensors").count(place / "photo.png"), rel=1e-4)
    assert imported == ""


def test_commands_take_it_as_they_take_the_model(place, tmp_path, capsys):
    found = []
    for name in ("model.safetensors", "model.onnx"):
        out = str(tmp_path / f"{name}-out")
        assert main(["predict", str(place / "photo.png"), "--model", str(place / name), "--out", out]) == 0
        (row,) = json.loads((tmp_path / f"{name}-out" / "counts.json").read_text())
        out = str(tmp_path / f"{name}-evaluation")
        options = ["--data", "synthetic", "--data.test", "2", "--data.size", "64", "--model", str(place / name)]
        assert main(["evaluate", *options, "--out", out]) == 0
        found.append((row["count"], json.loads((tmp_path / f"{name}-evaluation" / "evaluation.json").read_text())))
    (count, report), (other_count, other) = found
    assert other_count == pytest.approx(count, abs=0.02)
    assert other["mae"] == pytest.approx(report["mae"], rel=1e-4)
    assert other["network"] == report["network"]
    assert (other["flops"], other["parameters"]) == (None, report["parameters"])
    assert capsys.readouterr().err.count("images with at most 300 pixels a side") == 2


def test_files_that_are_no_exported_model_are_refused(place, tmp_path):
    whole = (place / "model.onnx").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"something else"):
        (tmp_path / "m.onnx").write_bytes(content)
        (tmp_path / "m.xml").write_bytes(content)
        for name in ("m.onnx", "m.xml"):
            with pytest.raises(ModelError, match=rf"{name}: .*give what nni-count export wrote"):
                load_model(tmp_path / name)
    with pytest.raises(ModelError, match=r"missing.onnx: .*give what nni-count export wrote"):
        load_model(tmp_path / "missing.onnx")
    graph = onnx.load(place / "model.onnx")
    texts = {prop.key: prop.value for prop in graph.metadata_props}
    changes = [{}, {**texts, "format": "2"}, {name: texts[name] for name in texts if name != "export"}]
    about = json.loads(texts["export"])
    for value in (None, [], {**about, "map_stride": 0}, {**about, "multiple": 10**9}, {"parameters": "x"}):
        changes.append({**texts, "export": json.dumps(value)})
    changes += [{**texts, name: text} for name in ("network", "task", "facts", "origin") for text in ("", "[1]", "{")]
    for change in changes:
        del graph.metadata_props[:]
        onnx.helper.set_model_props(graph, change)
        onnx.save(graph, tmp_path / "m.onnx")
        with pytest.raises(ModelError, match=r"m\.onnx: "):
            load_model(tmp_path / "m.onnx")


def test_what_is_missing_is_said(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"needs onnxruntime, .*; pip install 'nni-count\[export\]'"):
        load_model(place / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingError, match="export: needs onnx, which is not installed"):
        export_onnx(made("mcnn"), place / "other.onnx")


def test_an_image_too_large_is_said(place):
    model = load_model(place / "model.onnx")

    def full(image):
        raise RuntimeError("Failed to allocate memory for requested buffer of size 123")

    model.graph = full
    with pytest.raises(DataError, match=r"an image of 40×30 pixels does not fit into the memory; scale it down"):
        model.count(np.zeros((30, 40, 3), np.uint8))


def test_a_graph_that_answers_no_numbers_counts_nothing(place, tmp_path):
    graph = onnx.load(place / "model.onnx")
    weight = next(one for one in graph.graph.initializer if len(one.dims) == 4)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full(weight.dims, np.nan, np.float32), weight.name))
    onnx.save(graph, tmp_path / "nan.onnx")
    model = load_model(tmp_path / "nan.onnx")
    for views in (1, 2):
        with pytest.raises(ModelError, match=r"nan.onnx: its map of an image of 300×57 pixels is no longer a number"):
            model.count(place / "photo.png", views)


def test_threads_are_the_runtimes(place, monkeypatch):
    import onnxruntime

    given = []
    usual = onnxruntime.InferenceSession

    def session(path, options, **others):
        given.append(options.intra_op_num_threads)
        return usual(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    assert isinstance(load_model(place / "model.onnx", threads=1), ExportedModel)
    load_model(place / "model.onnx")
    assert given == [1, 0]
