"""The commands of the page for beginners, in their order, with less of everything."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from nni_count.cli import main
from nni_count.data import open_data

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_data"
LESS = {
    r"--max_epochs \d+": "--max_epochs 1 --limit_train_batches 1",
    r"--max_time \S+": "--max_steps 2",
    r"(make_photos.py \S+)": r"\1 --number 8",
    r"--number 15": "",
    r"--space.map_stride 4": "--space.map_stride 4 --space.width 16",
    r"--crop_size \d+": "--crop_size 32 --batch_size 2",
    r"--network.width 64": "--network.width 32",
    r"warmup_epochs 2": "warmup_epochs 0",
}


def commands():
    blocks = re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    for pattern, less in LESS.items():
        assert any(re.search(pattern, line) for line in lines)
        lines = [re.sub(pattern, less, line) for line in lines]
    return [line.split() for line in lines]


def test_the_commands_of_the_page_lead_from_clicks_to_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for program, *arguments in commands():
        if program == "nni-count":
            assert main(arguments) == 0, capsys.readouterr().err
        else:
            monkeypatch.setattr(sys, "argv", [str(EXAMPLE / "make_photos.py"), *arguments[1:]])
            runpy.run_path(sys.argv[0], run_name="__main__")
    rows = json.loads((tmp_path / "runs/sheep/counts/counts.json").read_text())
    assert len(rows) == 8
    assert all((tmp_path / "runs/sheep/counts" / row["overlay"]).is_file() for row in rows)
    assert json.loads((tmp_path / "runs/sheep/doctor/doctor.json").read_text())["faults"] == []
    report = json.loads((tmp_path / "runs/sheep/autumn_test/evaluation.json").read_text())
    assert report["data"] == "Clicks autumn"
    assert report["images"] == 2


@pytest.mark.parametrize("season", ["summer", "autumn"])
def test_the_photos_have_their_clicks(tmp_path, monkeypatch, season):
    arguments = [str(tmp_path / "photos"), "--number", "5", "--season", season]
    monkeypatch.setattr(sys, "argv", ["make_photos.py", *arguments])
    runpy.run_path(str(EXAMPLE / "make_photos.py"), run_name="__main__")
    samples = open_data(tmp_path / "photos").samples("all")
    assert len(samples) == 5
    assert sum(sample.count for sample in samples) == (tmp_path / "photos" / "clicks.csv").read_text().count("jpg")
