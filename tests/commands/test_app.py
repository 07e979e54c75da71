"""What is behind the page, without one."""

import csv
import json
import socket
import subprocess
import sys
from threading import Event

import numpy as np
import pytest
from data.clips import clip
from PIL import Image
from samples import untrained

from nni_count.cli import main
from nni_count.commands.app.counting import Counted, Photo
from nni_count.commands.app.improving import duration, improve
from nni_count.commands.app.labelling import Labelling
from nni_count.commands.app.view import OVERVIEW, SHOWN, View
from nni_count.data import open_data
from nni_count.errors import DataError
from nni_count.model import save_model


@pytest.fixture
def model():
    return untrained()


def photo(path, width=90, height=60, **how):
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **how)
    return path


def test_a_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["app", "--model", "cells", "--folder", str(tmp_path / "file")]) == 2
    assert "file is a file; give a folder" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(48, 64), (1080, 1920), (5000, 300), (1, 1)])
def test_a_click_hits_what_is_shown_there(shape):
    rng = np.random.default_rng(0)
    for times in (1, 2.5, 16):
        view = View.of(shape, times, rng.uniform(-10, np.add(shape[::-1], 10)))
        assert np.all(view.first >= 0)
        assert np.all(view.seen >= 1)
        assert np.all(view.first + view.seen <= shape[::-1])
        assert np.all(np.array(view.size) <= SHOWN)
        for click in (rng.integers(0, view.size, (20, 2))).tolist():
            point = view.pixels(click)
            assert np.all(np.array(point) >= 0)
            assert np.all(np.array(point) < shape[::-1])
            np.testing.assert_allclose(view.shown(np.array([point]))[0], np.add(click, 0.5), atol=1e-6)
        if shape == (1, 1):
            continue
        points = np.array([view.pixels((5, 5)), view.pixels((view.size[0] - 1, view.size[1] - 1))])
        assert view.hit(points, (7, 7)) == 0
        assert view.hit(points[:1], (5 + 30, 5)) is None
        assert view.hit(np.zeros((0, 2)), (5, 5)) is None
    assert max(View.of(shape, 2).overview(np.zeros((*shape, 3), np.uint8)).shape) == OVERVIEW


def test_marks_are_drawn_where_the_points_are():
    image = np.zeros((400, 600, 3), np.uint8)
    image[100:102, 450:452] = 255
    view = View.of(image.shape, 4, (450, 100))
    plain, marked = view.draw(image, np.zeros((0, 2))), view.draw(image, np.array([[451, 101]]))
    at = np.argwhere(plain.any(2)).mean(0)
    drawn = np.argwhere((marked != plain).any(2)).mean(0)
    np.testing.assert_allclose(drawn, at, atol=1)
    square = np.array([[440, 90], [460, 90], [460, 110], [440, 110]])
    assert (view.draw(image, np.zeros((0, 2)), [square]) != plain).any()


def test_photos_are_counted_and_called_as_they_are(model, tmp_path):
    (tmp_path / "a").mkdir()
    broken = tmp_path / "b.jpg"
    broken.write_text("no photo")
    uploads = [photo(tmp_path / "one.jpg"), broken, photo(tmp_path / "a" / "one.jpg", 50, 70)]
    counted = Counted(uploads, model, tmp_path)
    assert counted.names == ["one.jpg", "one_2.jpg"]
    assert counted.error.startswith("1 of 3 images were not estimated: b.jpg: not a readable image")
    rows = list(csv.DictReader((counted.out / "counts.csv").open()))
    assert [row["image"] for row in rows] == counted.names
    assert {row["image"] for row in csv.DictReader((counted.out / "points.csv").open())} == {*counted.names}
    for number, upload in ((0, uploads[0]), (1, uploads[2])):
        opened = Photo(counted, counted.names[number])
        assert opened.picture.shape == np.asarray(Image.open(upload)).shape
        assert float(rows[number]["count"]) == pytest.approx(model.count(upload), abs=0.01)
        np.testing.assert_allclose(opened.points, model.points(upload)[0], atol=1e-6)
    assert Counted([broken], model, tmp_path).rows == []


def test_regions_are_counted_as_they_are_drawn(model, tmp_path):
    upload = photo(tmp_path / "wide.png", 3200, 64)  # shown smaller
    counted = Counted([upload], model, tmp_path)
    opened = Photo(counted, "wide.png")
    assert opened.picture.shape[1] == 3000
    width, height = opened.picture.shape[1::-1]
    left = [(0, 0), (width / 3, 0), (width / 3, height), (0, height)]
    right = [(width / 3, 0), (width, 0), (width, height), (width / 3, height)]
    opened.regions[:] = [left, right, [(5, 5), (9, 9)]]  # the last one has just begun
    rows = counted.in_regions(opened)
    assert [row["region"] for row in rows] == ["region 1", "region 2"]
    assert sum(row["count"] for row in rows) == pytest.approx(model.count(upload), abs=0.02)
    assert rows[1]["count"] / rows[0]["count"] == pytest.approx(2, rel=0.2)
    assert len(list(csv.DictReader((counted.out / "regions.csv").open()))) == 2
    opened.regions[:] = [[(0, 0), (9, 9), (9, 0), (0, 9)]]
    with pytest.raises(DataError, match=r"^region 'region 1' is no polygon: crosses itself"):
        counted.in_regions(opened)


def test_a_clip_is_counted(model, tmp_path):
    counted = Counted([clip(tmp_path / "a.mp4", 2)], model, tmp_path, 0.5)
    assert [row["time"] for row in counted.rows] == [0, 0.5, 1, 1.5]
    (video,), (plot,) = counted.pictures
    assert (video.name, plot.name) == ("a_count.mp4", "a_count.png")
    assert [row["video"] for row in csv.DictReader(counted.tables[0].open())] == ["a.mp4"] * 4


