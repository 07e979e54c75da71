"""Every reader is put through the same questions, on its genuine layout."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from data.layouts import HEIGHT, SHARED, WIDTH, Written, image, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nni_count.data import READERS, dataset, files, known_settings, open_data
from nni_count.data.readers import mall
from nni_count.data.readers.text import read_points
from nni_count.errors import DataError, SettingError

ROOT = Path(__file__).parents[3]

every_reader = pytest.mark.parametrize("layout", READERS)


@pytest.fixture(autouse=True)
def small_mall(monkeypatch):
    monkeypatch.setattr(mall, "TRAINING_FRAMES", 3)


@pytest.fixture
def points():
    """Of six images, the fifth with nobody; whole pixels' centres, which dot images can hold too."""
    rng = np.random.default_rng(1)
    found = [rng.choice(WIDTH * HEIGHT, number, replace=False) for number in (4, 7, 2, 9, 0, 5)]
    return [np.stack([cells % WIDTH, cells // WIDTH], 1) + 0.5 for cells in found]


def by_path(samples):
    return {sample.path: sample for sample in samples}


@every_reader
def test_a_set_is_recognised_and_every_point_is_where_it_was_put(layout, tmp_path, points):
    written = write(layout, tmp_path / "set", points)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_data(tmp_path / "set")
        samples = dataset.samples("all")
    assert type(dataset) is READERS[layout]
    found = by_path(samples)
    assert len(samples) == len(found) == len(written.images)
    for path, expected in zip(written.images, points, strict=True):
        assert found[path].count == len(expected)
        order = np.lexsort(expected.T), np.lexsort(found[path].points.T)
        np.testing.assert_allclose(found[path].points[order[1]], expected[order[0]], atol=1e-9)
        assert found[path].read().shape == (HEIGHT, WIDTH, 3)


@every_reader
def test_the_parts_are_disjoint_and_whole(layout, tmp_path, points):
    written = write(layout, tmp_path / "set", points)
    dataset = open_data(tmp_path / "set")
    paths = [sample.path for split in dataset.splits for sample in dataset.samples(split)]
    assert sorted(paths) == sorted(written.images)
    assert all(sample.name for sample in dataset.samples("train"))
    if layout in ("shanghaitech", "ucf_qnrf", "worldexpo", "mall", "jhu_crowd", "nwpu", "dots"):
        assert [sample.path for sample in dataset.samples("train")] == written.images[:3]
    with pytest.raises(SettingError, match=r"no split 'tset'; found: train, (test|val); or choose all"):
        dataset.samples("tset")


@every_reader
def test_an_image_without_points_is_named(layout, tmp_path, points):
    index = 5 if layout == "mall" else 1  # Mall's one file numbers the frames
    points[index] = None
    path = write(layout, tmp_path / "set", points).images[index]
    with pytest.raises(DataError, match=rf"{name_in(layout, path)}.*image without points.*add the file"):
        open_data(tmp_path / "set").samples("all")


@every_reader
def test_points_without_an_image_are_named(layout, tmp_path, points):
    path = write(layout, tmp_path / "set", points).images[1]
    path.unlink()
    with pytest.raises(DataError, match=rf"{name_in(layout, path)}.*points without an image"):
        open_data(tmp_path / "set").samples("all")


def name_in(layout, path):
    return path.stem.removesuffix("cell") if layout == "dots" else path.stem


def spoil(layout, path):
    data = path.read_bytes()
    path.write_bytes(b"3;x\n4 y" if layout in ("csv", "jhu_crowd") else data[: len(data) * 2 // 3])


@every_reader
def test_a_corrupt_annotation_is_named(layout, tmp_path, points):
    path = write(layout, tmp_path / "set", points).annotations[1]
    spoil(layout, path)
    with pytest.raises(DataError, match=path.name) as caught:
        open_data(tmp_path / "set").samples("all")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@every_reader
@pytest.mark.parametrize("coordinate", [np.nan, np.inf])
def test_a_point_that_is_no_number_is_named(layout, tmp_path, points, coordinate):
    if layout in ("dots", "masks"):
        pytest.skip("pixels are numbers")
    points[1][0, 1] = coordinate
    write(layout, tmp_path / "set", points)
    with pytest.raises(DataError, match=r"NaN or infinite|not understood|not readable"):
        open_data(tmp_path / "set").samples("all")


@every_reader
def test_a_truncated_image_is_named_when_it_is_read(layout, tmp_path, points):
    path = write(layout, tmp_path / "set", points).images[1]
    path.write_bytes(path.read_bytes()[:-900])
    sample = by_path(open_data(tmp_path / "set").samples("all"))[path]
    with pytest.raises(DataError, match=rf"{path.name}: not a readable image .*truncated"):
        sample.read()


@every_reader
@pytest.mark.parametrize(("outside", "count"), [("clamp", 7), ("drop", 5), ("keep", 7)])
def test_points_outside_are_settled_with_a_word(layout, tmp_path, points, outside, count):
    if layout in ("dots", "masks"):
        pytest.skip("a pixel of the dot image lies in the image")
    points[1][:2] = (-3, 5), (WIDTH + 2, HEIGHT)
    path = write(layout, tmp_path / "set", points).images[1]
    with pytest.warns(UserWarning, match=r"2 points lie outside their image; .*--data.outside"):
        sample = by_path(open_data(tmp_path / "set", outside=outside).samples("all"))[path]
    if layout == "worldexpo" and outside == "keep":
        count = 5  # what lies outside the image lies outside the region of interest
    assert sample.count == count
    inside = ((sample.points >= 0) & (sample.points < (WIDTH, HEIGHT))).all(1)
    assert inside.all() == (count == 5 or outside == "clamp")


@every_reader
def test_all_faults_are_collected_and_the_sound_images_given(layout, tmp_path, points):
    if layout == "mall":
        points[5] = None
    written = write(layout, tmp_path / "set", points)
    written.images[0].write_bytes(b"no image")
    written.images[3].unlink()
    if layout not in SHARED:
        spoil(layout, written.annotations[2])
    dataset = open_data(tmp_path / "set")
    samples, faults = dataset.collect("all")
    assert len(faults) == 3 - (layout in SHARED - {"mall"})
    assert {sample.path for sample in samples} <= set(written.images)
    assert len(samples) == 6 - len(faults)
    text = "\n".join(map(str, faults))
    assert written.images[0].name in text
    assert name_in(layout, written.images[3]) in text
    with pytest.raises(DataError):
        dataset.samples("all")  # collecting changes nothing


@every_reader
def test_collecting_from_a_sound_set_finds_nothing(layout, tmp_path, points):
    write(layout, tmp_path / "set", points)
    for split in open_data(tmp_path / "set").splits:
        samples, faults = open_data(tmp_path / "set").collect(split)
        assert samples
        assert not faults


@every_reader
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(max_side=st.integers(16, 80))
def test_large_images_are_scaled_with_their_points(layout, tmp_path_factory, points, max_side):
    root = tmp_path_factory.mktemp("scaled") / "set"
    written = write(layout, root, points)
    plain, scaled = (by_path(open_data(root, **more).samples("all")) for more in ({}, {"max_side": max_side}))
    for path in written.images:
        height, width = scaled[path].read().shape[:2]
        assert max(width, height) == min(max_side, WIDTH)
        factor = np.array([width / WIDTH, height / HEIGHT])
        np.testing.assert_allclose(scaled[path].points, plain[path].points * factor)


@every_reader
def test_lists_of_names_make_the_parts(layout, tmp_path, points):
    written = write(layout, tmp_path / "set", points)
    names = [str(path.relative_to(tmp_path / "set")) for path in written.images]
    (tmp_path / "test.txt").write_text(f"{names[0]}\n\n{names[4]}\n")
    (tmp_path / "train.txt").write_text(f"{names[2]}\r\n")
    both = {"train_list": tmp_path / "train.txt", "test_list": tmp_path / "test.txt"}
    dataset = open_data(tmp_path / "set", **both)
    assert [sample.path for sample in dataset.samples("test")] == [written.images[0], written.images[4]]
    assert [sample.path for sample in dataset.samples("train")] == [written.images[2]]
    train = open_data(tmp_path / "set", test_list=both["test_list"]).samples("train")
    assert train
    assert not {sample.path for sample in train} & {written.images[0], written.images[4]}
    (tmp_path / "train.txt").write_text(names[0])
    with pytest.raises(DataError, match=r"test.txt: .* is in .*train.txt too"):
        open_data(tmp_path / "set", **both).samples("test")
    (tmp_path / "train.txt").write_text(f"{names[2]}\n{names[2]}\n")
    with pytest.raises(DataError, match=r"train.txt, line 2: .* is listed twice"):
        open_data(tmp_path / "set", **both).samples("train")
    (tmp_path / "train.txt").write_text("missing.jpg")
    with pytest.raises(DataError, match=r"train.txt, line 1: 'missing.jpg' is no image of"):
        open_data(tmp_path / "set", **both).samples("test")


@every_reader
def test_images_that_are_left_out_are_in_no_part(layout, tmp_path, points):
    written = write(layout, tmp_path / "set", points)
    name = str(written.images[2].relative_to(tmp_path / "set"))
    (tmp_path / "out.txt").write_text(f"{name}\n")
    before, after = (
        {path for split in data.splits for path in by_path(data.samples(split))}
        for data in (open_data(tmp_path / "set"), open_data(tmp_path / "set", leave_out=tmp_path / "out.txt"))
    )
    assert before - after == {written.images[2]}


@every_reader
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sides": 3},
            r"data\.sides: \w+ has no such setting; known: .*max_side, train_list, test_list, leave_out",
        ),
        ({"max_side": "big"}, r"data\.max_side: 'big'; give a whole number or null"),
        ({"max_side": 99.5}, r"data\.max_side: 99.5"),
        ({"max_side": True}, r"data\.max_side: True"),
        ({"max_side": -1}, r"data\.max_side: -1"),
        ({"leave_out": 5}, r"data\.leave_out: 5; give a text or a path or null"),
    ],
)
def test_settings_that_do_not_fit_are_named(layout, tmp_path, points, settings, message):
    write(layout, tmp_path / "set", points)
    with pytest.raises(SettingError, match=message):
        open_data(tmp_path / "set", **settings)


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        ("ucf_cc_50", {"fold": 6}),
        ("ucf_cc_50", {"fold": "two"}),
        ("ucf_cc_50", {"fold_seed": -1}),
        ("worldexpo", {"scene": 5}),
        ("dots", {"train_images": 0}),
        ("dots", {"train_seed": "x"}),
        ("csv", {"test_fraction": 1}),
        ("csv", {"test_fraction": "x"}),
        ("csv", {"split_seed": "x"}),
        ("labelme", {"label": "hat"}),
        ("cvat", {"label": "hat"}),
        ("voc", {"label": "hat"}),
        ("coco", {"label": "hat"}),
    ],
)
def test_values_that_do_not_fit_are_named(layout, settings, tmp_path, points):
    write(layout, tmp_path / "set", points)
    (name,) = settings
    assert name in known_settings(READERS[layout])
    with pytest.raises(SettingError, match=rf"data\.{name}"):
        open_data(tmp_path / "set", **settings).samples("train")


