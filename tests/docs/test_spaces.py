"""The page on spaces: its package adds an operation and a space, which are searched, exported, retrained and used."""

import re

import pytest
from docs.pages import ROOT, blocks
from installed import install
from torch import nn

from nni_count.architecture import read_architecture, write_architecture
from nni_count.cli import main
from nni_count.model import load_model

PAGE = ROOT / "docs" / "spaces.md"
LESS = {
    "--data synthetic": "--data synthetic --data.train 8 --data.test 2 --data.size 64",
    "--max_epochs 4 --crop_size 64": "--max_epochs 1 --limit_train_batches 1 --crop_size 32 --batch_size 2",
    "--max_steps 500 --crop_size 64": "--max_steps 1 --crop_size 32 --batch_size 2",
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The page's package as pip leaves it."""
    (code,) = [text for text in blocks(PAGE, "python") if text.startswith('"""strips.py')]
    (project,) = blocks(PAGE, "toml")
    groups = re.findall(r'^\[project.entry-points."(.*)"\]\n(\w+) = "(.*)"$', project, re.M)
    assert len(groups) == 2
    text = "".join(f"[{group}]\n{name} = {where}\n" for group, name, where in groups)
    install(tmp_path / "site", monkeypatch, {"strips.py": code}, text)


def test_an_operation_and_a_space_of_a_package_are_searched_and_retrained(installed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (text,) = blocks(PAGE, "sh")
    for much, little in LESS.items():
        assert much in text
        text = text.replace(much, little)
    search, retrain = (line.split()[1:] for line in text.splitlines())
    assert main(search) == 0, capsys.readouterr().err
    file = "runs/strips/search/architecture.yaml"
    found = read_architecture(file)
    assert list(found.extraction) == [2, 3]
    chosen = {operation for edges in found.extraction.values() for operation in edges.values()}
    assert chosen <= {"strip_9", "sep_conv_3x3", "skip", "none"}
    found.extraction[2][0] = "strip_9"  # whatever a search of one step chose
    write_architecture(found, file)
    assert main(retrain) == 0, capsys.readouterr().err
    model = load_model("runs/strips/retrain/model.safetensors")
    assert (1, 9) in {layer.kernel_size for layer in model.network.modules() if isinstance(layer, nn.Conv2d)}
