import csv
import json
import re

import numpy as np
import pytest
from conftest import random_architecture
from samples import Maps

from nni_count.cli import main
from nni_count.commands.evaluate import evaluate, table
from nni_count.data import open_data
from nni_count.errors import DataError, RunError, SettingError
from nni_count.metrics.maps import MAP_PROTOCOLS
from nni_count.model import Model, save_model
from nni_count.model.inference import Inference
from nni_count.networks import create
from nni_count.tasks.counting import Counting


@pytest.fixture
def model():
    architecture = random_architecture(3)
    return Model(create("amsnet", architecture), "amsnet", architecture, Counting())


@pytest.mark.rendered
def test_the_report_follows_from_the_rows(model, shanghaitech, tmp_path):
    report = evaluate(model=model, data=shanghaitech, out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == report
    rows = list(csv.DictReader(open(tmp_path / "run" / "per_image.csv")))
    samples = open_data(shanghaitech).samples("test")
    assert [row["name"] for row in rows] == [sample.name for sample in samples]
    assert [int(row["truth"]) for row in rows] == [sample.count for sample in samples]
    errors = np.array([float(row["estimate"]) - float(row["truth"]) for row in rows])
    assert report["mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    assert report["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-3)
    assert float(rows[0]["estimate"]) == pytest.approx(model.count(samples[0].read()), abs=1e-3)
    mean = np.mean([sample.count for sample in open_data(shanghaitech).samples("train")])
    assert report["constant_mae"] == pytest.approx(np.mean([abs(sample.count - mean) for sample in samples]))
    assert report["parameters"] == model.parameters
    assert report["seconds_per_image"] > 0
    assert (tmp_path / "run" / "worst.png").stat().st_size > 10_000
    text = table(report)
    assert f"{report['mae']:.2f}" in text
    low, high = report["mae_interval"]
    assert low <= report["mae"] <= high
    assert f"[{low:.2f}, {high:.2f}]" in text
    assert report["game0"] == pytest.approx(report["mae"], abs=1e-2)
    assert sum(row["images"] for row in report["by_density"].values()) == report["images"]
    assert report["network"] == {"name": "amsnet", "settings": model.network.settings}
    for protocol in MAP_PROTOCOLS:  # no figure about maps without the name of its protocol
        for figure in ("psnr", "ssim"):
            column = figure if protocol == "csrnet" else f"{figure}_{protocol}"
            expected = np.mean([float(row[column]) for row in rows])
            assert report["maps"][protocol][figure] == pytest.approx(expected, abs=1e-3)
        assert text.count(f"({protocol})") == 2
    assert (report["psnr"], report["map_protocol"]) == (report["maps"]["csrnet"]["psnr"], "csrnet")


def test_what_was_judged_before_a_damaged_image_stands(model, shanghaitech, tmp_path):
    samples = open_data(shanghaitech).samples("test")
    content = samples[2].path.read_bytes()
    samples[2].path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="IMG_3"):
        evaluate(model=model, data=shanghaitech, out=tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "per_image.csv")))
    assert [row["name"] for row in rows] == [sample.name for sample in samples[:2]]


def test_without_a_folder_nothing_is_written(model, shanghaitech, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.rglob("*")}
    report = evaluate(model=model, data={"path": shanghaitech, "max_side": 48}, compute=Inference("cpu"))
    assert report["images"] == 3
    assert {*tmp_path.rglob("*")} == before
    with pytest.raises(SettingError, match="devices: 2; a model is applied on one"):
        evaluate(model=model, data=shanghaitech, compute=Inference(devices=2))


