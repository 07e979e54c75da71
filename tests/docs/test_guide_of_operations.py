"""The guide to operations: its modules are installed and searched as they are written."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import nni_count
from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.errors import SettingError
from nni_count.ops import OPERATIONS
from nni_count.plugins import load_operations

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
TINY = ["--data", "synthetic", "--data.train", "4", "--data.test", "1", "--data.size", "48"]
TINY += ["--crop_size", "32", "--batch_size", "1"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in which the page's modules lie as an installed package."""
    text, site = PAGE.read_text(), tmp_path / "site"
    strips, slim = re.findall(r"```python\n(.*?)```", text, re.S)
    ((group, entry),) = re.findall(r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?)```", text, re.S)
    (site / "strips-1.0.dist-info").mkdir(parents=True)
    (site / "strips-1.0.dist-info" / "entry_points.txt").write_text(f"[{group}]\n" + entry.replace('"', ""))
    (site / "strips.py").write_text(strips)
    (site / "slim.py").write_text(slim)
    before = dict(OPERATIONS)
    monkeypatch.syspath_prepend(str(site))
    yield site
    OPERATIONS.clear()
    OPERATIONS.update(before)
    for name in ("strips", "slim"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore")
def test_a_space_of_ones_own_is_searched_and_retrained(site, tmp_path, capsys):
    load_operations()  # as every process does when it begins
    run = tmp_path / "run"
    search = ["--space", "slim.Slim", "--space.width", "12", "--space.map_stride", "4", "--strategy", "DARTS"]
    search += ["--max_epochs", "1", "--limit_train_batches", "1", "--validation_images", "0"]
    assert main(["search", *TINY, *search, "--out", str(run)]) == 0, capsys.readouterr().err
    found = read_architecture(run / "architecture.yaml")
    assert list(found.extraction) == [2, 3, 4]
    assert {name for edges in found.fusion.values() for name in edges.values()} <= {"strip_conv_1x7", "none"}
    retrain = ["retrain", *TINY, "--max_steps", "1", "--architecture", str(run / "architecture.yaml")]
    assert main([*retrain, "--out", str(tmp_path / "model")]) == 0, capsys.readouterr().err
    assert main(["decode", "--run", str(run), "--rule", "joint", "--out", str(tmp_path / "joint")]) == 0
    assert (tmp_path / "joint" / "cells.png").is_file()


@pytest.mark.parametrize("first", ["strips", "nni_count.ops"])
def test_whatever_is_imported_first_an_installed_operation_is_known(site, monkeypatch, first):
    monkeypatch.setattr(nni_count, "ops", nni_count.ops)  # put back afterwards, as the module is
    monkeypatch.delitem(sys.modules, "nni_count.ops")
    importlib.import_module(first)
    assert list(importlib.import_module("nni_count.ops").OPERATIONS)[-1] == "strip_conv_1x7"


def test_operations_that_cannot_be_imported_are_named(site):
    (site / "strips.py").write_text("import nowhere_to_be_found")
    with pytest.raises(SettingError, match=r"operations strips: strips cannot be loaded .*nowhere_to_be_found"):
        load_operations()
