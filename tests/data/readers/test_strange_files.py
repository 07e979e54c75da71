"""Marks and annotations as other people's programs write them: read, or refused with the place and the remedy."""

import itertools
import json
import os
import signal
import unicodedata
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from data.layouts import HEIGHT, WIDTH, Written, image, mat_7_3, write
from PIL import Image
from scipy.io import savemat

from nni_count.data import open_data
from nni_count.data.marks import read_marks
from nni_count.data.readers.text import Table, read_lines
from nni_count.errors import DataError, SettingError


def counts(root, **settings):
    return {sample.path.name: sample.points.tolist() for sample in open_data(root, **settings).samples("all")}


def photos(root, *names):
    for number, name in enumerate(names):
        image(root / name, Written(), number)
    return root


# --- marks


def grid(number, side=1, step=6, dtype=np.uint8, shape=(200, 200)):
    """Marks of so many pixels a side, numbered from 1."""
    marks = np.zeros(shape, dtype)
    for index in range(number):
        row, column = divmod(index, shape[1] // step - 1)
        marks[row * step + 1 :, column * step + 1 :][:side, :side] = index + 1
    return marks


def touching():
    marks = np.zeros((40, 50), np.uint8)
    for number in range(5):
        marks[10:18, 4 + 8 * number : 12 + 8 * number] = number + 1
    return marks


MARKS = {
    "16-bit numbers of masks that touch": (grid(300, 6, 6, np.uint16, (200, 200)), 300),
    "16-bit dots of value 1": ((grid(30, 1, 6, np.uint16) > 0).astype(np.uint16), 30),
    "16-bit dots with a number each": (grid(300, 1, 6, np.uint16), 300),
    "8-bit numbers that touch": (touching(), 5),
    "two colours that touch": (np.stack([touching() % 2 * 255, touching() // 2 * 40, 0 * touching()], 2), 5),
    "nothing": (np.zeros((40, 50), np.uint8), 0),
    "a layer": (np.dstack([np.full((40, 50, 3), 255, np.uint8), (grid(3, 4, 12, shape=(40, 50)) > 0) * 255]), 3),
    "a layer with a number each": (np.dstack([*[touching()] * 3, (touching() > 0) * 255]), 5),
    "a layer that is not transparent": (np.dstack([np.dstack([touching()] * 3), np.full((40, 50), 255)]), 5),
}


@pytest.mark.parametrize("what", MARKS)
def test_marks_are_counted_as_they_were_saved(tmp_path, what):
    marks, number = MARKS[what]
    cv2.imwrite(str(tmp_path / "a.png"), marks.astype(np.uint8 if marks.dtype != np.uint16 else np.uint16))
    points, size = read_marks(tmp_path / "a.png")
    assert len(points) == number
    assert size == marks.shape[1::-1]
    values = marks if marks.ndim == 2 else marks.reshape(*marks.shape[:2], -1).max(2)
    assert (values[tuple(points.astype(int).T[::-1])] > 0).all()


def test_marks_of_32_bits_and_floats_are_read(tmp_path):
    for name, dtype in (("a", np.int32), ("b", np.float32)):
        Image.fromarray(grid(20, 4, 8, dtype)).save(tmp_path / f"{name}.tif")
        assert len(read_marks(tmp_path / f"{name}.tif")[0]) == 20


def test_marks_below_0_are_marks(tmp_path):
    for dtype in (np.int8, np.int16, np.int32, np.float32):
        marks = grid(20, 4, 8, np.int32)
        marks[marks == marks.max()] = -1
        cv2.imwrite(str(tmp_path / "a.tif"), np.where(marks > 0, marks % 100 + 1, marks).astype(dtype))
        assert len(read_marks(tmp_path / "a.tif")[0]) == 20, dtype


def blurred():
    marks = np.zeros((90, 90), np.uint8)
    for row in range(15, 90, 30):
        cv2.circle(marks, (row, row), 8, 255, -1)
    return cv2.GaussianBlur(marks, (0, 0), 2)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (255 - grid(9, 1, 12), "background is not 0"),
        (255 - 255 * (grid(9, 4, 12) > 0).astype(np.uint8), "background is not 0"),
        (grid(9, 4, 12) + 1, "background is not 0"),
        (blurred(), "blurred"),
        (
            np.hstack([grid(20, 4, 8) > 0, grid(30) > 0]).astype(np.uint8),
            "20 of its 50 marks, of up to 16 pixels, are no",
        ),
        (np.random.default_rng(0).integers(0, 1 << 16, (300, 300, 3)).astype(np.uint16), "values; is it a photograph"),
    ],
)
def test_marks_that_could_be_misread_are_refused(tmp_path, marks, message):
    cv2.imwrite(str(tmp_path / "a.png"), marks)
    with pytest.raises(DataError, match=rf"a.png: .*{message}"):
        read_marks(tmp_path / "a.png")


def test_outlines_of_voc_masks_are_no_things(tmp_path):
    marks = np.pad(touching(), 4)
    outlines = cv2.morphologyEx((marks > 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    mask = Image.fromarray(np.where(outlines, 255, marks))
    mask.putpalette([0, 0, 0, *np.random.default_rng(0).integers(1, 200, 3 * 254), 224, 224, 192])
    mask.save(tmp_path / "a.png")
    assert len(read_marks(tmp_path / "a.png")[0]) == 5


def test_pages_and_jpegs_of_marks_are_refused(tmp_path):
    pages = [Image.fromarray(touching()) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "b.jpg")
    for name, message in (("a.tif", "has 3 pages"), ("b.jpg", "is a JPEG")):
        with pytest.raises(DataError, match=f"{name}: {message}"):
            read_marks(tmp_path / name)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a_dots_1.png", "a_1.png"), ("dots_a.png", "a.png"), ("a-dots.tif", "a.jpg"), ("x_Dots_1.png", "x_cell_1.png")],
)
def test_dots_may_be_named_within_and_of_any_kind(tmp_path, first, second):
    photos(tmp_path, second)
    cv2.imwrite(str(tmp_path / first), (grid(3, shape=(HEIGHT, WIDTH)) > 0).astype(np.uint8))
    assert open_data(tmp_path).samples("all")[0].count == 3


def test_a_folder_of_images_and_one_of_masks(tmp_path):
    photos(tmp_path / "Images", "a 1.jpg", "b.jpg")
    (tmp_path / "masks").mkdir()
    for name in ("a 1", "b"):
        cv2.imwrite(str(tmp_path / "masks" / f"{name}_mask.png"), grid(4, 5, 12, shape=(HEIGHT, WIDTH)))
    assert {name: len(points) for name, points in counts(tmp_path).items()} == {"a 1.jpg": 4, "b.jpg": 4}
    (tmp_path / "masks" / "b_mask.png").unlink()
    with pytest.raises(DataError, match=r"masks: nothing for b \(image without points\)"):
        counts(tmp_path)


def test_a_mat_of_any_key(tmp_path):
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    (tmp_path / "points").mkdir()
    savemat(tmp_path / "points" / "GT_a.mat", {"cells": np.array([[3, 4], [5, 6.5]]), "number": 2})
    mat_7_3(tmp_path / "points" / "GT_b.mat", cells=np.zeros((0, 0)), number=np.array([[0]]))
    assert counts(tmp_path) == {"a.jpg": [[3, 4], [5, 6.5]], "b.jpg": []}
    for name, points in (("a", [[3, 4]]), ("b", np.zeros((0, 2)))):
        savemat(tmp_path / "points" / f"GT_{name}.mat", {"cells": points, "size": [[WIDTH, HEIGHT]]})
    with pytest.raises(SettingError, match=r"data.key: .*GT_a.mat has cells and size, each N×2; say which"):
        counts(tmp_path)
    assert counts(tmp_path, key="cells") == {"a.jpg": [[3, 4]], "b.jpg": []}
    savemat(tmp_path / "points" / "GT_b.mat", {"other": [[1, 2, 3]]})
    with pytest.raises(DataError, match=r"no variable is N×2 \(x, y\) in all files"):
        counts(tmp_path)


def test_image_info_in_as_many_cells_as_its_writer_chose(tmp_path):
    write("shanghaitech", tmp_path / "set", [np.zeros((1, 2))] * 3)
    points = np.array([[3.0, 4], [5, 6]])
    structs = ({"location": points}, {"location": points, "number": 2}, np.array([[{"location": points}]], object))
    for number, info in enumerate(structs, 1):
        savemat(tmp_path / "set" / "train_data" / "ground-truth" / f"GT_IMG_{number}.mat", {"image_info": info})
    assert list(counts(tmp_path / "set").values()) == [points.tolist()] * 3


# --- tables


@pytest.mark.parametrize(
    "text",
    [
        'image,x,y\np0.png,"6,5","36,5"\n',
        "filename,x,y\np0.png,6.5,36.5\n",
        "Bild;x;y\np0.png;6,5;36,5\n",
        'sep=;\nIMAGE;X;Y\n"p0.png";6,5;36,5;;\n',
        "\ufeffimage\tx\ty\r\np0.PNG\t6.5\t36.5\r\n",
        "image,x,y,label\n/home/anna/p0.png,6.5,36.5\n",
        "image x y\rp0 6.5 36.5\r",
    ],
)
def test_tables_of_clicks_as_spreadsheets_write_them(tmp_path, text):
    photos(tmp_path, "p0.png")
    (tmp_path / "table.CSV").write_text(text, newline="")
    assert counts(tmp_path) == {"p0.png": [[6.5, 36.5]]}
    (tmp_path / "table.CSV").rename(tmp_path / "table.txt")
    assert counts(tmp_path) == {"p0.png": [[6.5, 36.5]]}
    (tmp_path / "table.txt").rename(tmp_path / "table.CSV")
    (tmp_path / "table.CSV").write_bytes(text.removeprefix("\ufeff").encode("utf-16"))
    assert counts(tmp_path) == {"p0.png": [[6.5, 36.5]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y\np0.png,6,5,36,5\n", "line 2: expected image, x and y"),
        ('image,x,y\np0.png,"1,234",5\n', "line 2: expected image"),  # or a thousand?
        ("image,x,y\np0.png,1_0,5\n", "line 2: expected image"),
        ("image,x,y,x\np0.png,1,5,6\n", "2 columns are called x"),
        ('image,x,y\n"p0.png,1,5\n', "not understood as a table"),
        ("image;x;y\np0.png;1.234,5;6\n", "line 2: expected image"),
        ("place,x,y\np0,1,5\n", "no image is called table; .* names its columns image, x and y .*found: place, x, y"),
        ("image,left,top\np0.png,1,5\n", "names its columns image, x and y"),
        *(
            (
                f"image,x,y,image_width,image_height\np0.png,1,5,{a}\np0.png,1,6,\np0.png,1,7,{b}\n",
                "line 4: expected the size",
            )
            for a, b in itertools.permutations((f"{WIDTH},{HEIGHT}", f"{2 * WIDTH},{2 * HEIGHT}"))
        ),
        ("image,x,y,image_width,image_height\np0.png,1,5,,48\n", "line 2: expected both image_width and image_height"),
        ("image,x,y,image_width,image_height\np0.png,1,5,64.5,48\n", "image_width and image_height in whole pixels"),
        ("image,x,y,image_width\np0.png,1,5,64\n", "line 2: expected both image_width and image_height"),
        ("image,x,y\np0.png,1,5\nP0.PNG,1,5\n", "'p0.png' and 'P0.PNG' are one image"),
    ],
)
def test_tables_that_could_be_misread_are_refused(tmp_path, text, message):
    photos(tmp_path, "p0.png")
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=rf"table.csv.*{message}"):
        counts(tmp_path)


def test_names_are_data_in_tables_and_lists(tmp_path):
    names = ["#1.png", "a, b.png", "c;d.png", 'e "f".png', "café.png", "  g.png", "h .png", "i\t.png"]
    photos(tmp_path, *names)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    (tmp_path / "table.csv").write_text("\n".join(["image,x,y", *(f"{name},1,2" for name in quoted)]))
    assert set(counts(tmp_path)) == set(names)
    (tmp_path / "test.txt").write_text(
        "\n".join(
            [*names[:4], unicodedata.normalize("NFD", names[4]).upper(), names[5], "C:\\mine\\h .png", "/you/i\t"]
        )
    )
    found = open_data(tmp_path, test_list=tmp_path / "test.txt").samples("test")
    assert [sample.path.name for sample in found] == names
    (tmp_path / "test.txt").write_text("# mine\na, b.png\n")
    with pytest.raises(DataError, match=r"line 1: '# mine' is no image of .*, and there are no comments in lists"):
        open_data(tmp_path, test_list=tmp_path / "test.txt").samples("test")


def test_a_line_ends_where_an_editor_ends_it(tmp_path):
    (tmp_path / "list.txt").write_bytes("a\u2028b.png\r\nc\x0c.png\r\n\nd.png".encode())
    assert [line for _, line in read_lines(tmp_path / "list.txt")] == ["a\u2028b.png", "c\x0c.png", "d.png"]
    (tmp_path / "t.csv").write_text('sep=|\nx|y\n1|"2\n3"\n4|5\n')
    assert Table(tmp_path / "t.csv").rows == [(2, ["x", "y"]), (4, ["1", "2\n3"]), (5, ["4", "5"])]


@pytest.mark.parametrize(
    ("annotated", "there"),
    [
        ("p0.png", "p0.PNG"),
        ("P0.PNG", "p0.png"),
        ("night/p0", "images/night/p0.jpg"),
        ("p0.png", "images/train/p0.png"),
        ("train/p0", "images/p0.png"),
        (unicodedata.normalize("NFD", "café.jpg"), "images/café.jpg"),
        ("C:\\Users\\anna\\p0.png", "images/p0.png"),
        ("../images/a.b", "images/a.b.png"),
    ],
)
def test_images_are_found_as_people_read_their_names(tmp_path, annotated, there):
    photos(tmp_path, there)
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image name="{annotated}" width="{WIDTH}" height="{HEIGHT}">'
        '<points label="a" points="3,4"/></image></annotations>'
    )
    assert open_data(tmp_path).samples("all")[0].points.tolist() == [[3, 4]]


def test_an_image_that_two_files_could_be_is_asked_for(tmp_path):
    photos(tmp_path, "images/day/p0.jpg", "images/night/p0.jpg")
    (tmp_path / "t.csv").write_text("image,x,y\np0.jpg,1,2\n")
    with pytest.raises(DataError, match=r"t.csv: p0.jpg fits images/day/p0.jpg and images/night/p0.jpg; write which"):
        counts(tmp_path)
    (tmp_path / "t.csv").write_text("image,x,y\nday/p0.jpg,1,2\nnoon/p0.jpg,1,2\n")
    with pytest.raises(DataError, match=r"t.csv: nothing for noon/p0.jpg"):
        counts(tmp_path)


def test_partners_that_differ_by_form_are_found_and_by_capitals_named(tmp_path):
    photos(tmp_path, "café.jpg", "IMG_1.jpg")
    (tmp_path / (unicodedata.normalize("NFD", "café") + ".csv")).write_text("1,2")
    (tmp_path / "img_1.csv").write_text("1,2")
    dataset = open_data(tmp_path)
    samples, faults = dataset.collect("all")
    assert [sample.path.name for sample in samples] == ["café.jpg"]
    assert "nothing for IMG_1 (image without points); rename img_1, of other capitals" in str(faults[0])


# --- documents


def coco(tmp_path, **changes):
    photos(tmp_path, "images/a.jpg", "images/b.jpg")
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2]}],
        "categories": [{"id": 3, "name": "cell"}],
    }
    (tmp_path / "a.json").write_text(json.dumps({**document, **changes}))
    return tmp_path