def test_views_are_averaged_and_said(model, shanghaitech, tmp_path):
    model.network.up_sampling.second.weight.data *= 1000  # so that views differ
    model.network.up_sampling.second.bias.data += 10
    report = evaluate(model=model, data=shanghaitech, views=8, out=tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "per_image.csv")))
    image = open_data(shanghaitech).samples("test")[0].read()
    assert float(rows[0]["estimate"]) == pytest.approx(model.count(image, views=8), abs=1e-3)
    assert float(rows[0]["estimate"]) != pytest.approx(model.count(image), abs=1e-4)
    assert report["views"] == 8
    assert "the mean of 8 views" in table(report)
    with pytest.raises(SettingError, match="views: 3"):
        evaluate(model=model, data=shanghaitech, views=3, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_flops_are_two_for_every_multiplication_and_addition(shanghaitech, tmp_path):
    data = random_architecture(0).to_dict()
    for cell in (data["extraction"], data["fusion"]):
        for node in cell:
            cell[node] = {0: "skip", 1: "skip"}
    architecture = type(random_architecture(0)).from_dict(data)
    network = create("amsnet", architecture, width=16, map_stride=4)
    report = evaluate(model=Model(network, "amsnet", architecture, Counting()), data=shanghaitech, out=tmp_path / "run")
    # width 16: stem 3→4; cells of 4, 8, 8, 16, 16, 16 channels at 1, 1/2, 1/2, 1/4 … of the side, inputs to a quarter
    full, half, quarter = 64 * 64, 32 * 32, 16 * 16
    stem = 3 * 4 * full
    cells = 2 * 4 * 1 * full + (4 + 8) * 2 * half + (8 + 8) * 2 * half
    cells += (8 + 16) * 4 * quarter + (16 + 16) * 4 * quarter * 2
    doublings = 4 * 8 * full + 8 * 16 * half
    decoder = 3 * 16 * 4 * quarter + 9 * 8 * 4 * quarter + 9 * 4 * 1 * quarter
    assert report["flops"] == 2 * (stem + cells + doublings + decoder)


def test_errors(model, shanghaitech, tmp_path):
    with pytest.raises(SettingError, match="no split 'val'"):
        evaluate(model=model, data=shanghaitech, split="val", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").touch()
    with pytest.raises(RunError):
        evaluate(model=model, data=shanghaitech, out=tmp_path / "mine")


def test_several_models_are_networks_over_seeds_beside_one_another(shanghaitech, tmp_path, capsys):
    """Seeds of one network are told together; another network, loss, or a seed that comes again is another."""
    facts = [("unet", {"seed": 0}), *(("mcnn", {"seed": seed}) for seed in (0, 1, 1)), ("mcnn", {"loss": 1})]
    models = [Model(create(kind), kind, None, Counting(), about) for kind, about in facts]
    report = evaluate(model=models, data=shanghaitech)
    rows, each = report["networks"], [one["mae"] for one in report["reports"]]
    told = [(row["network"], row["models"]) for row in rows]
    assert told == [("unet", 1), ("mcnn", 2), ("mcnn 2", 1), ("mcnn 3", 1)]
    assert rows[1]["mean"] == pytest.approx(np.mean(each[1:3]))
    assert rows[1]["deviation"] == pytest.approx(abs(each[1] - each[2]) / np.sqrt(2))
    assert rows[0]["deviation"] is None
    assert "difference" not in rows[0]
    assert rows[1]["difference"] == pytest.approx(rows[1]["mean"] - each[0])
    low, high = rows[1]["interval"]
    assert low <= rows[1]["difference"] <= high
    text = table(report)
    assert text.splitlines()[0] == "MAE of each network's models on 3 images, mean ± deviation"
    assert re.search(r"\nmcnn +[\d.]+ ± [\d.]+ of 2   [+-][\d.]+ beside unet, 95% in \[.*\], p = ", text)
    for number in (1, 2):
        save_model(models[number], tmp_path / f"{number}.safetensors")
    line = f"evaluate --data {shanghaitech} --out {tmp_path}/again"
    assert main([*line.split(), "--model", f"[{tmp_path}/1.safetensors, {tmp_path}/2.safetensors]"]) == 0
    assert f"± {rows[1]['deviation']:.2f} of 2" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "again" / "networks.json").read_text())
    assert row["mean"] == pytest.approx(rows[1]["mean"])
    assert json.loads((tmp_path / "again" / "2" / "evaluation.json").read_text())["mae"] == pytest.approx(each[2])
    for given, message in (
        ([], "model: none; give models of one"),
        ([models[0], of_maps()], "model: error, mae; give"),
    ):
        with pytest.raises(SettingError, match=message):
            evaluate(model=given, data=shanghaitech)


def of_maps():
    return Model(create("mcnn"), "mcnn", None, Maps())
