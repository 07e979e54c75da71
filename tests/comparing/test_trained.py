"""The table of trained architectures: what its file holds, and what is said of one that cannot be used."""

import json

import numpy as np
import pytest
from conftest import random_architecture
from made_up import made_up, table_of

import nni_count
from benchmarks.table.__main__ import main
from nni_count.architecture import Architecture
from nni_count.comparing import trained
from nni_count.errors import ArchitectureError, DataError, SettingError


def test_architectures_are_found_by_what_they_compute(tmp_path):
    table = table_of(tmp_path / "t.npz", made_up(3, [[1], [2], [float("nan")]]), 3)
    wanted = random_architecture(1)
    assert table.number(wanted) == 1
    without = {node: {s: o for s, o in edges.items() if o != "none"} or edges for node, edges in wanted.fusion.items()}
    assert table.number(Architecture(wanted.extraction, without, ("avg_2x2",))) == 1  # whatever its loss
    with pytest.raises(ArchitectureError, match="none of the 3"):
        table.of(random_architecture(9))
    assert table.errors("cells") == {0: 1, 1: 2, 2: np.inf}  # what is no number is the worst
    with pytest.raises(SettingError, match="'cars' is not in the table; it has cells"):
        table.errors("cars")


@pytest.mark.parametrize("content", [b"", b"no table", None])
def test_what_is_no_table_is_said_in_a_line(tmp_path, content, capsys):
    path = tmp_path / "other.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"other.npz: cannot be read as a table"):
        nni_count.open_table(path)
    assert main(["report", "--table", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_table_of_another_version_is_refused(tmp_path):
    header = np.frombuffer(json.dumps({"format": "nni-count-table/0"}).encode(), np.uint8)
    np.savez(tmp_path / "t.npz", header=header)
    with pytest.raises(DataError, match="nni-count-table/0"):
        nni_count.open_table(tmp_path / "t.npz")


def test_one_factor_takes_a_bias_from_the_error(tmp_path):
    rows = made_up(2, [[0], [0]])
    rows[0]["counts"], rows[1]["counts"] = [[20.0, 40.0]], [[11.0, 19.0]]
    table = table_of(tmp_path / "t.npz", rows, 2)
    assert table.errors("cells", figure="mae") == {0: 15, 1: 1}
    corrected = table.errors("cells", figure="corrected")
    assert corrected[0] == pytest.approx(0, abs=1e-6)
    assert 0.9 < corrected[1] < 1.1


def test_ours_is_part_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "OURS", tmp_path / "trained.npz")
    with pytest.raises(DataError, match="brings no table; grow one"):
        nni_count.open_table()
    table_of(tmp_path / "trained.npz", made_up(2, [[1, 2], [3, 4]]), 2)
    assert nni_count.open_table().errors("cells") == {0: 1.5, 1: 3.5}