def test_the_reader_shown_in_contributing_reads(tmp_path):
    shown = re.search(r"```python\n(class Dots\(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    known = {**vars(dataset), **vars(files), "read_points": read_points}
    exec(shown, known)
    image(tmp_path / "images" / "a.png", Written())
    (tmp_path / "dots").mkdir()
    (tmp_path / "dots" / "a.txt").write_text("3 4\n5.5 6\n")
    assert known["Dots"].recognises(tmp_path)
    (sample,) = known["Dots"](tmp_path).samples("train")
    np.testing.assert_array_equal(sample.points, [[3, 4], [5.5, 6]])
    (tmp_path / "dots" / "a.txt").unlink()
    with pytest.raises(DataError, match="nothing for a"):
        known["Dots"](tmp_path).samples("train")


def test_a_folder_that_fits_two_layouts_is_settled_by_name(tmp_path, points):
    write("labelme", tmp_path / "set", points)
    (tmp_path / "set" / "results.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r"fits csv and labelme; say which with --data.format"):
        open_data(tmp_path / "set")
    assert len(open_data(tmp_path / "set", format="labelme").samples("all")) == 6


def test_own_data_is_divided_by_a_seed(tmp_path, points):
    write("csv", tmp_path / "set", points * 10)
    parts = [[sample.name for sample in open_data(tmp_path / "set", split_seed=s).samples("test")] for s in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert 5 <= len(parts[0]) <= 19
    assert {*parts[0]} < {sample.name for sample in open_data(tmp_path / "set", test_fraction=0.5).samples("test")}
