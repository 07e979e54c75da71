"""Points that were written are read again, by every form that a reader takes."""

import csv
import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nni_count.data import open_data
from nni_count.data.headers import image_size
from nni_count.data.writers import POINT_WRITERS, Marked, chosen_writers, names_of
from nni_count.errors import SettingError

SIZE = WIDTH, HEIGHT = 64, 48
READ = {"csv": "Clicks", "labelme": "LabelMe", "coco": "COCO"}
NAMES = ("a.jpg", "b ü.2.png", "turned 6.jpg", "turned 3.jpg", "empty.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(NAMES):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        exif = image.getexif()
        if name.startswith("turned"):
            exif[0x0112] = int(name[7])
        image.save(folder / name, exif=exif)
    return folder


def written(folder, photos, found, form):
    """The images in a folder with what a writer says of them."""
    shutil.copytree(photos, folder)
    paths = [folder / name for name in NAMES]
    writer = POINT_WRITERS[form](folder)
    for path, name, kinds in zip(paths, names_of(paths).values(), found, strict=True):
        writer.add(Marked(path, name, image_size(path, oriented=True), kinds))
    writer.finish()
    return paths


def of_labels(labels):
    """By label, shares of the image's width and height, and masses."""
    point = st.tuples(*[st.floats(0.01, 0.99)] * 2, st.floats(1e-3, 50))
    return st.fixed_dictionaries({label: st.lists(point, max_size=6) for label in labels})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), labels=st.sampled_from([("people",), ("car", "van, red")]))
@pytest.mark.parametrize("form", READ)
def test_points_that_are_written_are_read_again(form, photos, tmp_path, data, labels):
    drawn = [*data.draw(st.lists(of_labels(labels), min_size=4, max_size=4)), {label: [] for label in labels}]
    found = []
    for name, kinds in zip(NAMES, drawn, strict=True):
        size = image_size(photos / name, oriented=True)
        parts = {label: np.array(points, float).reshape(-1, 3) for label, points in kinds.items()}
        found.append({label: (part[:, :2] * size, part[:, 2]) for label, part in parts.items()})
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    paths = written(folder, photos, found, form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_data(folder)
        samples = {sample.path: sample for sample in dataset.samples("all")}
    assert type(dataset).__name__ == READ[form]
    for path, kinds in zip(paths, found, strict=True):
        expected = np.concatenate([points for points, _ in kinds.values()])
        np.testing.assert_allclose(samples[path].points, expected, atol=0.005 + 1e-9)
        of_each = [label for label, (points, _) in kinds.items() for _ in points]
        assert ([] if samples[path].labels is None else samples[path].labels.tolist()) == of_each
        assert samples[path].read().shape[:2] == image_size(path, oriented=True)[::-1]


def test_what_the_files_say_beside_the_points(photos, tmp_path):
    found = [{"people": (np.array([[3.004, 40.5]]), np.array([0.5]))}] + [
        {"people": (np.zeros((0, 2)), np.zeros(0))}
    ] * 4
    for form in POINT_WRITERS:
        paths = written(tmp_path / form, photos, found, form)
    rows = list(csv.DictReader(open(tmp_path / "csv" / "points.csv", encoding="utf-8")))
    assert len(rows) == len(paths)
    assert rows[0] | {"image": ""} == {
        **{"image": "", "x": "3.0", "y": "40.5", "label": "people", "mass": "0.5"},
        **{"image_width": "64", "image_height": "48"},
    }
    assert Path(rows[2]["image"]) == tmp_path / "csv" / "turned 6.jpg"
    assert (rows[2]["x"], rows[2]["image_width"]) == ("", "48")
    document = json.loads((tmp_path / "labelme" / "labelme" / "a.json").read_text())
    assert document["imagePath"] == "../a.jpg"
    assert (document["imageWidth"], document["shapes"][0]["description"]) == (64, "0.5")
    document = json.loads((tmp_path / "coco" / "points_coco.json").read_text())
    assert document["annotations"][0]["mass"] == 0.5
    assert document["annotations"][0]["bbox"] == [3, 40, 1, 1]
    document = json.loads((tmp_path / "geojson" / "geojson" / "a.geojson").read_text())
    (feature,) = document["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [3.0, 40.5]}
    assert feature["properties"] == {"label": "people", "mass": 0.5}
    assert json.loads((tmp_path / "geojson" / "geojson" / "empty.geojson").read_text())["features"] == []


def test_images_of_one_name_and_of_several_folders_keep_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    paths = [Path(name) for name in ("../one/a.jpg", "x/a.jpg", "x/a.png", "x/../x/a.bmp")]
    common = os.path.basename(tmp_path)
    names = names_of(paths)
    assert list(names.values()) == ["one/a.jpg", *(f"{common}/x/a.{end}" for end in ("jpg", "png", "bmp"))]
    writer = POINT_WRITERS["labelme"](tmp_path / "out")
    for path in paths:
        writer.add(Marked(path, names[path], SIZE, {}))
    files = {path.relative_to(tmp_path / "out" / "labelme").as_posix() for path in (tmp_path / "out").rglob("*.json")}
    assert files == {"one/a.json", *(f"{common}/x/a{end}.json" for end in ("", "_2", "_3"))}


@pytest.mark.parametrize("form", READ)
def test_points_of_images_in_several_folders_are_read_again(tmp_path, form):
    """Two photos of one name, in the folder of each day."""
    paths = [tmp_path / day / f"{number}.png" for day in ("monday", "tuesday") for number in (1, 2)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(path)
    writer = POINT_WRITERS[form](tmp_path)
    for number, (path, name) in enumerate(names_of(paths).items(), 1):
        writer.add(Marked(path, name, SIZE, {"people": (np.array([[5.0, 6.0]] * number), np.ones(number))}))
    writer.finish()
    samples = {sample.path: len(sample.points) for sample in open_data(tmp_path).samples("all")}
    assert [samples[path] for path in paths] == [1, 2, 3, 4]


def test_forms_are_named_with_commas_or_as_a_list():
    assert chosen_writers("csv, coco,csv") == chosen_writers(["csv", "coco"])
    for wrong, shown in (("csv,xml", "'xml'"), ([], "'nothing'"), ("", "''")):
        with pytest.raises(SettingError, match=f"points: {shown} is unknown; known: csv, geojson, labelme, coco"):
            chosen_writers(wrong)
