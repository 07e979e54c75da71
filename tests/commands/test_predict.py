import csv
import errno
import json
import os
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import random_architecture

from nni_count.cli import main
from nni_count.cli.show import show
from nni_count.commands.predict import predict
from nni_count.data import open_data
from nni_count.data.images import read_image
from nni_count.data.origin import Origin
from nni_count.errors import DataError, Note, SettingError, Unread
from nni_count.model import Model, load_model, save_model
from nni_count.networks import create
from nni_count.runs.files import write_image
from nni_count.runs.tables import rounded
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.counting import Counting
from nni_count.tasks.task import Task


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


def test_maps_are_kept_where_they_are_asked_for(model, photos, tmp_path):
    (photos / "b.png").rename(photos / "b.jpg.png")
    rows = predict(photos, model=model, out=tmp_path / "out", maps=True)
    for row in rows:
        kept = np.load(tmp_path / "out" / f"{row['overlay'].removesuffix('.jpg')}.npy")
        assert kept.dtype == np.float32
        np.testing.assert_array_equal(kept, model.map(row["image"]))
    predict(photos, model=model, out=tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.npy"))
    with pytest.raises(SettingError, match="maps: are written into --out"):
        predict(photos, model=model, maps=True)


def test_small_numbers_keep_their_digits():
    found = rounded(dict(enumerate((1234.567, 1.004, 0.0123456, 3e-7, 0.0, "a"))))
    assert list(found.values()) == [1234.57, 1.0, 0.01235, 3e-7, 0.0, "a"]


def test_a_terminal_sees_how_far_it_is(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    predict(photos, model=model)
    assert "estimating" in capsys.readouterr().err
    monkeypatch.undo()
    predict(photos, model=model)
    assert capsys.readouterr().err == ""


def test_what_was_counted_before_the_disk_was_full_stands(model, photos, tmp_path, monkeypatch):
    def full(path, image):
        if path.name.startswith("b"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_image(path, image)

    monkeypatch.setattr("nni_count.commands.predict_results.write_image", full)
    with pytest.raises(OSError, match="b_count"):
        predict(photos, model=model, out=tmp_path / "out")
    (row,) = csv.DictReader(open(tmp_path / "out" / "counts.csv"))
    assert row["image"] == str(photos / "a.jpg")
    long = photos / ("ü" * 120 + ".png")
    (photos / "b.png").rename(long)
    (row,) = predict(long, model=model, out=tmp_path / "long")
    assert (tmp_path / "long" / row["overlay"]).is_file()


def test_without_a_folder_images_are_counted_and_nothing_is_written(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Counting, "draw", None)
    before = {*tmp_path.rglob("*")}
    (row,) = predict(photos / "a.jpg", model=model)
    assert row == {"image": str(photos / "a.jpg"), "count": pytest.approx(model.count(photos / "a.jpg"), abs=0.01)}
    assert {*tmp_path.rglob("*")} == before
    (photos / "b.png").write_bytes(b"broken")
    with pytest.raises(Unread, match=r"1 of 2 images were not estimated: ") as told:
        predict(photos, model=model)
    assert told.value.rows == [row]
    save_model(model, tmp_path / "m.safetensors")
    assert main(["predict", str(photos), "--model", str(tmp_path / "m.safetensors")]) == 2
    said = capsys.readouterr()
    assert said.out == f"{row['count']:10.2f}  {photos / 'a.jpg'}\n"
    assert "1 of 2 images were not estimated: " in said.err


def test_of_many_images_that_cannot_be_read_each_is_named(model, photos):
    for number in range(20):
        (photos / f"{number}.png").write_bytes(b"broken")
    with (
        pytest.warns(UserWarning, match="not a readable image") as warned,
        pytest.raises(DataError, match="20 of 22 images were not estimated: each is named above"),
    ):
        predict(photos, model=model)
    said = " ".join(str(warning.message) for warning in warned)
    assert all(f"/{number}.png: not a readable image" in said for number in range(20))


def test_an_image_may_be_given_by_its_address(model, photos):
    (row,) = predict(f"file://{photos}/a.jpg", model=model)
    assert row == predict(photos / "a.jpg", model=model)[0]


def test_an_image_that_is_given_twice_is_estimated_once(model, photos, tmp_path):
    with pytest.warns(Note, match="1 of the images are given twice, and estimated once"):
        rows = predict([photos / "b.png", photos], model=model)
    assert [Path(row["image"]).name for row in rows] == ["b.png", "a.jpg"]


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
    for none in ([], (), iter([])):
        with pytest.raises(DataError, match="images: none are given; name files"):
            predict(none, model=model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_may_come_one_by_one(model, photos, tmp_path):
    rows = predict((path for path in (photos / "a.jpg", photos / "b.png")), model=model, out=tmp_path / "out")
    assert rows == json.loads((tmp_path / "out" / "counts.json").read_text())
    assert len(rows) == 2


def test_what_a_folder_holds_beside_images_is_said(model, photos):
    for name in ("._a.jpg", "b.gif", "c.heic"):
        (photos / name).write_bytes(b"not an image")
    with pytest.warns(UserWarning, match=r"5 left out \(\._a.jpg, b.gif, c.heic, more/, notes.txt\)"):
        assert len(predict(photos, model=model)) == 2
    (photos / "a.jpg").unlink()
    (photos / "b.png").unlink()
    with pytest.raises(DataError, match=r"holds no images .*, but \._a.jpg, b.gif"):
        predict(photos, model=model)


def test_pages_and_depth_can_be_named_and_come_from_the_model(model, photos, tmp_path):
    deep = np.random.default_rng(0).integers(0, 4096, (40, 60, 3), np.uint16)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    with pytest.raises(DataError, match=r"has 16 bits, of which it uses 12: .*--white"):
        predict(tmp_path / "a.png", model=model)
    model.network.up_sampling.second.weight.data *= 1000
    model.network.up_sampling.second.bias.data += 10
    (row,) = predict(tmp_path / "a.png", model=model, white=4095)
    assert row["count"] > 0
    eight = np.round(deep[:, :, ::-1] * (255 / 4095)).astype(np.uint8)
    assert row["count"] == pytest.approx(model.count(eight), rel=0.01)
    model.origin = Origin("", {"white": 4095}, {})
    with pytest.warns(Note, match="as the model was trained: images with white 4095"):
        assert predict(tmp_path / "a.png", model=model) == [row]
    assert model.count(tmp_path / "a.png") == pytest.approx(row["count"], abs=0.01)
    with pytest.warns(UserWarning, match="white: 8000 is given, but the model was trained with 4095"):
        assert predict(tmp_path / "a.png", model=model, white=8000) != [row]
    with pytest.raises(SettingError, match="white: 0; give a number from 1 to 65535"):
        predict(tmp_path / "a.png", model=model, white=0)


def test_names_that_are_no_utf_8(model, tmp_path, capfdbinary):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        name = folder / os.fsdecode(b"caf\xe9%d.png" % number)
        name.write_bytes(cv2.imencode(".png", np.full((40, 60, 3), 50 * number, np.uint8))[1].tobytes())
    save_model(model, tmp_path / "m.safetensors")
    code = main(["predict", str(folder), "--model", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "out")])
    told = capfdbinary.readouterr()
    assert (code, told.err) == (0, b"")
    assert told.out.count(b"caf\xe9") == 4
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe93_count.jpg")).is_file()
    assert (tmp_path / "out" / "counts.csv").read_bytes().count(b"caf\xe9") == 8
    for path in list(folder.iterdir()):
        path.with_suffix(".csv").write_text("4,4\n")
    options = ["--data", str(folder), "--split", "all", "--model", str(tmp_path / "m.safetensors")]
    code = main(["evaluate", *options, "--out", str(tmp_path / "evaluation")])
    assert (code, capfdbinary.readouterr().err) == (0, b"")
    assert (tmp_path / "evaluation" / "per_image.csv").read_bytes().count(b"caf\xe9") == 4


def test_a_black_image_has_nobody_in_it(model, tmp_path):
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((64, 64, 3), np.uint8))
    model.network.up_sampling.second.bias.data -= 1
    assert model.density(tmp_path / "black.png").sum() < 0
    assert predict(tmp_path / "black.png", model=model)[0]["count"] == model.count(tmp_path / "black.png") == 0


def test_points_are_written_and_read_again(model, photos, tmp_path):
    model.network.up_sampling.second.bias.data += 2  # an untrained one might count nobody
    out = tmp_path / "out"
    rows = predict(photos, model=model, out=out, points="csv,labelme,coco,geojson")
    table = list(csv.DictReader(open(out / "points.csv")))
    for row in rows:
        expected, mass = model.points(row["image"])
        found = [line for line in table if line["image"] == row["image"]]
        np.testing.assert_allclose([[float(line["x"]), float(line["y"])] for line in found], expected, atol=0.006)
        assert sum(float(line["mass"]) for line in found) == pytest.approx(row["count"], abs=0.01)
        assert len(found) == len(mass) > 0
    assert {path.name for path in (out / "labelme").iterdir()} == {"a.json", "b.json"}
    assert {path.name for path in (out / "geojson").iterdir()} == {"a.geojson", "b.geojson"}
    for file in ("points.csv", "labelme", "points_coco.json"):
        place = (out / file).rename(photos / file)
        samples = open_data(photos).samples("all")
        assert [sample.count for sample in samples] == [len(model.points(row["image"])[0]) for row in rows]
        place.rename(out / file)


def test_points_need_a_folder_a_known_form_and_a_model_that_counts(model, photos, tmp_path):
    with pytest.raises(SettingError, match="points: are written into --out"):
        predict(photos, model=model, points="csv")
    with pytest.raises(SettingError, match="points: 'kml' is unknown; known: csv, geojson, labelme, coco"):
        predict(photos, model=model, out=tmp_path / "out", points="kml")
    model.task = Light()
    with pytest.raises(SettingError, match="points: the model's task, Light, counts nothing; leave it out"):
        predict(photos, model=model, out=tmp_path / "out", points="csv")
    assert not (tmp_path / "out").exists()


class Light(Task):
    """A task that counts nothing."""

    main_metric = "error"

    def target(self, sample, shape, stride):
        return np.zeros((1, *shape), np.float32)

    def measure(self, estimate, sample, shape):
        return {"error": 0.0}


def drawn(path, size, **polygons):
    """Regions as LabelMe has them."""
    shapes = [{"label": label, "points": points, "shape_type": "polygon"} for label, points in polygons.items()]
    path.write_text(json.dumps({"shapes": shapes, "imageWidth": size[0], "imageHeight": size[1]}))
    return path


def test_regions_are_counted_by_name(model, tmp_path, capsys):
    """Two halves of an image sum to it, wherever its cells are cut, also of one that is scaled down."""
    model.network.up_sampling.second.bias.data += 2  # an untrained one might count nobody
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8))
    left, right = [[0, 0], [33.3, 0], [21, 45], [0, 45]], [[33.3, 0], [70, 0], [70, 45], [21, 45]]
    regions = drawn(
        tmp_path / "regions.json", (70, 45), left=left, right=right, all=[[0, 0], [70, 0], [70, 45], [0, 45]]
    )
    for number, max_side in enumerate((None, 50)):
        model.origin = max_side and Origin("", {"max_side": max_side}, {})
        out = tmp_path / f"out{number}"
        (row,) = predict(tmp_path / "a.png", model=model, out=out, regions=regions, metres_per_pixel=0.5)
        counts = {region["region"]: region["count"] for region in row["regions"]}
        assert counts["all"] == row["count"] > 1
        assert counts["left"] + counts["right"] == pytest.approx(row["count"], abs=0.02)
        share = model.density(tmp_path / "a.png").sum(0)
        assert 0.3 * share.sum() < counts["left"] < 0.5 * share.sum()
        first, _, last = row["regions"]
        assert (first["square_metres"], last["square_metres"], row["square_metres"]) == (305.44, 787.5, 787.5)
        assert row["per_square_metre"] == pytest.approx(row["count"] / 787.5, abs=1e-4)
        assert first["per_square_metre"] == pytest.approx(first["count"] / 305.44, abs=1e-4)
        table = list(csv.DictReader(open(out / "regions.csv")))
        assert [(line["image"], line["region"], float(line["count"])) for line in table] == [
            (row["image"], region["region"], region["count"]) for region in row["regions"]
        ]
        assert "regions" not in next(csv.DictReader(open(out / "counts.csv")))
        assert json.loads((out / "counts.json").read_text()) == [row]
        predict(tmp_path / "a.png", model=model, out=tmp_path / f"plain{number}")
        pictures = [cv2.imread(str(place / row["overlay"])) for place in (out, tmp_path / f"plain{number}")]
        assert (pictures[0] != pictures[1]).any(2).mean() > 0.02
    show("predict", [row], None, None)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in told] == [row["image"], "left", "right", "all"]
    assert told[1].split()[0] == f"{first['count']:.2f}"


