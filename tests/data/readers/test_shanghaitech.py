import warnings

import cv2
import numpy as np
import pytest
from conftest import write_mat, write_shanghaitech
from scipy.io import savemat

from nni_count.data import halves, open_data, split_off
from nni_count.data.splits import divide
from nni_count.errors import DataError, NNICountError, SettingError


@pytest.mark.parametrize("folder", ["ground-truth", "ground_truth"])
def test_both_spellings_are_read(tmp_path, folder):
    dataset = open_data(write_shanghaitech(tmp_path / "part_A", points_folder=folder))
    train = dataset.samples("train")
    assert [sample.name for sample in train] == [f"IMG_{n}" for n in range(1, 9)]
    assert len(dataset.samples("test")) == 3
    assert all(sample.read().shape == (64, 64, 3) for sample in train)


def test_numbers_order_the_images(tmp_path):
    dataset = open_data(write_shanghaitech(tmp_path / "part_A", train=11))
    assert [sample.name for sample in dataset.samples("train")][-2:] == ["IMG_10", "IMG_11"]


def test_the_real_set_has_the_published_totals(real_data):
    dataset = open_data(real_data / "shanghaitech" / "part_A_final")
    train, test = dataset.samples("train"), dataset.samples("test")
    assert (len(train), sum(sample.count for sample in train)) == (300, 162_413)
    assert (len(test), sum(sample.count for sample in test)) == (182, 78_862)
    for sample in train:
        image = cv2.imread(str(sample.path))
        assert (sample.points >= 0).all()
        assert (sample.points < image.shape[1::-1]).all()


def faulty(change):
    return pytest.param(change, id=change.__name__)


def image_without_points(root):
    (root / "ground-truth" / "GT_IMG_3.mat").unlink()
    return "IMG_3 .*image without points"


def points_without_image(root):
    (root / "images" / "IMG_3.jpg").unlink()
    return "IMG_3 .*points without an image"


def corrupt_mat(root):
    path = root / "ground-truth" / "GT_IMG_3.mat"
    path.write_bytes(path.read_bytes()[:150])
    return "GT_IMG_3.mat: not a readable .mat"


def no_mat(root):
    (root / "ground-truth" / "GT_IMG_3.mat").write_bytes(b"nothing of the kind")
    return "GT_IMG_3.mat: not a readable .mat"


def mat_without_key(root):
    savemat(root / "ground-truth" / "GT_IMG_3.mat", {"annPoints": np.zeros((3, 2))})
    return "no variable 'image_info' .*annPoints"


def wrong_shape(root):
    write_mat(root / "ground-truth" / "GT_IMG_3.mat", np.zeros((3, 5)))
    return r"location has the shape \(3, 5\)"


def nan_point(root):
    write_mat(root / "ground-truth" / "GT_IMG_3.mat", np.array([[1, np.nan]]))
    return "IMG_3 is NaN"


def empty_image(root):
    (root / "images" / "IMG_3.jpg").write_bytes(b"")
    return "IMG_3.jpg: not a readable image"


def no_points_folder(root):
    (root / "ground-truth").rename(root / "gt")
    return "no folder ground-truth"


@pytest.mark.parametrize(
    "change",
    [
        faulty(change)
        for change in (
            image_without_points,
            points_without_image,
            corrupt_mat,
            no_mat,
            mat_without_key,
            wrong_shape,
            nan_point,
            empty_image,
            no_points_folder,
        )
    ],
)
def test_a_fault_is_named_with_its_file(shanghaitech, change):
    pattern = change(shanghaitech / "train_data")
    with pytest.raises(DataError, match=pattern):
        open_data(shanghaitech).samples("train")


def test_a_truncated_jpeg_is_named_when_it_is_read(shanghaitech):
    path = shanghaitech / "train_data" / "images" / "IMG_3.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    sample = open_data(shanghaitech).samples("train")[2]
    with pytest.raises(DataError, match=r"IMG_3.jpg: not a readable image .*truncated"):
        sample.read()