BOX = {"image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1, "file_name": f"{name}.jpg"} for name in "ab"]}, r"images\[1\] has the id 1 of another"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "b.jpg"}]}, r"images\[1\] has the id"),
        ({"images": [{"id": n, "file_name": "a.jpg"} for n in (1, 2)]}, "'a.jpg' and 'a.jpg' are one image"),
        ({"categories": [{"id": 3, "name": "x"}, {"id": 3, "name": "y"}]}, r"categories\[1\] has the id 3 of another"),
        (
            {"annotations": [BOX, {**BOX, "bbox": None}]},
            r"annotations\[1\] \(cell\) has neither visible keypoints",
        ),
        ({"annotations": [{**BOX, "bbox": [1, 2]}]}, r"annotations\[0\]"),
        ({"annotations": [{**BOX, "keypoints": [1, 2]}]}, r"annotations\[0\]"),
        ({"annotations": [{**BOX, "keypoints": [1, "2_0", 2]}]}, r"annotations\[0\]"),
        ({"annotations": [{**BOX, "bbox": "1234"}]}, r"annotations\[0\] \(cell\) has neither"),
        (
            {"annotations": [{**BOX, "bbox": ["1_0", 2, 3, 4]}]},
            r"annotations\[0\] \(could not convert string to float: '1 _ 0'",
        ),
        ({"annotations": [{**BOX, "iscrowd": "maybe"}]}, r"annotations\[0\] \('maybe' is neither 0 nor 1"),
        ({"annotations": [{**BOX, "category_id": 9}]}, r"annotations\[0\] \(it has no '9'\)"),
        ({"annotations": None}, r"not understood as COCO \(of another shape\)"),
        ({"annotations": [{**BOX, "image_id": 9}]}, r"annotations\[0\] is of image_id 9"),
    ],
)
def test_coco_names_the_place_of_a_fault(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"a.json: .*{message}"):
        open_data(coco(tmp_path, **changes)).samples("all")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["nose", "left_eye", "ankle"], [2.5, 2.5]),
        (["Nose", "Left_Eye", "Right_Ankle"], [2.5, 2.5]),
        (["headTop", "leftEar", "rightAnkle"], [2.5, 2.5]),
        (["front_wheel", "gear", "rear_wheel"], [12, 12]),
        (["headlight", "beard", "rear_wheel"], [12, 12]),
    ],
)
def test_a_person_is_where_the_head_is_and_a_car_in_its_middle(tmp_path, names, expected):
    thing = {**BOX, "keypoints": [1, 1, 2, 4, 4, 2, 31, 31, 2]}
    kinds = [{"id": 3, "name": "it", "keypoints": names}]
    root = coco(tmp_path, annotations=[thing], categories=kinds)
    assert counts(root)["a.jpg"] == [expected]


