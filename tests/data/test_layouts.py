"""What is special about a layout: folds, scenes, regions of interest, labels; and the real sets' totals."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import random_architecture
from data.layouts import HEIGHT, WIDTH, Written, image, mat_7_3, write
from PIL import Image
from scipy.io import savemat

from nni_count.commands.evaluate import evaluate, table
from nni_count.data import open_data
from nni_count.data.sample import MEAN_COLOUR, region
from nni_count.errors import DataError, SettingError
from nni_count.model import Model
from nni_count.networks import create
from nni_count.tasks.counting import Counting


def some(number, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((3, 2)) * (WIDTH, HEIGHT) for _ in range(number)]


def names(dataset, split):
    return [sample.name for sample in dataset.samples(split)]


# --- UCF_CC_50


def test_folds_are_ten_images_in_order(tmp_path):
    write("ucf_cc_50", tmp_path / "set", some(50))
    for fold in range(1, 6):
        dataset = open_data(tmp_path / "set", fold=fold)
        assert names(dataset, "test") == [str(n) for n in range(10 * fold - 9, 10 * fold + 1)]
        assert len(set(names(dataset, "train")) | set(names(dataset, "test"))) == 50
    assert open_data(tmp_path / "set", fold=2).name == "UCF_CC_50 fold 2 (in order)"


def test_shuffled_folds_can_be_written_and_repeated(tmp_path):
    write("ucf_cc_50", tmp_path / "set", some(50))
    file = tmp_path / "folds.txt"
    with pytest.raises(DataError, match=r"folds.txt: no such file; give data.fold_seed"):
        open_data(tmp_path / "set", folds=file).samples("test")
    drawn = [names(open_data(tmp_path / "set", fold=n, fold_seed=7), "test") for n in range(1, 6)]
    assert sorted(sum(drawn, []), key=int) == [str(n) for n in range(1, 51)]  # noqa: RUF017
    assert drawn[0] != [str(n) for n in range(1, 11)]
    assert names(open_data(tmp_path / "set", fold_seed=7, folds=file), "test") == drawn[0]
    assert [names(open_data(tmp_path / "set", fold=n, folds=file), "test") for n in range(1, 6)] == drawn
    with pytest.raises(SettingError, match="other folds"):
        open_data(tmp_path / "set", fold_seed=8, folds=file).samples("test")
    file.write_text("1 2 3\n4 5\n")
    with pytest.raises(DataError, match=r"folds.txt: expected 5 lines"):
        open_data(tmp_path / "set", folds=file).samples("test")


# --- WorldExpo'10


@pytest.fixture
def worldexpo(tmp_path):
    """Two test scenes; in the first only the left half counts."""
    root = tmp_path / "set"
    write("worldexpo", root, some(4))
    left = {"maskVerticesXCoordinates": [[1], [33], [33], [1]], "maskVerticesYCoordinates": [[1], [1], [49], [49]]}
    mat_7_3(root / "test_label" / "104207" / "roi.mat", **left)
    image(root / "test_frame" / "104207" / "104207_1.jpg", Written())
    mat_7_3(root / "test_label" / "104207" / "104207_1.mat", point_position=[[1, 1], [20, 9], [40, 9], [50, 40]])
    return root


def test_only_the_region_counts(worldexpo):
    (sample,) = open_data(worldexpo, scene=104207).samples("test")
    np.testing.assert_allclose(sample.points, [[0.5, 0.5], [19.5, 8.5]])  # MATLAB's first pixel is ours at 0.5
    assert sample.group == "104207"
    seen = sample.read()
    assert (seen[:, 32:] == MEAN_COLOUR).all()
    assert not (seen[:, :32] == MEAN_COLOUR).all(2).any()
    assert sample.inside(np.ones((HEIGHT, WIDTH))).sum() == HEIGHT * WIDTH / 2
    (small,) = open_data(worldexpo, scene="104207", max_side=32).samples("test")
    assert small.count == 2
    assert (small.read()[:, 16:] == MEAN_COLOUR).all()


def test_a_scene_can_be_chosen_and_leaves_the_other_part_whole(worldexpo):
    assert {sample.group for sample in open_data(worldexpo).samples("test")} == {"104207", "200100"}
    dataset = open_data(worldexpo, scene=104207)
    assert len(dataset.samples("train")) == 3
    with pytest.raises(SettingError, match=r"scene: '5' is unknown; .*104207"):
        open_data(worldexpo, scene=5)


def test_the_evaluation_masks_the_estimate_and_reports_scenes(worldexpo, tmp_path, monkeypatch):
    architecture = random_architecture(3)
    model = Model(create("amsnet", architecture), "amsnet", architecture, Counting())
    people = np.full((1, HEIGHT // 4, WIDTH // 4), 16.0 / (HEIGHT * WIDTH) * 100)  # 100 of them
    monkeypatch.setattr("nni_count.model.trained.estimate_map", lambda *_: people)
    report = evaluate(model=model, data=worldexpo, out=tmp_path / "run")
    scenes = report["groups"]
    assert list(scenes) == ["104207", "200100"]
    assert scenes["104207"]["mae"] == pytest.approx(100 / 2 - 2, abs=0.1)
    assert scenes["200100"]["mae"] == pytest.approx(100 - 3, abs=0.1)
    assert report["group_mae"] == pytest.approx((scenes["104207"]["mae"] + scenes["200100"]["mae"]) / 2)
    assert f"{report['group_mae']:.2f}" in table(report)


def test_a_region_without_corners_is_refused(worldexpo):
    savemat(worldexpo / "test_label" / "104207" / "roi.mat", {"maskVerticesXCoordinates": [1, 2, 3]})
    with pytest.raises(DataError, match=r"roi.mat: has no variable 'maskVerticesYCoordinates'"):
        open_data(worldexpo).samples("test")


def test_nobody_in_version_7_3(worldexpo):
    mat_7_3(worldexpo / "test_label" / "104207" / "104207_1.mat", point_position=np.zeros((0, 0)))
    assert open_data(worldexpo, scene=104207).samples("test")[0].count == 0


def test_a_region_holds_the_pixels_inside_its_corners():
    mask = region(np.array([[2, 1], [6, 1], [6, 4], [2, 4]]), (8, 8))
    assert mask[1:4, 2:6].all()
    assert mask.sum() == 12
    corners = np.array([[1, 1], [30.3, -5], [40, 20], [22, 12.2], [3, 60]])
    found = np.array(
        [
            [cv2.pointPolygonTest(corners.astype(np.float32), (x + 0.5, y + 0.5), False) >= 0 for x in range(44)]
            for y in range(33)
        ]
    )
    np.testing.assert_array_equal(region(corners, (33, 44)), found)


# --- the others


def test_the_published_nwpu_has_no_test_part(tmp_path):
    write("nwpu", tmp_path / "set", some(5))
    dataset = open_data(tmp_path / "set")
    assert dataset.splits == ("train", "val")
    assert names(dataset, "val") == ["0004", "0005"]
    training, validation = dataset.training_parts(0.34, seed=0)  # figures are given on val, so it chooses nothing
    assert sorted(sample.name for sample in training + validation) == ["0001", "0002", "0003"]


def test_a_validation_part_of_its_own_chooses_the_weights(tmp_path):
    write("jhu_crowd", tmp_path / "set", some(5))
    shutil.copytree(tmp_path / "set" / "test", tmp_path / "set" / "val")
    dataset = open_data(tmp_path / "set")
    assert dataset.splits == ("train", "val", "test")
    training, validation = dataset.training_parts(0.34, seed=0)
    assert [sample.name for sample in training] == ["0000", "0001", "0002"]
    assert {sample.path.parts[-3] for sample in validation} == {"val"}


def test_mall_is_divided_after_800_frames(tmp_path):
    written = write("mall", tmp_path / "set", some(1))
    frames = np.empty((1, 802), object)
    for index in range(802):
        (tmp_path / "set" / "frames" / f"seq_{index + 1:06d}.jpg").write_bytes(written.images[0].read_bytes())
        frames[0, index] = np.empty((1, 1), [("loc", object)])
        frames[0, index][0, 0] = (np.full((index % 3, 2), 5.0),)
    savemat(tmp_path / "set" / "mall_gt.mat", {"frame": frames})
    dataset = open_data(tmp_path / "set")
    assert len(dataset.samples("train")) == 800
    assert [(sample.name, sample.count) for sample in dataset.samples("test")] == [("seq_000801", 2), ("seq_000802", 0)]


def test_marks_larger_than_a_pixel_are_counted_once(tmp_path):
    image(tmp_path / "A_1.png", Written())
    marks = np.zeros((HEIGHT, WIDTH), np.uint8)
    centres = [(10, 8), (30, 20), (50, 40)]
    for centre in centres:
        cv2.circle(marks, centre, 3, 255, -1)
    cv2.imwrite(str(tmp_path / "A_1_dots.png"), marks)
    found = open_data(tmp_path).samples("test")[0].points
    np.testing.assert_allclose(found, np.array(centres) + 0.5)


def test_touching_dots_of_a_pixel_are_two_cells(tmp_path):
    image(tmp_path / "1cell.png", Written())
    marks = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    marks[5, [5, 6, 20, 30]] = (0, 0, 1)
    cv2.imwrite(str(tmp_path / "1dots.png"), marks)
    assert open_data(tmp_path).samples("test")[0].count == 4


def test_some_of_the_training_images_can_be_drawn(tmp_path):
    write("dots", tmp_path / "set", [np.array([[4.5, 4.5]])] * 20)
    drawn = [names(open_data(tmp_path / "set", train_images=4, train_seed=seed), "train") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) < {f"{n:03d}" for n in range(1, 11)}
    assert len(drawn[0]) == 4
    assert names(open_data(tmp_path / "set", train_images=4), "test") == [f"{n:03d}" for n in range(11, 21)]
    with pytest.raises(SettingError, match="train_images: 11"):
        open_data(tmp_path / "set", train_images=11).samples("train")


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2.5\n3,4\n",
        "\ufeffX;Y\n1.5;2.5\n3;4\n",
        " ,Area,X,Y\n1,0,1.5,2.5\n2,0,3,4",
        "y\tx\n2.5\t1.5\n4\t3\n",
        '"x";"y"\r\n1,5;2,5\r\n3;4\r\n',  # of a German spreadsheet
    ],
)
def test_csv_with_and_without_names_of_columns(tmp_path, text):
    image(tmp_path / "a.jpg", Written())
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_array_equal(open_data(tmp_path).samples("all")[0].points, [[1.5, 2.5], [3, 4]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"0,1.5,2.5\n1,3,4\n", r"a.csv, line 1: expected x and y, found '0,1.5,2.5'; .* name the columns x and y"),
        (b"left,top\n1,2\n", r"a.csv, line 1: .* 'left,top'; .* name the columns x and y"),
        (b"x,y\n1\n", r"a.csv, line 2: expected x and y, found '1'"),
        ("x,ÿ\n1,2\n".encode("latin-1"), r"a.csv: is no UTF-8 text \(byte 2\); save it as UTF-8"),
    ],
)
def test_a_csv_that_could_be_misread_is_refused(tmp_path, data, message):
    image(tmp_path / "a.jpg", Written())
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path).samples("all")


def test_a_photograph_of_a_kind_that_is_not_read_is_missing(tmp_path):
    image(tmp_path / "a.jpg", Written()).rename(tmp_path / "a.heic")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r"nothing for a \(points without an image, of which are read .bmp, "):
        open_data(tmp_path).samples("all")


def test_names_may_have_spaces_other_scripts_and_capitals(tmp_path):
    for name in ("Плац 1", "café (2)", "a.b"):
        image(tmp_path / f"{name}.jpg", Written()).rename(tmp_path / f"{name}.JPG")
        (tmp_path / f"{name}.CSV").write_text("1,2\n")
    samples = open_data(tmp_path).samples("all")
    assert sorted(sample.name for sample in samples) == ["a.b", "café (2)", "Плац 1"]
    assert all(sample.read().shape == (HEIGHT, WIDTH, 3) for sample in samples)


def write_coco(root, things, categories, file="annotations/instances.json", name="a.jpg"):
    image(root / "images" / name, Written())
    document = {"images": [{"id": 1, "file_name": name}], "categories": categories}
    document["annotations"] = [{"image_id": 1, "category_id": 1, **thing} for thing in things]
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(json.dumps(document))


def test_coco_takes_heads_before_joints_before_boxes(tmp_path):
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "left_ankle"]}
    box = {"bbox": [10, 10, 20, 10]}
    things = [
        {"keypoints": [4, 6, 2, 6, 6, 1, 5, 40, 2], **box},
        {"keypoints": [0, 0, 0, 0, 0, 0, 9, 30, 2], **box},
        {"keypoints": [0] * 9, **box},
        box,
        {"iscrowd": 1, **box},
    ]
    write_coco(tmp_path, things, [person])
    expected = [[5, 6], [9, 30], [20, 15], [20, 15]]
    with pytest.warns(UserWarning, match="1 regions marked iscrowd"):
        found = open_data(tmp_path).samples("all")[0]
    np.testing.assert_array_equal(found.points, expected)


def test_coco_counts_what_is_asked_for(tmp_path):
    things = [{"bbox": [1, 1, 2, 2]}, {"bbox": [5, 5, 2, 2], "category_id": 2}]
    write_coco(tmp_path, things, [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}])
    assert open_data(tmp_path).samples("all")[0].count == 2
    np.testing.assert_array_equal(open_data(tmp_path, label="car").samples("all")[0].points, [[6, 6]])
    with pytest.raises(SettingError, match=r"labelled 'bus'; found: car, person"):
        open_data(tmp_path, label="bus").samples("all")


def test_coco_that_annotates_an_image_it_does_not_list_is_refused(tmp_path):
    write_coco(tmp_path, [{"bbox": [1, 1, 2, 2]}, {"bbox": [1, 1, 2, 2], "image_id": 7}], [])
    with pytest.raises(DataError, match=r"instances.json: annotations.1. is of image_id 7, which"):
        open_data(tmp_path).samples("all")


def test_coco_files_name_their_parts(tmp_path):
    for part in ("train2017", "val2017"):
        write_coco(tmp_path, [], [], f"annotations/instances_{part}.json", f"{part}.jpg")
    dataset = open_data(tmp_path)
    assert dataset.splits == ("train", "val")
    assert names(dataset, "val") == ["val2017"]
    write_coco(tmp_path, [{"bbox": [1, 1, 2, 2]}], [], "annotations/person_keypoints_val2017.json", "val2017.jpg")
    with pytest.raises(DataError, match=r"both annotate the part 'val'.*--data.annotations"):
        open_data(tmp_path)
    dataset = open_data(tmp_path, annotations="person_keypoints_*")
    assert dataset.samples("val")[0].count == 1


def test_labelme_centres_of_boxes_and_nothing_else(tmp_path):
    image(tmp_path / "images" / "a.jpg", Written())
    shapes = [
        {"label": "head", "points": [[2, 4], [6, 10]], "shape_type": "rectangle"},
        {"label": "head", "points": [[30, 30], [35, 30]], "shape_type": "circle"},
        {"label": "road", "points": [[1, 1], [9, 1], [5, 5]], "shape_type": "polygon"},
    ]
    (tmp_path / "labels").mkdir()
    document = {"shapes": shapes, "imagePath": "..\\images\\a.jpg"}  # as LabelMe writes on Windows
    (tmp_path / "labels" / "a.json").write_text(json.dumps(document))
    points = open_data(tmp_path, label="head").samples("all")[0].points
    np.testing.assert_array_equal(points, [[4, 7], [30, 30]])
    with pytest.raises(DataError, match=r"a.json: shape 3 .road., a polygon of 3 corners, is no point"):
        open_data(tmp_path).samples("all")


def test_cvat_boxes_and_several_points_in_a_shape(tmp_path):
    image(tmp_path / "images" / "day" / "a.jpg", Written())
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image name="day/a.jpg" width="{WIDTH}" height="{HEIGHT}"><tag label="wet"/>'
        '<points label="head" points="1.5,2;3,4"/><box label="head" xtl="10" ytl="10" xbr="20" ybr="30"/>'
        "</image></annotations>"
    )
    sample = open_data(tmp_path).samples("all")[0]
    np.testing.assert_array_equal(sample.points, [[1.5, 2], [3, 4], [15, 20]])
    assert sample.name == "day/a"


def turned(path):
    """A photograph that the camera stored lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[-8:, :8] = 255  # shown in the upper left corner
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


