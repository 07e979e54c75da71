import csv
import errno
import json

import cv2
import numpy as np
import pytest
from conftest import random_architecture

from nni_count.commands.predict import predict
from nni_count.errors import DataError, SettingError
from nni_count.model import Model
from nni_count.networks import create
from nni_count.runs.files import write_image
from nni_count.tasks.counting import Counting


@pytest.fixture
def model():
    architecture = random_architecture(3)
    return Model(create("amsnet", architecture), "amsnet", architecture, Counting())


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in (("a.jpg", (40, 60, 3)), ("b.png", (33, 21)), ("more/a.jpg", (50, 50, 3))):
        cv2.imwrite(str(folder / name), rng.integers(0, 256, shape, np.uint8))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_files_and_folders_are_counted(model, photos, tmp_path):
    rows = predict([photos, photos / "more" / "a.jpg"], model=model, out=tmp_path / "out")
    assert [row["image"] for row in rows] == [str(photos / name) for name in ("a.jpg", "b.png", "more/a.jpg")]
    assert rows[0]["count"] == pytest.approx(model.count(photos / "a.jpg"), abs=0.01)
    assert len({row["overlay"] for row in rows}) == 3
    for row, shape in zip(rows, ((40, 60, 3), (33, 21, 3), (50, 50, 3)), strict=True):
        assert cv2.imread(str(tmp_path / "out" / row["overlay"])).shape == shape
    assert json.loads((tmp_path / "out" / "counts.json").read_text()) == rows
    assert [float(r["count"]) for r in csv.DictReader(open(tmp_path / "out" / "counts.csv"))] == [
        r["count"] for r in rows
    ]


def test_what_was_counted_before_the_disk_was_full_stands(model, photos, tmp_path, monkeypatch):
    def full(path, image):
        if path.name.startswith("b"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_image(path, image)

    monkeypatch.setattr("nni_count.commands.predict.write_image", full)
    with pytest.raises(OSError, match="b_count"):
        predict(photos, model=model, out=tmp_path / "out")
    (row,) = csv.DictReader(open(tmp_path / "out" / "counts.csv"))
    assert row["image"] == str(photos / "a.jpg")
    long = photos / ("ü" * 120 + ".png")
    (photos / "b.png").rename(long)
    (row,) = predict(long, model=model, out=tmp_path / "long")
    assert (tmp_path / "long" / row["overlay"]).is_file()


def test_without_a_folder_images_are_counted_and_nothing_is_written(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Counting, "draw", None)
    before = {*tmp_path.rglob("*")}
    (row,) = predict(photos / "a.jpg", model=model)
    assert row == {"image": str(photos / "a.jpg"), "count": pytest.approx(model.count(photos / "a.jpg"), abs=0.01)}
    assert {*tmp_path.rglob("*")} == before
    (photos / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 2 images were not estimated: "):
        predict(photos, model=model)


def test_views_are_averaged(model, photos, tmp_path):
    (row,) = predict(photos / "a.jpg", model=model, views=8, out=tmp_path / "out")
    assert row["count"] == pytest.approx(model.count(photos / "a.jpg", views=8), abs=0.01)
    with pytest.raises(SettingError, match="views: 5"):
        predict(photos, model=model, views=5, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_one_bad_image_does_not_lose_the_others(model, photos, tmp_path):
    (photos / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 2 images were not estimated.*b.png: not a readable image"):
        predict(photos, model=model, out=tmp_path / "out")
    assert [row["image"] for row in json.loads((tmp_path / "out" / "counts.json").read_text())] == [
        str(photos / "a.jpg")
    ]


def test_a_photo_is_turned_as_its_camera_says(model, tmp_path):
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "turned.jpg", exif=exif)
    (row,) = predict(tmp_path / "turned.jpg", model=model, out=tmp_path / "out")
    assert cv2.imread(str(tmp_path / "out" / row["overlay"])).shape == (64, 40, 3)


def test_nothing_to_count_is_said(model, tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        predict(tmp_path / "missing.jpg", model=model, out=tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        predict(tmp_path / "empty", model=model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