def test_a_fault_in_what_is_annotated_is_one_fault(tmp_path):
    _, faults = open_data(coco(tmp_path, annotations=[{**BOX, "bbox": None}])).collect("train")
    assert len(faults) == 1


def test_points_without_a_label_are_unlabelled(tmp_path):
    photos(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text("image,x,y\na,3,4\n")
    assert open_data(tmp_path).samples("all")[0].labels is None


def test_coco_takes_ids_as_people_read_them_and_null_as_nothing(tmp_path):
    things = [{**BOX, "image_id": "1", "keypoints": None}, {**BOX, "image_id": 2.0, "category_id": "3"}]
    found = open_data(coco(tmp_path, annotations=things), label="Cell").samples("all")
    assert [sample.points.tolist() for sample in found] == [[[2, 2]]] * 2
    assert [sample.labels.tolist() for sample in found] == [["cell"]] * 2


def test_coco_says_that_crowds_are_left_out(tmp_path):
    with pytest.warns(UserWarning, match=r"a.json: 1 regions marked iscrowd"):
        assert open_data(coco(tmp_path, annotations=[BOX, {**BOX, "iscrowd": 1}])).samples("all")[0].count == 1
    for crowd, count in ((False, 2), ("0", 2), (0.0, 2), ("false", 2), (None, 2), ("1", 1), (1.0, 1), ("True", 1)):
        dataset = open_data(coco(tmp_path, annotations=[BOX, {**BOX, "iscrowd": crowd}]))
        with nullcontext() if count == 2 else pytest.warns(UserWarning, match="1 regions"):
            assert dataset.samples("all")[0].count == count, crowd


def test_the_number_0_is_a_label_and_nothing_or_a_blank_is_none(tmp_path):
    for name, found in ((0, "0"), ("0", "0"), (None, None), ("", None), (" ", None)):
        for folder in ("coco", "labelme", "voc"):
            (tmp_path / folder).mkdir(exist_ok=True)
        coco(tmp_path / "coco", categories=[{"id": 3, "name": name}])
        photos(tmp_path / "labelme", "a.jpg")
        labelme(tmp_path / "labelme" / "a.json", {"label": name, "points": [[3, 4]]})
        voc(tmp_path / "voc", "a", ("" if name is None else name, 5, 6))
        for folder in ("coco", "labelme", "voc"):
            labels = open_data(tmp_path / folder).samples("all")[0].labels
            assert (labels if labels is None else labels.tolist()) == (found and [found]), (folder, name)
            if found:
                assert open_data(tmp_path / folder, label=0).samples("all")[0].count == 1


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    coco(tmp_path)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text[:-1] + ', "annotations": []}')
    with pytest.raises(DataError, match=r"a.json: .*'annotations' occurs twice"):
        open_data(tmp_path).samples("all")