def test_points_set_on_a_turned_photograph_fit_it(tmp_path):
    turned(tmp_path / "a.jpg")
    shapes = [{"label": "head", "points": [[4, 4]], "shape_type": "point"}]
    document = {"shapes": shapes, "imagePath": "a.jpg", "imageWidth": HEIGHT, "imageHeight": WIDTH}
    (tmp_path / "a.json").write_text(json.dumps(document))
    sample = open_data(tmp_path).samples("all")[0]
    assert sample.read().shape == (WIDTH, HEIGHT, 3)
    assert (sample.read()[:6, :6] > 200).all()
    (tmp_path / "a.json").write_text(json.dumps({**document, "imageWidth": WIDTH, "imageHeight": HEIGHT}))
    stored = open_data(tmp_path).samples("all")[0]  # the same photo, its points turned with it
    np.testing.assert_array_equal(stored.read(), sample.read())
    np.testing.assert_array_equal(stored.points, [[HEIGHT - 4, 4]])
    (tmp_path / "a.json").write_text(json.dumps({**document, "imageWidth": 2 * WIDTH}))
    with pytest.raises(DataError, match=r"a.jpg: has 64×48 pixels but was annotated at 128×64"):
        open_data(tmp_path).samples("all")


# --- the real sets


def test_ucf_cc_50_has_the_published_total(real_data):
    totals = {}
    for outside in ("clamp", "drop"):
        with pytest.warns(UserWarning, match="lie outside"):
            samples = open_data(real_data / "ucf_cc_50", outside=outside).samples("all")
        assert len(samples) == 50
        totals[outside] = sum(sample.count for sample in samples)
    assert totals == {"clamp": 63_974, "drop": 63_972}