def test_regions_of_several_classes_are_counted_and_drawn_for_each(tmp_path):
    architecture = random_architecture(3)
    task = CountingClasses(classes=("car", "van"))
    model = Model(create("amsnet", architecture, out_channels=2), "amsnet", architecture, task)
    write_image(tmp_path / "a.png", np.full((48, 64, 3), 90, np.uint8))
    regions = drawn(tmp_path / "regions.json", (64, 48), street=[[0, 0], [64, 0], [64, 48], [0, 48]])
    (row,) = predict(tmp_path / "a.png", model=model, out=tmp_path / "out", regions=regions)
    (street,) = row["regions"]
    assert {name: street[name] for name in ("car", "van", "total")} == {
        name: row[name] for name in ("car", "van", "total")
    }
    predict(tmp_path / "a.png", model=model, out=tmp_path / "plain")
    one, other = (cv2.imread(str(tmp_path / place / row["overlay"])) for place in ("out", "plain"))
    assert [(one != other)[:, half].any() for half in (np.s_[:64], np.s_[64:])] == [True, True]


def test_regions_that_cannot_be_counted_are_said_before_anything_is(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "map", None)
    square, photo = [[0, 0], [20, 0], [20, 20], [0, 20]], photos / "a.jpg"
    for regions, images, what in (
        (drawn(tmp_path / "size.json", (60, 40), a=square), photos, r"drawn on 60×40 pixels, but \S+b.png has 21×33"),
        (drawn(tmp_path / "out.json", (0, 0), a=[[50, 0], [70, 0], [70, 9]]), photo, "region 'a', .* beyond"),
        (drawn(tmp_path / "bow.json", (60, 40), a=[square[i] for i in (0, 2, 1, 3)]), photos, "'a' .*crosses itself"),
        (photos / "b.png", photos / "a.jpg", r"b.png: .*|has \d+ values"),
        (tmp_path / "none.json", photos, "none.json: cannot be read"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=what):
            predict(images, model=model, out=tmp_path / "out", regions=regions)
    model.task = Light()
    for name, value in (("regions", tmp_path / "size.json"), ("metres_per_pixel", 0.1)):
        with pytest.raises(SettingError, match=f"{name}: the model's task, Light, counts nothing"):
            predict(photos, model=model, out=tmp_path / "out", **{name: value})
    for wrong in (-1, 0, 1e-300, 1e200):
        with pytest.raises(SettingError, match=r"metres_per_pixel: .*; give a number from 1e-09 to 1000000"):
            predict(photos, model=model, metres_per_pixel=wrong)
    assert not (tmp_path / "out").exists()


def test_the_next_image_is_read_while_one_is_estimated(model, photos, monkeypatch):
    begun = {path.name: threading.Event() for path in photos.iterdir()}

    def reading(path, **settings):
        begun[path.name].set()
        return read_image(path, **settings)

    def estimating(image, views):
        assert begun["b.png"].wait(10)  # before the first image is done
        return np.zeros((1, 2, 2), np.float32)

    monkeypatch.setattr("nni_count.commands.predict.read_image", reading)
    monkeypatch.setattr(model, "estimate", estimating)
    assert [Path(row["image"]).name for row in predict(photos, model=model)] == ["a.jpg", "b.png"]


def test_threads_and_bfloat16(model, photos, tmp_path, monkeypatch):
    save_model(model, tmp_path / "m.safetensors")
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    load_model(tmp_path / "m.safetensors", threads=3)
    load_model(tmp_path / "m.safetensors")
    assert given == [3]
    for wrong in ({"threads": 0}, {"threads": -1}, {"device": "quantum"}, {"device": "cuda:99"}):
        with pytest.raises(SettingError, match=rf"{next(iter(wrong))}: .*{next(iter(wrong.values()))}"):
            load_model(tmp_path / "m.safetensors", **wrong)
    exact = model.map(photos / "a.jpg")
    model.bfloat16 = True
    off = np.abs(model.map(photos / "a.jpg") - exact).max()
    assert 0 < off < 0.05 * np.abs(exact).max()