def labelme(path, *shapes, **facts):
    document = {"imageData": "A" * 9000, "imagePath": f"{path.stem}.jpg", "shapes": list(shapes), **facts}
    path.write_text(json.dumps(document))


def test_labelme_whose_image_comes_first_and_whose_path_is_another_machines(tmp_path):
    photos(tmp_path, "a.jpg", "b.jpg")
    labelme(tmp_path / "a.json", {"label": "x", "points": [[3, 4]]}, imagePath="C:\\photos\\a.jpg")
    labelme(tmp_path / "b.json", imagePath="/home/anna/elsewhere.jpg")
    assert counts(tmp_path) == {"a.jpg": [[3, 4]], "b.jpg": []}
    labelme(tmp_path / "b.json", imagePath="a.jpg")
    with pytest.raises(DataError, match=r"b.json: names the image 'a.jpg', but is called b; rename it"):
        counts(tmp_path)


@pytest.mark.parametrize(
    "shape",
    [
        {"points": [[1, 1], [9, 1], [9, 9], [1, 9]]},
        {"points": [[1, 1], [9, 1]], "shape_type": None},
        *({"points": [[1, 1], [9, 1]], "shape_type": kind} for kind in ("line", "linestrip", "mask", "point")),
        {"points": [], "shape_type": "point"},
        {"points": [[1, 1]], "shape_type": "rectangle"},
        {"points": [[1]], "shape_type": "point"},
        {"shape_type": "point"},
    ],
)
def test_labelme_shapes_without_a_middle_are_refused(tmp_path, shape):
    photos(tmp_path, "a.jpg")
    labelme(tmp_path / "a.json", {"label": "x", "points": [[3, 4]]}, {"label": "x", **shape})
    with pytest.raises(DataError, match=r"a.json: .*shape 2"):
        counts(tmp_path)


