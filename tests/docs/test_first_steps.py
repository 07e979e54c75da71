"""The first commands that people give, and the Python beside them, run in their order with less of everything."""

import json
import re
import shlex

import cv2
import numpy as np
import pytest
from conftest import write_shanghaitech
from docs.pages import ROOT, blocks

from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.model import load_model

LESS_COMMANDS = {
    "--max_epochs 20": "--max_epochs 1 --limit_train_batches 1 --crop_size 32 --batch_size 2",
    "--max_time 00:00:30:00": "--max_steps 1 --crop_size 32 --batch_size 2",
    "--network.width 64": "--network.width 32",
}
SMALL = "crops=nni_count.Crops(size=32, batch_size=2)"
SHORT = f"budget=nni_count.SearchBudget(max_epochs=1, limit_train_batches=1), {SMALL}"
#: page → what its block of Python says → and what is run in its place
LESS_PYTHON = {
    "README.md": {
        "strategy=DARTS()": f"strategy=DARTS(), {SHORT}",
        'max_time="00:00:30:00")': f"max_steps=1), {SMALL}",
    },
    "docs/search.md": {
        '"synthetic"': '{"path": "synthetic", "train": 8, "test": 2, "size": 64}',
        "max_epochs=4": "max_epochs=2, limit_train_batches=1",
        "size=64, batch_size=4": "size=32, batch_size=2",
    },
    "docs/retraining.md": {"size=128, batch_size=6": "size=32, batch_size=2", 'max_time="00:00:30:00"': "max_steps=1"},
    "docs/deployment.md": {},
    "docs/spaces.md": {},
}


def less(text, replaced):
    for much, little in replaced.items():
        assert much in text
        text = text.replace(much, little)
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages call part_A_final, photo.jpg and holiday."""
    folder = tmp_path_factory.mktemp("first")
    write_shanghaitech(folder / "part_A_final")
    (folder / "holiday").mkdir()
    for name in ("photo.jpg", "holiday/beach.jpg"):
        cv2.imwrite(str(folder / name), np.full((40, 50, 3), 99, np.uint8))
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_the_readmes_commands_lead_from_data_to_counts(place, monkeypatch, capsys):
    (text,) = [block for block in blocks(ROOT / "README.md", "sh") if block.startswith("nni-count")]
    lines = less(text.replace("\\\n", ""), LESS_COMMANDS).splitlines()
    assert [line.split()[1] for line in lines] == ["search", "retrain", "evaluate", "predict"]
    (place / "commands").mkdir()
    monkeypatch.chdir(place / "commands")
    for name in ("part_A_final", "photo.jpg", "holiday"):
        (place / "commands" / name).symlink_to(place / name)
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    left = {path.name for path in (place / "commands" / "runs").rglob("*") if path.is_file()}
    told = re.findall(r"^\| `(search|retrain|evaluate|predict)` \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    assert len(told) == 4
    for _, files in told:
        assert set(re.findall(r"`(\w+\.\w+)`", files)) <= left
    assert len(json.loads((place / "commands/runs/counts/counts.json").read_text())) == 2
    cells = read_architecture(place / "commands/runs/search/architecture.yaml")
    model = load_model(place / "commands/runs/retrain/model.safetensors")
    assert model.architecture.extraction == cells.extraction
    assert model.network.settings["cells"] == 8


@pytest.mark.parametrize("page", LESS_PYTHON)
def test_the_python_of_the_pages_runs(place, page, monkeypatch):
    if page != "README.md" and not (place / "runs" / "retrain").exists():
        pytest.skip("what the README's Python makes is not there")
    monkeypatch.chdir(place)
    code, *_ = blocks(ROOT / page, "python")
    made = {}
    exec(compile(less(code, LESS_PYTHON[page]), page, "exec"), made)
    if page == "docs/deployment.md":
        assert made["density"].sum() == pytest.approx(made["people"], rel=1e-3)
    if page == "docs/search.md":
        assert made["architecture"].network["width"] == 64
    if page == "docs/retraining.md":
        assert made["model"].network.settings["width"] == 64


def test_every_page_with_python_is_run_somewhere():
    elsewhere = {"docs/data.md", "docs/strategies.md", "docs/table.md", "docs/tasks.md", "CONTRIBUTING.md"}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
    with_python = {page.relative_to(ROOT).as_posix() for page in pages if blocks(page, "python")}
    assert with_python == elsewhere | set(LESS_PYTHON)
