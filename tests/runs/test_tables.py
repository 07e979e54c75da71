import csv

import pytest

from nni_count.runs.tables import write_table


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