def test_labels_are_saved_with_every_click_and_read_by_the_readers(model, tmp_path):
    folder, exif = tmp_path / "labels", Image.Exif()
    exif[0x0112] = 6
    upload = photo(tmp_path / "turned.jpg", exif=exif)
    labelling = Labelling(folder)
    name = labelling.add(upload)
    labelling.open(name)
    assert labelling.image.shape == (90, 60, 3)  # as viewers show it
    assert not folder.exists()  # nothing was marked
    view = View.of(labelling.image.shape)
    labelling.click(view, (100, 200), "people")
    labelling.click(view, (300, 500), "people")
    assert upload.read_bytes() == (folder / name).read_bytes()
    expected = [view.pixels(click) for click in ((100, 200), (300, 500))]

    def read():
        (sample,) = open_data(folder).samples("all")
        assert sample.read().shape == (90, 60, 3)
        return sample.points

    np.testing.assert_allclose(read(), expected, atol=0.01)
    labelling.click(view, (303, 498), "people")  # on the mark
    np.testing.assert_allclose(read(), expected[:1], atol=0.01)
    for left in (2, 1, 0, 0):
        labelling.undo()
        assert len(read()) == left
    labelling.start_from(model)
    np.testing.assert_allclose(read(), model.points(upload)[0], atol=0.01)
    later = Labelling(folder)
    later.open(name)
    assert len(later.marks) == len(labelling.marks)
    later.mark(())
    assert len(read()) == 0
    assert later.number(name) == 0


def test_photos_of_one_name_and_what_is_none(tmp_path):
    folder = tmp_path / "labels"
    labelling = Labelling(folder)
    first = photo(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    other, png = photo(tmp_path / "b" / "a.jpg", 40, 40), photo(tmp_path / "a.png")
    names = [labelling.add(upload) for upload in (first, other, png, first)]
    assert (names[0], names[3], len(set(names))) == ("a.jpg", "a.jpg", 3)
    assert len({name.partition(".")[0] for name in names}) == 3  # by which a document is called
    for name in set(names):
        labelling.open(name)
        labelling.mark(())
    assert len(open_data(folder).samples("all")) == 3
    assert Labelling(folder).add(first) == "a.jpg"  # it is there
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    for upload, said in ((text, r"^text.jpg: not a readable image"), (tmp_path / "a.heic", r"^a.heic: is none of")):
        with pytest.raises(DataError, match=said):
            labelling.add(upload)
    with pytest.raises(DataError, match="is not among the photos"):
        labelling.open("../text.jpg")
    document = folder / "labelme" / "a.json"
    shape = {"label": "x", "shape_type": "rectangle", "points": [[1, 2], [3, 4]]}
    document.write_text(json.dumps({"shapes": [shape]}))
    with pytest.raises(DataError, match="holds rectangle; correct points alone here"):
        labelling.open("a.jpg")


def test_a_model_goes_on_learning(model, tmp_path):
    save_model(model, tmp_path / "m.safetensors")
    labelling, ended, told = Labelling(tmp_path / "labels"), Event(), []
    arguments = (tmp_path / "m.safetensors", tmp_path / "labels", tmp_path / "models", 60)

    def tell(share, what):
        told.append((share, what))

    (tmp_path / "labels").mkdir()
    for number in range(4):
        labelling.open(labelling.add(photo(tmp_path / f"{number}.png", 200, 200)))
        labelling.mark(())
    with pytest.raises(DataError, match="nothing is marked in any photo"):
        improve(*arguments, tell, ended)
    for name in labelling.names:
        labelling.open(name)
        labelling.click(View.of(labelling.image.shape), (400, 400), "people")
    ended.set()  # after a step
    came = improve(*arguments, tell, ended)
    assert came.path == tmp_path / "models" / "improved_1" / "model.safetensors"
    assert came.path.is_file()
    assert (came.metric, came.learned, came.held_out) == ("mae", 3, 1)
    assert came.better == (came.after < came.before)
    assert any("learning, step 1" in what for _, what in told)
    (tmp_path / "labels" / "0.png").unlink()
    (tmp_path / "labels" / "labelme" / "0.json").unlink()
    with pytest.raises(DataError, match="3 photos are labelled; label at least 4"):
        improve(*arguments, tell, ended)
    assert [duration(seconds) for seconds in (0.2, 61, 90061)] == ["00:00:00:01", "00:00:01:01", "01:01:01:01"]


def test_what_is_in_the_way_is_told_before_anything_heavy_is_imported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = (
            "import sys\nfrom nni_count.cli import main\nsys.modules['gradio'] = None\n"
            "for options in (sys.argv[1:3], sys.argv[3:], ['--port', '0'], ['--host', 'no.such.host.invalid']):\n"
            "    assert main(['app', *options]) == 2\n"
            "assert not {'torch', 'matplotlib'} & {*sys.modules}"
        )
        command = [sys.executable, "-c", code, "--port", str(port), "--model", "missing.safetensors"]
        told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stderr.splitlines() if "note:" not in line]
    for line, said in zip(
        lines,
        (
            f"port: {port} of 127.0.0.1 cannot be had (Address already in use); choose another --port, or --host",
            "missing.safetensors: no such file; give a model.safetensors",
            "app: needs gradio, which is not installed; pip install 'nni-count[app]' brings it",
            "port: 7860 of no.such.host.invalid cannot be had",
        ),
        strict=True,
    ):
        assert line.startswith(f"nni-count: error: {said}")


def test_another_address_is_warned_of(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "warning: host: 0.0.0.0: whoever reaches this machine can use the page" in capsys.readouterr().err