def cvat(tmp_path, *shapes):
    photos(tmp_path, "images/a.jpg")
    text = f'<image name="a.jpg" width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</image>'
    (tmp_path / "annotations.xml").write_text(f"<!-- {'x' * 5000} --><annotations a='1'>{text}</annotations>")
    return tmp_path


def test_cvat_counts_what_is_in_the_picture(tmp_path):
    box = '<box label="a" {}="1" xtl="1" ytl="1" xbr="3" ybr="3"/>'
    ellipse = '<ellipse label="a" cx="9" cy="8" rx="2" ry="3"/>'
    gone = box.format("outside") + box.format("outside").replace('"1" xtl', '"True" xtl')
    found = counts(cvat(tmp_path, gone, box.format("occluded"), ellipse))
    assert found == {"a.jpg": [[2, 2], [9, 8]]}
    assert (
        len(counts(cvat(tmp_path, *(box.format("outside").replace("1", no, 1) for no in ("0", "False", ""))))["a.jpg"])
        == 3
    )
    wrong = box.format("outside").replace("1", "maybe", 1), box.format("occluded").replace('xbr="3"', 'xbr="1_0"')
    for shape in wrong:
        with pytest.raises(DataError, match=r"annotations.xml: .*(maybe|1 _ 0)"):
            counts(cvat(tmp_path, shape))
    for shape in ('<polygon label="a" points="1,2;3,4"/>', '<points label="a" points="1,2;3"/>', '<box label="a"/>'):
        with pytest.raises(DataError, match=r"annotations.xml: "):
            counts(cvat(tmp_path, shape))
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="a"></track></annotations>')
    with pytest.raises(DataError, match=r"annotations.xml: annotates a video; export it as"):
        counts(tmp_path)


