"""The paper's experiments as commands: examples/paper."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import LIGHT, random_architecture
from data.layouts import write

from nni_count.architecture import read_architecture, write_architecture
from nni_count.comparing.published import ablation
from nni_count.losses import create_loss
from nni_count.networks import create, named

FOLDER = Path(__file__).parents[2] / "examples" / "paper"
TABLES = sorted(path for path in FOLDER.glob("*.yaml") if "\nrows:" in path.read_text())


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def rows(table):
    content = yaml.safe_load(table.read_text())
    return {name: {**content["common"], **row} for name, row in content["rows"].items()}


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_every_row_names_a_network_and_a_loss_that_exist(table):
    for row in rows(table).values():
        cells = read_architecture(FOLDER / row["architecture"]) if "architecture" in row else None
        name, settings = named(row.get("network", "amsnet"))
        create(name, cells, **{name: value for name, value in settings.items() if name != "pretrained"})
        create_loss(row.get("loss"), cells.pooling if cells else None)


def test_the_ablation_has_the_papers_six_rows():
    for name in ("table_3", "ten_minutes_ablation"):
        found = [
            (row["network"]["encoder"], row["network"]["decoder"], row["loss"])
            for row in rows(FOLDER / f"{name}.yaml").values()
        ]
        assert found == [row.parts for row in ablation()]


@pytest.fixture
def table(tmp_path):
    write_architecture(random_architecture(0, LIGHT), tmp_path / "cells.yaml")
    common = {"crop_size": 32, "batch_size": 2, "max_epochs": 99}
    cells = {"architecture": "cells.yaml", "network": {"width": 16}, "loss": "sal"}
    path = tmp_path / "table.yaml"
    content = {"title": "Two", "common": common, "rows": {"MCNN": {"network": "mcnn"}, "A B": cells}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.rendered
def test_a_table_is_trained_judged_and_gone_on_with(table, shanghaitech, tmp_path, capsys):
    data = shanghaitech.rename(tmp_path / "part_A_final")
    out = tmp_path / "out"
    line = [str(table), "--data", str(data), "--max_time", "00:00:00:01", "--out", str(out)]
    run = script("run")
    assert run([*line, "--rows", "A B"]) == 0
    first = json.loads((out / "A_B" / "test" / "evaluation.json").read_text())
    assert first["model"]["loss"] == {"sal": {"weight": 1.0}}
    stamp = (out / "A_B" / "retrain" / "model.safetensors").stat().st_mtime_ns
    assert run(line) == 0
    assert (out / "A_B" / "retrain" / "model.safetensors").stat().st_mtime_ns == stamp
    text = (out / "table.md").read_text()
    assert text in capsys.readouterr().out
    mcnn, ours = (next(row for row in text.splitlines() if row.startswith(f"| {name} |")) for name in ("MCNN", "A B"))
    assert "| 133,705 |" in mcnn
    assert mcnn.endswith("| 110.2 | 173.2 | 21.40 | 0.520 | 0.13M |")
    assert f"| {first['mae']:.1f} |" in ours
    assert "PSNR (csrnet)" in text
    assert f"- size: {first['parameters']:,} parameters, published 1.51M" in text
    assert (out / "parameters.png").stat().st_size > 5_000
    assert list(json.loads((out / "results.json").read_text())) == ["MCNN", "A B"]

    picture = tmp_path / "side.png"
    models = ["--models", f"MCNN={out / 'MCNN'}", f"ours={out / 'A_B' / 'retrain' / 'model.safetensors'}"]
    side = [*models, "--data", str(data), "--out", str(picture)]
    assert script("side_by_side")([*side, "--images", "IMG_1", "IMG_3"]) == 0
    assert picture.stat().st_size > 50_000
    assert script("side_by_side")([*side, "--images", "IMG_99"]) == 2
    assert "'IMG_99' is not in" in capsys.readouterr().err


def test_a_rehearsal_leaves_the_test_part_alone(table, shanghaitech, tmp_path):
    for path in (shanghaitech / "test_data" / "images").iterdir():
        path.write_bytes(b"not an image")
    line = [str(table), "--data", str(shanghaitech), "--out", str(tmp_path / "out"), "--rows", "MCNN", "--validation"]
    assert script("run")([*line, "--max_time", "00:00:00:01", "--set", "learning_rate=0.002", "loss.mse=2"]) == 0
    assert "validation part" in (tmp_path / "out" / "table.md").read_text()
    found = yaml.safe_load((tmp_path / "out" / "MCNN" / "retrain" / "config.yaml").read_text())
    assert (found["recipe"]["learning_rate"], found["recipe"]["loss"]) == (0.002, {"mse": 2})
    assert not (tmp_path / "out" / "MCNN" / "test").exists()


def test_a_row_of_several_seeds_is_their_mean(table, shanghaitech, tmp_path):
    out = tmp_path / "out"
    line = ["--data", str(shanghaitech), "--rows", "MCNN", "--set", "max_epochs=null", "max_steps=1"]
    assert script("run")([str(table), *line, "--seeds", "2", "--out", str(out)]) == 0
    each = [json.loads((out / "MCNN" / f"seed_{n}" / "test" / "evaluation.json").read_text()) for n in range(2)]
    assert [report["model"]["seed"] for report in each] == [0, 1]
    found = json.loads((out / "results.json").read_text())["MCNN"]
    maes = [report["mae"] for report in each]
    assert (found["maes"], found["mae"]) == (maes, pytest.approx(np.mean(maes)))
    text = (out / "table.md").read_text()
    assert f"| {np.mean(maes):.1f} ± {np.std(maes, ddof=1):.1f} |" in text
    assert "seed 0, 1." in text


def test_a_row_that_fails_leaves_the_others(table, shanghaitech, tmp_path, capsys):
    content = yaml.safe_load(table.read_text())
    content["rows"] = {"lost": {"network": "mcnn", "loss": "nonsense"}, **content["rows"]}
    table.write_text(yaml.safe_dump(content, sort_keys=False))
    out = tmp_path / "out"
    line = ["--data", str(shanghaitech), "--rows", "lost", "MCNN", "--set", "max_epochs=null", "max_steps=1"]
    assert script("run")([str(table), *line, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "'nonsense' is unknown" in said.err
    assert "failed, see above: lost" in said.err
    assert list(json.loads((out / "results.json").read_text())) == ["MCNN"]
    assert script("run")([str(table), "--results", str(out / "results.json")]) == 0
    assert capsys.readouterr().out.strip() == (out / "table.md").read_text().strip()


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_the_tables_that_stand_in_the_readme_are_printed_again(path, capsys):
    table = FOLDER / f"{path.stem}.yaml"
    assert script("run")([str(table), "--results", str(path)]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) == 2 + len(rows(table))
    readme = (FOLDER / "README.md").read_text()
    for line in printed[2:]:
        assert line.split("|")[4].strip() in readme  # its MAE


def test_an_unknown_row_lists_the_known(table, shanghaitech, tmp_path):
    with pytest.raises(SystemExit, match="'X' is unknown; known: MCNN, A B"):
        script("run")([str(table), "--data", str(shanghaitech), "--out", str(tmp_path / "out"), "--rows", "X"])


def points_of(number):
    rng = np.random.default_rng(0)
    return [rng.random((rng.integers(3, 9), 2)) * (60, 44) for _ in range(number)]


def test_folds_are_trained_each_and_their_mean_is_the_rows(table, tmp_path):
    write("ucf_cc_50", tmp_path / "ucf", points_of(10))
    line = [str(table), "--data", str(tmp_path / "ucf"), "--rows", "MCNN", "--out", str(tmp_path / "out")]
    assert script("run")([*line, "--folds", "5", "--set", "max_epochs=null", "max_steps=1"]) == 0
    folds = [
        json.loads((tmp_path / "out" / "MCNN" / f"fold_{fold}" / "test" / "evaluation.json").read_text())
        for fold in range(1, 6)
    ]
    assert len({fold["data"] for fold in folds}) == 5
    found = json.loads((tmp_path / "out" / "results.json").read_text())["MCNN"]
    assert found["mae"] == pytest.approx(np.mean([fold["mae"] for fold in folds]))


def test_scenes_have_columns_and_their_mean_is_the_figure(table, tmp_path):
    write("worldexpo", tmp_path / "worldexpo", points_of(5))
    line = [str(table), "--data", str(tmp_path / "worldexpo"), "--rows", "MCNN", "--out", str(tmp_path / "out")]
    assert script("run")([*line, "--set", "max_epochs=null", "max_steps=1"]) == 0
    report = json.loads((tmp_path / "out" / "MCNN" / "test" / "evaluation.json").read_text())
    head, _, row = (tmp_path / "out" / "table.md").read_text().splitlines()[2:5]
    (scene,) = report["groups"]
    assert f"| MAE {scene} |" in head
    assert f"| {report['group_mae']:.1f} |" in row
    assert "| 11.6 |" in row  # published: the mean of the five scenes
