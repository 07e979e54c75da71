"""Every network and task is exported, and the graph gives what the model gives."""

import numpy as np
import onnx
import pytest
import torch
from networks.test_contract import VARIANTS, cells, name_of
from samples import Maps, synthetic_crowds

from nni_count.data.origin import Origin
from nni_count.errors import ModelError
from nni_count.model import Model, load_model
from nni_count.model.graph import OPSET, SIZES, TOLERANCE, export_onnx, largest_difference
from nni_count.networks import can, create, csrnet, initialise, switch_cnn
from nni_count.networks.can import averaged
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.counting import Counting

SMALL = ((37, 53), (1, 3), (67, 31))
NARROW = (4, "M", 4, "M", 4, "M", 512)  # in the place of VGG's, which take seconds


class Depth(Maps):
    """Maps that are no counts, in a unit of their own."""

    out_channels = 2

    def estimate(self, output, stride):
        return output * 30 + stride


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    for module, plan in ((csrnet, "CONV4_3"), (can, "CONV4_3"), (switch_cnn, "CONV5_3")):
        monkeypatch.setattr(module, plan, NARROW)
    for module in (csrnet, can):
        monkeypatch.setattr(module, "BACK_END", (8, 64))


def made(name, task=None, **settings):
    """A model whose maps are full, and whose batch norms are no fresh ones."""
    torch.manual_seed(0)
    task = task or Counting()
    network = create(name, cells(name), out_channels=task.out_channels, **settings)
    initialise(network)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if getattr(module, "out_channels", 0) == task.out_channels and module.bias is not None:
            module.bias.data += 2
        if isinstance(module, torch.nn.Linear):
            module.weight.data *= 100  # so that the patches go through different columns
    return Model(network, name, cells(name), task, {"seed": 4}, Origin("x", {"max_side": 300}, {"a": "b"}))


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_every_network_is_exported(name, settings, tmp_path, monkeypatch):
    if name != "switch_cnn":  # whose steps follow the size
        monkeypatch.setattr("nni_count.model.graph.SIZES", SMALL)
    model = made(name, **settings)
    export_onnx(model, tmp_path / "model.onnx")
    exported = load_model(tmp_path / "model.onnx")
    assert max(largest_difference(model, exported).values()) <= TOLERANCE
    assert np.ptp(model.map(synthetic_crowds(1)[0].read()[:96, :96])) > 1e-3  # there is something to compare
    image = np.random.default_rng(0).integers(0, 256, (41, 50, 3), np.uint8)
    np.testing.assert_allclose(exported.map(image, views=8), model.map(image, views=8), atol=TOLERANCE)
    assert (exported.name, exported.settings) == (name_of(model.network), model.settings)


@pytest.mark.parametrize("task", [Counting(sigma=3, things="cells"), CountingClasses(["cat", "old dog"]), Depth()])
def test_every_task_is_exported_and_its_data_travel(task, tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.tasks.task.named_by_file", lambda *_: type(task))
    monkeypatch.setattr("nni_count.model.graph.SIZES", SMALL)
    model = made("mcnn", task)
    export_onnx(model, tmp_path / "model.onnx")
    exported = load_model(tmp_path / "model.onnx")
    image = synthetic_crowds(1, size=(64, 80))[0].read()
    assert max(largest_difference(model, exported).values()) <= TOLERANCE
    assert set(exported.export["outputs"]) == {"map", *task.numbers(model.map(image))}
    for name, value in task.numbers(model.map(image)).items():
        assert getattr(exported, name)(image) == pytest.approx(value, rel=1e-4)
    assert (exported.facts, exported.origin, exported.max_side) == (model.facts, model.origin, 300)
    assert exported.task.settings == task.settings
    assert exported.parameters == model.parameters
    written = onnx.load(tmp_path / "model.onnx")
    assert [opset.version for opset in written.opset_import if not opset.domain] == [OPSET]
    assert [axis.dim_param for axis in written.graph.input[0].type.tensor_type.shape.dim] == ["height", "width", ""]
    onnx.checker.check_model(written)


def test_a_graph_that_differs_is_refused(tmp_path, monkeypatch):
    model = made("mcnn")
    with monkeypatch.context() as patch:
        patch.setattr("nni_count.model.graph.MEAN", (0.485, 0.4, 0.4))
        export_onnx(model, tmp_path / "model.onnx")
    exported = load_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"the graph differs from the model \(map by .*, numbers by .*; 0.0001 is let"):
        largest_difference(model, exported)
    monkeypatch.setattr(exported, "graph", lambda image: {"map": np.full((1, 2, 2), np.nan)})
    with pytest.raises(ModelError, match=r"gives a map of \(1, 2, 2\)"):
        largest_difference(model, exported)


def test_sizes_are_of_all_kinds():
    assert any(height % 2 and width % 2 for height, width in SIZES)
    assert any(max(size) >= 3 * switch_cnn.SMALLEST for size in SIZES)
    assert min(map(min, SIZES)) == 1


@pytest.mark.parametrize("shape", [(6, 6), (7, 13), (1, 1), (3, 40)])
def test_averaging_is_adaptive_pooling(shape):
    features = torch.randn(2, 5, *shape)
    for cells_a_side in can.SCALES:
        expected = torch.nn.functional.adaptive_avg_pool2d(features, cells_a_side)
        torch.testing.assert_close(averaged(features, cells_a_side), expected)