def voc(root, name, *things, filename="x.jpg"):
    image(root / "JPEGImages" / f"{name}.jpg", Written())
    objects = "".join(
        f"<object><name>{label}</name><difficult>1</difficult><bndbox><xmin>{x - 2}</xmin><ymin>{y - 2}</ymin>"
        f"<xmax>{x + 2}</xmax><ymax>{y + 2}</ymax></bndbox></object>"
        for label, x, y in things
    )
    (root / "Annotations").mkdir(exist_ok=True)
    path = root / "Annotations" / f"{name}.xml"
    path.write_text(
        f'<annotation verified="yes" xmlns="http://example.org/voc"><filename>{filename}</filename>{objects}</annotation>'
    )
    return path


def test_voc_of_labelimg_with_three_classes_and_lists_of_parts(tmp_path):
    for name, label in (("a", "cat"), ("b", "dog"), ("c", "cow"), ("d", "cat")):
        voc(tmp_path, name, (label, 5, 6), ("cat", 7, 8), filename=f"/home/anna/{name}.jpg")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part, text in (("trainval", "a\nb\n"), ("test", "c\n"), ("cat_train", "a -1\n")):
        (lists / f"{part}.txt").write_text(text)
    dataset = open_data(tmp_path)
    with pytest.warns(UserWarning, match=r"Main: 1 annotated images, such as d, are in no part"):
        dataset.samples("train")
    found = {split: [sample.name for sample in dataset.samples(split)] for split in dataset.splits}
    assert found == {"train": ["a", "b"], "test": ["c"]}
    assert dataset.samples("test")[0].labels.tolist() == ["cow", "cat"]
    (lists / "test.txt").write_text("c\na\ne\n")
    _, faults = open_data(tmp_path).collect("test")
    assert ["a is in another part too" in str(faults[0]), "e has neither image" in str(faults[1])] == [True, True]
    (lists / "test.txt").write_text("c\n")
    path = voc(tmp_path, "c", ("cow", 5, 6))
    path.write_text(path.read_text().replace("<ymax>8</ymax>", ""))
    with pytest.raises(DataError, match=r"c.xml: object 1 \(cow\) has no bndbox of the numbers .*; mend or remove it"):
        open_data(tmp_path).samples("test")