def test_vgg_cells_have_the_published_counts(real_data):
    dataset = open_data(real_data / "vgg_cells")
    train, test = dataset.samples("train"), dataset.samples("test")
    assert (names(dataset, "train")[-1], names(dataset, "test")[0]) == ("100", "101")
    counts = [sample.count for sample in train + test]
    assert (len(train), len(test)) == (100, 100)
    assert (min(counts), round(np.mean(counts)), max(counts)) == (74, 176, 317)


# --- clicks


def clicks(tmp_path, text):
    for name in ("a.jpg", "b.png"):
        image(tmp_path / name, Written(), 0)
    (tmp_path / "marks.csv").write_text(text)
    return open_data(tmp_path)


def test_clicks_of_one_kind_can_be_chosen(tmp_path):
    text = 'label;y;image;x\nsheep;2;a.jpg;1,5\ndog;3;a.jpg;4\nsheep;5;"b.png";6\n'
    assert [sample.points.tolist() for sample in clicks(tmp_path, text).samples("all")] == [
        [[1.5, 2], [4, 3]],
        [[6, 5]],
    ]
    sheep = open_data(tmp_path, label="sheep").samples("all")
    assert [sample.points.tolist() for sample in sheep] == [[[1.5, 2]], [[6, 5]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y\na.jpg,1,2\nb.png,one,2\n", "marks.csv, line 3: expected image, x and y, found 'b.png,one,2'"),
        ("image,x,y\na.jpg,1,2\n,1,2\n", "marks.csv, line 3: expected image"),
        ("image,x,y\na.jpg,1,2\nb.png,1\n", "marks.csv, line 3: expected image"),
        ("image,x,y\na.jpg,1,2\n", "nothing for b"),
        ("image,x,y\na.jpg,1,2\nb.png,,\nc.jpg,1,2\n", "marks.csv: nothing for c.jpg"),
        ("image,x,y\na.jpg,nan,2\nb.png,,\n", "a.jpg: a point of a is NaN"),
    ],
)
def test_a_table_of_clicks_that_is_wrong_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        clicks(tmp_path, text).samples("all")


