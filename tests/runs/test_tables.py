import csv
import errno
import os

import pytest

from nni_count.runs.tables import GrowingTable, write_table


def test_rows_are_read_as_they_were_written_or_nothing_stands_there(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, [{"name": "a, b", "mae": 1.25}, {"name": "ü", "mae": None}])
    assert list(csv.DictReader(path.open(encoding="utf-8"))) == [
        {"name": "a, b", "mae": "1.25"},
        {"name": "ü", "mae": ""},
    ]
    write_table(path, [], ["image", "overlay"])
    assert path.read_text() == "image,overlay\n"
    with pytest.raises(ValueError, match="count"):
        write_table(path, [{"image": "a", "count": 3}], ["image"])
    assert path.read_text() == "image,overlay\n"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_are_known_stand_whatever_comes_after(tmp_path, monkeypatch):
    path = tmp_path / "counts.csv"
    table = GrowingTable(path, ["image", "overlay"])
    assert path.read_text() == "image,overlay\n"
    table.add({"image": "caf\udce9.png", "count": 1})
    table.add({"image": "b, c", "count": 2})
    whole = path.read_bytes()
    assert whole == b'image,count\r\ncaf\xe9.png,1\r\n"b, c",2\r\n'

    class Full(csv.DictWriter):
        def writerows(self, rows):
            super().writerows([{**row, "count": "half a r"} for row in rows])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(csv, "DictWriter", Full)
    with pytest.raises(OSError, match=r"No space left on device: .*counts\.csv"):
        table.add({"image": "d", "count": 3})
    assert path.read_bytes() == whole