def test_voc_whatever_the_capitals_of_its_tags_and_no_numbers_but_numbers(tmp_path):
    path = voc(tmp_path, "a", ("cow", 5, 6))
    text = path.read_text()
    for old, new in (("object>", "Object>"), ("bndbox", "BndBox"), ("annotation", "Annotation")):
        path.write_text(text.replace(old, new))
        assert counts(tmp_path) == {"a.jpg": [[5, 6]]}, new
    path.write_text(text.replace("<xmin>3<", "<xmin>0_3<"))
    with pytest.raises(DataError, match=r"object 1 \(cow\) has no bndbox of the numbers"):
        counts(tmp_path)


def test_a_pipe_is_no_file_and_not_waited_for(tmp_path):
    def waited(*_):
        pytest.fail("waits for a pipe")

    photos(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / "t.csv").write_text("image,x,y\na,1,2\nb,1,2\n")
    for name in ("list.txt", "c.xml", "c.json", "c.csv"):  # of which only the first is asked for
        os.mkfifo(tmp_path / name)
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(20)
    try:
        assert len(counts(tmp_path)) == 2
        with pytest.raises(DataError, match=r"list.txt: cannot be read \(no regular file\)"):
            open_data(tmp_path, test_list=tmp_path / "list.txt").samples("test")
        (tmp_path / "images" / "b.jpg").unlink()
        os.mkfifo(tmp_path / "images" / "b.jpg")
        with pytest.raises(DataError, match=r"b.jpg: cannot be read \(no regular file\)"):
            counts(tmp_path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("outside", "kept"), [("drop", ["b"]), ("clamp", ["a", "b"]), ("keep", ["a", "b"])])
