import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import write_mat, write_shanghaitech

from nni_count.cli import main
from nni_count.commands.doctor import KINDS, doctor, table
from nni_count.data import open_data
from nni_count.data.sample import is_outside
from nni_count.data.splits import pick
from nni_count.errors import DataError, RunError
from nni_count.pictures.sheet import ODD, POINT, Panel, draw_sheet


def kinds(findings):
    return [finding["kind"] for finding in findings]


def by_kind(report):
    return {finding["kind"]: finding for finding in report["faults"] + report["warnings"]}


def image(root, number, part="train"):
    return root / f"{part}_data" / "images" / f"IMG_{number}.jpg"


def annotation(root, number, part="train"):
    return root / f"{part}_data" / "ground-truth" / f"GT_IMG_{number}.mat"


def points_of(root, number):
    return open_data(root).samples("train")[number - 1].points


def test_a_sound_set_is_described_and_drawn(shanghaitech, tmp_path, capsys):
    assert main(["doctor", "--data", str(shanghaitech), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert report["faults"] == report["warnings"] == report["near_duplicates"] == []
    assert report["layout"].startswith("shanghaitech: ")
    for split, number in (("train", 8), ("test", 3)):
        counts = [sample.count for sample in open_data(shanghaitech).samples(split)]
        facts = report["splits"][split]
        assert (facts["images"], facts["points"], facts["min"], facts["max"]) == (
            number,
            sum(counts),
            min(counts),
            max(counts),
        )
        assert facts["mean"] == pytest.approx(np.mean(counts))
        assert (facts["width"], facts["height"], facts["greyscale"]) == ([64, 64], [64, 64], 0)
    assert report["other_files"] == {
        "train_data/ground-truth/GT_IMG_#.mat": 8,
        "test_data/ground-truth/GT_IMG_#.mat": 3,
    }
    page = cv2.imread(str(tmp_path / "out" / "thumbnails.png"))
    assert min(page.shape[:2]) > 1000
    assert not (tmp_path / "out" / "near_duplicates.txt").exists()
    text = capsys.readouterr().out
    assert "faults: none" in text
    assert f"{report['splits']['train']['points']:,}" in text


def test_all_faults_are_listed_at_once(tmp_path, capsys):
    root = write_shanghaitech(tmp_path / "part_X", train=14)
    annotation(root, 1).unlink()
    image(root, 2).unlink()
    annotation(root, 3).write_bytes(b"nothing of the kind")
    image(root, 4).write_bytes(image(root, 4).read_bytes()[:-400])
    image(root, 5).write_bytes(b"")
    write_mat(annotation(root, 6), np.array([[1, np.nan]]))
    cv2.imwrite(str(image(root, 7)), np.arange(64 * 128, dtype=np.uint32).reshape(64, 128) % 251)
    write_mat(annotation(root, 7), points_of_seed(7) * (64, 128))
    write_mat(annotation(root, 8), points_of_seed(8))
    assert main(["doctor", "--data", str(root), "--out", str(tmp_path / "out")]) == 2
    report = json.loads((tmp_path / "out" / "doctor.json").read_text())
    text = "\n".join(f"{finding['kind']} {finding['where']}: {finding['message']}" for finding in report["faults"])
    for name in ("IMG_1", "IMG_2", "IMG_3", "IMG_4", "IMG_5", "IMG_6"):
        assert f"{name} " in text or f"{name}." in text, name
    assert {"files", "unreadable", "swapped", "relative"} == set(kinds(report["faults"]))
    assert by_kind(report)["unreadable"]["where"] == "train IMG_4"
    assert by_kind(report)["swapped"]["where"] == "train IMG_7"
    assert by_kind(report)["relative"]["where"] == "train IMG_8"
    assert report["splits"]["train"]["unreadable"] == 1
    assert report["splits"]["test"]["images"] == 3
    printed = capsys.readouterr().out
    assert all(finding["message"] in printed for finding in report["faults"])


def points_of_seed(seed):
    return np.random.default_rng(seed).random((30, 2))


def test_what_is_odd_is_a_warning(shanghaitech, tmp_path):
    points = points_of_seed(0) * 64
    write_mat(annotation(shanghaitech, 1), np.vstack([points, points[:2], [[66, 3]]]))
    write_mat(annotation(shanghaitech, 2), points)
    write_mat(annotation(shanghaitech, 3), points)
    shutil.copy(image(shanghaitech, 4), image(shanghaitech, 5))
    cv2.imwrite(str(shanghaitech / "train_data" / "photo.png"), np.zeros((9, 9), np.uint8))
    cv2.imwrite(str(image(shanghaitech, 6)), cv2.imread(str(image(shanghaitech, 6)), cv2.IMREAD_GRAYSCALE))
    report = doctor(data={"path": shanghaitech, "outside": "drop"})
    assert report["faults"] == []
    assert kinds(report["warnings"]) == [
        kind for kind in KINDS if kind in ("outside", "coincident", "copied", "duplicate", "extra")
    ]
    found = by_kind(report)
    assert found["outside"]["message"] == "1 of 33 points lie outside the 64×64 image"
    assert found["coincident"]["message"] == "2 of 33 points lie exactly on another one"
    assert (found["copied"]["where"], found["duplicate"]["where"]) == ("train IMG_3", "train IMG_5")
    assert "train IMG_2" in found["copied"]["message"]
    assert "train IMG_4" in found["duplicate"]["message"]
    assert found["extra"]["where"] == "train_data/photo.png"
    facts = report["splits"]["train"]
    assert (facts["outside"], facts["coincident"], facts["greyscale"]) == (1, 2, 1)


def test_the_table_shows_the_worst_of_many_warnings(shanghaitech):
    for number in range(1, 9):
        points = points_of_seed(number) * 64
        write_mat(annotation(shanghaitech, number), np.vstack([points, points[:number]]))
    text = table(doctor(data=shanghaitech))
    shown = [line.split(":")[0].strip() for line in text.splitlines() if "exactly on another" in line]
    assert shown == [f"train IMG_{number}" for number in (8, 7, 6, 5, 4)]
    assert "and 3 more" in text


def test_near_duplicates_across_parts_are_listed_for_leaving_out(shanghaitech, tmp_path):
    shutil.copy(image(shanghaitech, 2), image(shanghaitech, 1, "test"))
    mirrored = cv2.imread(str(image(shanghaitech, 7)))[:, ::-1]
    cv2.imwrite(str(image(shanghaitech, 3, "test")), mirrored, [cv2.IMWRITE_JPEG_QUALITY, 60])
    report = doctor(data=shanghaitech, out=tmp_path / "out")
    assert [(pair["first"], pair["second"], pair["identical"]) for pair in report["near_duplicates"]] == [
        ("train IMG_2", "test IMG_1", True),
        ("train IMG_7", "test IMG_3", False),
    ]
    assert [pair["mirrored"] for pair in report["near_duplicates"]] == [False, True]
    lines = (tmp_path / "out" / "near_duplicates.txt").read_text().splitlines()
    assert lines == ["train_data/images/IMG_2.jpg", "train_data/images/IMG_7.jpg"]
    train = open_data(shanghaitech).samples("train")
    assert [sample.name for sample in pick(train, tmp_path / "out" / "near_duplicates.txt", shanghaitech)] == [
        "IMG_2",
        "IMG_7",
    ]
    assert (tmp_path / "out" / "near_duplicates.png").stat().st_size > 10_000
    assert report["faults"] == []
    assert kinds(report["warnings"]) == ["duplicate", "near-duplicate"]


def test_a_fixed_camera_is_one_warning(shanghaitech):
    frame = cv2.imread(str(image(shanghaitech, 1)))
    for path in shanghaitech.glob("*_data/images/*.jpg"):
        noisy = frame + np.random.default_rng(len(str(path))).normal(0, 5, frame.shape)
        cv2.imwrite(str(path), np.clip(noisy, 0, 255).astype(np.uint8))
    warnings = [finding for finding in doctor(data=shanghaitech)["warnings"] if finding["kind"] == "near-duplicate"]
    assert len(warnings) == 1
    assert "fixed camera" in warnings[0]["message"]


def test_a_part_without_any_point_is_a_fault(shanghaitech):
    for number in range(1, 4):
        write_mat(annotation(shanghaitech, number, "test"), np.zeros((0, 2)))
    assert kinds(doctor(data=shanghaitech)["faults"]) == ["nobody"]


def test_a_part_that_cannot_be_read_at_all_does_not_hide_the_other(shanghaitech):
    shutil.rmtree(shanghaitech / "train_data" / "ground-truth")
    report = doctor(data=shanghaitech)
    assert "has no folder ground-truth" in report["faults"][0]["message"]
    assert report["splits"]["test"]["images"] == 3


def test_a_folder_of_no_known_layout_says_what_was_looked_for_and_found(tmp_path, capsys):
    (tmp_path / "set" / "photos").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "set" / "photos" / f"{number}.jpg").touch()
    assert main(["doctor", "--data", str(tmp_path / "set")]) == 2
    text = capsys.readouterr().out
    assert "{train,test}_data/images" in text
    assert "photos/#.jpg (3)" in text
    with pytest.raises(DataError, match="no such folder"):
        doctor(data=tmp_path / "missing")


def test_a_folder_of_two_layouts_is_a_fault(shanghaitech, tmp_path):
    write_dots(shanghaitech)
    (fault,) = doctor(data=shanghaitech)["faults"]
    assert "fits shanghaitech and dots; say which with --data.format" in fault["message"]
    assert doctor(data={"path": shanghaitech, "format": "shanghaitech"})["splits"]["train"]["images"] == 8


def write_dots(root):
    """Images in the layout of the VGG cells."""
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(1, 9):
        cv2.imwrite(str(root / f"{number:03d}cell.png"), rng.integers(0, 256, (40, 50, 3), np.uint8))
        dots = np.zeros((40, 50), np.uint8)
        dots.flat[rng.choice(2000, 9, replace=False)] = 255
        cv2.imwrite(str(root / f"{number:03d}dots.png"), dots)
    return root


def test_images_of_the_layout_are_not_extra(tmp_path):
    root = write_dots(tmp_path / "cells")
    report = doctor(data=root)
    assert report["faults"] == report["warnings"] == []
    assert report["other_files"] == {"#dots.png": 8}
    (root / "more").mkdir()
    shutil.copy(root / "001cell.png", root / "more" / "photo.png")
    assert [finding["where"] for finding in doctor(data=root)["warnings"]] == ["more/photo.png"]


def test_a_fault_that_both_drawn_parts_meet_is_listed_once(tmp_path):
    root = write_dots(tmp_path / "cells")
    (root / "005dots.png").unlink()
    (fault,) = doctor(data=root)["faults"]
    assert "005" in fault["message"]


def test_synthetic_cells_can_be_looked_at():
    report = doctor(data={"path": "synthetic-cells", "train": 2, "test": 1})
    assert report["splits"]["train"]["images"] == 2
    assert report["faults"] == report["warnings"] == []


def test_a_reader_that_cannot_choose_its_files_is_a_fault(tmp_path):
    for name in ("a_train.json", "b_train.json"):
        (tmp_path / name).write_text('{"images": [], "annotations": []}')
    (fault,) = doctor(data=tmp_path)["faults"]
    assert "both annotate the part 'train'" in fault["message"]


def test_any_data_set_can_be_looked_at(tmp_path):
    report = doctor(data={"path": "synthetic", "train": 3, "test": 2, "size": 64}, out=tmp_path / "out")
    assert {split: facts["images"] for split, facts in report["splits"].items()} == {"train": 3, "test": 2}
    assert report["faults"] == []
    assert "synthetic crowds" in table(report)


def test_an_earlier_run_is_not_overwritten(shanghaitech, tmp_path):
    (tmp_path / "note").touch()
    with pytest.raises(RunError, match="not empty"):
        doctor(data=shanghaitech, out=tmp_path)


def sheet(tmp_path, points, size=(100, 50)):
    plain = np.full((size[1], size[0], 3), 90, np.uint8)
    points = np.array(points, float)
    panel = Panel(plain, points, is_outside(points, *size), "a", "b")
    draw_sheet([panel], tmp_path / "sheet.png", heading="c", columns=1)
    return cv2.imread(str(tmp_path / "sheet.png"))[:, :, ::-1].astype(int)


def coloured(page, colour):
    return np.argwhere((np.abs(page - colour) < 12).all(2))


def test_points_are_drawn_where_they_are(tmp_path):
    page = sheet(tmp_path, [[25, 25], [75, 25]])
    photo = np.argwhere((np.abs(page - 90) < 3).all(2))
    left, right = photo[:, 1].min(), 14 + 336
    yellow = coloured(page, POINT)
    whole = yellow[yellow[:, 1] < right]
    columns = np.unique(whole[:, 1])
    gap = np.argmax(np.diff(columns)) + 1
    assert columns[:gap].mean() == pytest.approx(left + 336 * 0.25, abs=2)
    assert columns[gap:].mean() == pytest.approx(left + 336 * 0.75, abs=2)
    assert len(yellow) > len(whole)  # the detail shows points, too
    assert not len(coloured(page, ODD))


@pytest.mark.parametrize("points", [[[25, 25], [25, 25], [60, 20]], [[25, 25], [130, 20], [60, 20]]])
def test_odd_points_are_red(tmp_path, points):
    page = sheet(tmp_path, points)
    assert len(coloured(page, ODD))
    assert len(coloured(page, POINT))


def test_what_is_no_finding_is_not_red(tmp_path):
    assert not len(coloured(sheet(tmp_path, [[100, 50], [0, 0], [60, 20]]), ODD))  # counted from 1


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2000, 3), (64, 64)])
@pytest.mark.parametrize("points", [[], [[0.5, 0.5]], [[0.5, 0.5]] * 30])
def test_any_image_and_any_points_can_be_drawn(tmp_path, size, points):
    assert sheet(tmp_path, np.array(points).reshape(-1, 2), size).shape[2] == 3


def test_long_titles_keep_the_page_in_shape(tmp_path):
    panel = Panel(np.zeros((30, 40, 3), np.uint8), np.zeros((0, 2)), np.zeros(0, bool), "图片 " * 100, "ü" * 400)
    draw_sheet([panel] * 4, tmp_path / "a.png", heading="h" * 900)
    draw_sheet([Panel(panel.image, panel.points, panel.outside, "a")] * 4, tmp_path / "b.png", heading="h")
    assert cv2.imread(str(tmp_path / "a.png")).shape == cv2.imread(str(tmp_path / "b.png")).shape