@pytest.mark.parametrize(("outside", "count", "inside"), [("clamp", 3, 3), ("drop", 1, 1), ("keep", 3, 1)])
def test_points_outside_are_settled_and_counted(shanghaitech, outside, count, inside):
    write_mat(shanghaitech / "train_data" / "ground-truth" / "GT_IMG_1.mat", np.array([[-3, 5], [5, 5], [64, 70]]))
    with pytest.warns(UserWarning, match="2 points lie outside"):
        sample = open_data(shanghaitech, outside=outside).samples("train")[0]
    assert sample.count == count
    assert ((sample.points >= 0) & (sample.points < 64)).all(1).sum() == inside


def test_nobody_and_greyscale_and_16_bits_are_valid(shanghaitech):
    train = shanghaitech / "train_data"
    write_mat(train / "ground-truth" / "GT_IMG_1.mat", np.zeros((0, 2)))
    cv2.imwrite(str(train / "images" / "IMG_2.jpg"), np.full((64, 64), 77, np.uint8))
    deep = np.full((64, 64, 3), 200 * 256, np.uint16)
    _, data = cv2.imencode(".png", deep)
    (train / "images" / "IMG_3.jpg").write_bytes(data.tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = open_data(shanghaitech).samples("train")
    assert samples[0].count == 0
    assert samples[1].read().shape == (64, 64, 3)
    assert (samples[2].read() == 200).all()


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no known layout .*shanghaitech"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_data(tmp_path / "missing")
    with pytest.raises(SettingError, match="known: shanghaitech"):
        open_data(tmp_path, format="shanghai")
    with pytest.raises(DataError, match=r"not laid out as mall: frames/seq_\*.jpg"):
        open_data(tmp_path, format="mall")


@pytest.mark.parametrize("near", ["", "part_X/train_data", "part_X/train_data/images"])
def test_a_path_that_is_a_step_off_is_set_right(shanghaitech, near):
    with pytest.raises(DataError, match=rf"no known layout .*do you mean {shanghaitech}\?"):
        open_data(shanghaitech.parent / near)


@pytest.mark.parametrize(("settings", "named"), [({"outside": "ignore"}, "outside"), ({"sides": 3}, "sides")])
def test_wrong_settings_are_named(shanghaitech, settings, named):
    write_mat(shanghaitech / "train_data" / "ground-truth" / "GT_IMG_1.mat", np.array([[-3, 5]]))
    with pytest.raises(NNICountError, match=named):
        open_data(shanghaitech, **settings).samples("train")


def test_an_unknown_split_lists_those_there_are(shanghaitech):
    with pytest.raises(SettingError, match="found: train, test"):
        open_data(shanghaitech).samples("val")


def test_splits_are_seeded_disjoint_and_whole():
    for seed in range(5):
        rest, part = split_off(list(range(50)), 0.1, seed)
        assert sorted(rest + part) == list(range(50))
        assert len(part) == 5
        assert split_off(list(range(50)), 0.1, seed) == (rest, part)
        (rest, part), (more, more_part) = (divide(some, 0.1, seed) for some in (range(50), [99, *range(50), 77]))
        assert sorted(rest + part) == list(range(50))
        assert {*rest} <= {*more}  # what is added moves no other
        assert {*part} <= {*more_part}
    sizes = [len(divide(range(50), 0.1, seed)[1]) for seed in range(100)]
    assert min(sizes) >= 1
    assert 4.2 < np.mean(sizes) < 5.8
    names = ["Caf\u00e9.png", "b.png", "c.png", "d.png"]  # as another machine may write them
    others = ["CAFE\u0301.PNG", *names[1:]]
    assert [names.index(n) for n in halves(names, 0)[1]] == [others.index(n) for n in halves(others, 0)[1]]
    assert split_off(list(range(50)), 0.1, 1) != split_off(list(range(50)), 0.1, 2)
    assert [len(half) for half in halves(list(range(51)), 0)] in ([25, 26], [26, 25])
    with pytest.raises(DataError, match="at least 2"):
        split_off([1], 0.1, 0)