def test_labels_stay_with_their_points(tmp_path, outside, kept):
    photos(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text(f"image,x,y,class\na,{WIDTH + 9},2,a\na,3,4,b\n")
    with pytest.warns(UserWarning, match="1 points lie outside"):
        (sample,) = open_data(tmp_path, outside=outside).samples("all")
    assert sample.labels.tolist() == kept


def test_documents_that_name_no_image_are_said(tmp_path):
    photos(tmp_path, "images/a.jpg", "images/b.jpg")
    for name, text in (("t.csv", "image,x,y\n"), ("annotations.xml", "<annotations/>")):
        (tmp_path / name).write_text(text)
        _, faults = open_data(tmp_path).collect("train")
        assert [
            f"nothing for images/{image}.jpg (image without points)" in str(f)
            for image, f in zip("ab", faults, strict=True)
        ]
        (tmp_path / name).unlink()


def test_a_format_that_is_given_decides(tmp_path):
    photos(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"no CSV file in it has the columns image, x and y; name them so"):
        open_data(tmp_path, format="clicks").samples("all")
    for format in ("coco", "cvat", "labelme", "voc", "csv", "mat", "masks"):
        with pytest.raises(DataError):
            open_data(tmp_path, format=format).samples("all")


def test_a_data_set_of_ones_own_is_used_by_its_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "denoise.py").write_text(
        "from nni_count.data.synthetic.sets import SyntheticCells\n"
        "class Noisy(SyntheticCells):\n    def __init__(self, number): super().__init__(train=number, test=1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(open_data({"path": "denoise.Noisy", "number": 3}).samples("train")) == 3
    for name, message in (("denoise.Other", "has no attribute 'Other'"), ("denoise.Noisy", "missing 1 required")):
        with pytest.raises(SettingError, match=rf"{name}: no such folder, and as a class of data: .*{message}"):
            open_data(name)


def test_the_root_of_a_nested_download_leads_to_its_sets(tmp_path):
    for name in ("part_A", "part_B"):
        (tmp_path / "download" / "archive" / "final").mkdir(parents=True, exist_ok=True)
        write("voc", tmp_path / "download" / "archive" / "final" / name, [np.ones((1, 2))] * 2)
    with pytest.raises(DataError, match=r"do you mean .*final/part_[AB] or .*final/part_[AB]\?$"):
        open_data(tmp_path / "download")
    with pytest.raises(DataError, match=r"is not laid out as voc: .*; do you mean .*final/part_"):
        open_data(tmp_path / "download", format="voc")