def test_what_is_no_path_is_refused():
    for odd in (5, ["a", "b"], {"path": ["a"]}, {"path": None}):
        with pytest.raises(SettingError, match="is no path; give one folder"):
            open_data(odd)


def test_points_that_are_shares_of_the_size_are_refused(tmp_path):
    for number in range(4):
        image(tmp_path / "photos" / f"{number}.png", Written(), number)
        image(tmp_path / "corners" / f"{number}.png", Written(), number)
    shares = "image,x,y\n0.png,0.5,0.25\n1.png,0.1,1\n2.png,0.9,0\n3.png,,\n"
    (tmp_path / "photos" / "marks.csv").write_text(shares)
    with pytest.raises(DataError, match=r"photos: all points of 3 images lie within the first pixel.*in pixels"):
        open_data(tmp_path / "photos").samples("all")
    (tmp_path / "corners" / "marks.csv").write_text(shares + "0.png,1.5,0\n")
    assert len(open_data(tmp_path / "corners").samples("all")) == 4


def test_what_is_wrong_in_a_folder_above_is_nobodys_concern(tmp_path):
    (tmp_path / "photos").mkdir()
    write("voc", tmp_path / "photos" / "voc", [np.array([[9.0, 7.0]])] * 4)
    (tmp_path / "photos" / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "photos"):
        for suffix in ("png", "jpg"):
            image(folder / "img" / f"a.{suffix}", Written(), 0)
    assert len(open_data(tmp_path / "photos" / "voc").samples("all")) == 4
    with pytest.raises(DataError, match="empty: no known layout"):
        open_data(tmp_path / "photos" / "empty")


def test_all_files_of_a_machine_are_no_data_set():
    for root in ("/", "/..", "//"):
        with pytest.raises(SettingError, match="is all of this machine's files; give a data set's folder"):
            open_data(root)


def test_a_folder_that_vanishes_while_data_is_looked_for_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "some" / "inner").mkdir(parents=True)
    before = Path.glob

    def vanishes(path, pattern):
        if pattern == "*/*/":
            raise FileNotFoundError(path)
        return before(path, pattern)

    monkeypatch.setattr(Path, "glob", vanishes)
    with pytest.raises(DataError, match="no known layout"):
        open_data(tmp_path)
