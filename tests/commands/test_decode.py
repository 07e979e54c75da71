"""A run folder of a stranger is data: what it names is neither imported nor called before it is known to be a space."""

import sys

import pytest
import torch

from nni_count.cli import main
from nni_count.commands.decode import decode
from nni_count.errors import NNICountError, RunError
from nni_count.runs.plain import dump_yaml

SPACE = "search_spaces.amsnet.AMSNetSpace"


@pytest.fixture
def run(tmp_path):
    """Writes a run folder with this space and this content of the last epoch."""

    def write(space, found=None, folder=tmp_path / "run"):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text("# nni-count search\n" + dump_yaml({"space": space}))
        state = {"callbacks": {"AfterEpoch": {"found": found or {"sample": {}}}}, "state_dict": torch.zeros(10_000)}
        torch.save(state, folder / "checkpoints/last.ckpt")
        return folder

    return write


def test_nothing_that_a_folder_names_is_called(run, tmp_path, capsys, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / "their_space.py").write_text(f"open({str(ran)!r}, 'w')\nfrom search_spaces import AMSNetSpace as Own")
    monkeypatch.syspath_prepend(str(tmp_path))
    for space, message in (
        ({"class_path": "os.system", "init_args": {"command": f"touch {ran}"}}, "os.system: is no ModelSpace"),
        ({"class_path": "collections.OrderedDict"}, "is no ModelSpace"),
        ({"class_path": "their_space.Own"}, "give --space_class their_space.Own, or import it before"),
        ({"class_path": "unittest.__main__.main"}, "nothing is imported because a file names it"),
        ({"class_path": ["os.system"]}, "nothing is imported"),
        ({"class_path": SPACE, "init_args": {"cells": 90_000}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"width": 1 << 20}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"taps": [4, "5", None]}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"widht": 64}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": 3}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"width": 16}}, "of another space"),
        ("AMSNetSpace", "holds no run of a search"),
        (None, "holds no run of a search"),
    ):
        line = ["decode", "--run", str(run(space)), "--out", str(tmp_path / "out")]
        assert main(line) == 2, space
        error = capsys.readouterr().err
        assert message in error, error
        assert len(error) <= 500 + 1
    assert not ran.exists()
    assert "their_space" not in sys.modules
    assert main([*line[:3], *line[3:], "--space_class", "their_space.Own"]) == 2
    assert ran.exists()  # named by the user


def test_a_damaged_folder_is_one_line(run, tmp_path):
    folder = run({"class_path": SPACE, "init_args": {"width": 16}})
    for name, contents in {
        "config.yaml": (b"", b"\xff", b"[1]", b"space: 3", b"space: {class_path: 3}", b"d: 2001-01-01"),
        "checkpoints/last.ckpt": (b"", b"text", b"cos\nsystem\n(S'true'\ntR.", b"PK\x03\x04"),
    }.items():
        whole = (folder / name).read_bytes()
        for content in contents:
            (folder / name).write_bytes(content)
            with pytest.raises(NNICountError):
                decode(run=folder, out=tmp_path / "out")
        (folder / name).write_bytes(whole)
    for found in (3, [], {"callbacks": 3}, {"callbacks": {"AfterEpoch": None}}):
        torch.save(found, folder / "checkpoints/last.ckpt")
        with pytest.raises(RunError, match="no checkpoint of a search"):
            decode(run=folder, out=tmp_path / "out")
