"""Counting by class, from labelled images to the pictures of a prediction."""

import cv2
import numpy as np
import pytest
from data.layouts import write
from data.readers.test_strange_files import voc

from nni_count import Budget, Crops, TrainingRecipe, evaluate, load_model, predict, retrain
from nni_count.commands.doctor import doctor, table
from nni_count.commands.evaluate import table as figures_of
from nni_count.data import open_data
from nni_count.data.sample import Sample
from nni_count.errors import DataError, SettingError
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.task import create_task


@pytest.fixture
def boxes(tmp_path):
    """Boxes of three classes on eight images."""
    rng = np.random.default_rng(0)
    for number in range(8):
        things = [(label, *rng.integers(4, 40, 2)) for label in ("cat", "dog", "cow", "cat")]
        voc(tmp_path / "set", f"{number}", *things, filename=f"{number}.jpg")
    return tmp_path / "set"


def test_boxes_of_three_classes_are_learned_measured_and_drawn_by_name(boxes, tmp_path):
    task = create_task("nni_count.tasks.classes.CountingClasses", {"classes": ["Cow", "cat", "dog"], "sigma": 2.0})
    retrain(
        data=boxes,
        network="mcnn",
        task=task,
        out=tmp_path / "retrain",
        crops=Crops(size=32),
        budget=Budget(max_steps=2),
        recipe=TrainingRecipe(validation_fraction=0.3),
    )
    model = load_model(tmp_path / "retrain" / "model.safetensors")
    report = evaluate(model=model, data=boxes, out=tmp_path / "test")
    assert {"mae_Cow", "mae_cat", "mae_dog", "mae_total", "constant_mae"} <= set(report)
    assert "mae_Cow" in figures_of(report)
    with open(tmp_path / "test" / "per_image.csv") as file:
        assert next(file).startswith("name,truth_Cow,estimate_Cow,truth_cat,estimate_cat,truth_dog")
        assert next(file).split(",")[1::2][:3] == ["1", "2", "1"]
    (row,) = predict(boxes / "JPEGImages" / "0.jpg", model=model, out=tmp_path / "predict")
    assert {"Cow", "cat", "dog", "total"} <= set(row)
    drawn = cv2.imread(str(tmp_path / "predict" / row["overlay"]))
    assert drawn.shape[1] == 3 * cv2.imread(str(boxes / "JPEGImages" / "0.jpg")).shape[1]
    sample = open_data(boxes).samples("train")[0]
    titles = [title for title, _ in task.panels(np.zeros((3, 12, 16)), sample, (48, 64))]
    assert titles[::2] == ["Cow: truth 1", "cat: truth 2", "dog: truth 1"]


def test_doctor_lists_the_labels(boxes, tmp_path):
    report = doctor(data=boxes, out=tmp_path / "out")
    number = report["splits"]["test"]["images"]
    assert report["splits"]["test"]["labels"] == {"cat": 2 * number, "dog": number, "cow": number}
    assert f"labels      test: cat {2 * number}, dog {number}, cow {number}" in table(report)
    write("csv", tmp_path / "plain", [np.array([[3.5, 4.5]])] * 3)
    assert "labels      none" in table(doctor(data=tmp_path / "plain"))


@pytest.mark.parametrize("classes", [(), ("a", "A"), ("a", "total")])
def test_classes_that_cannot_be_told_apart_are_refused(classes):
    with pytest.raises(SettingError, match=r"task.classes: "):
        CountingClasses(classes=classes)


def test_a_class_that_nobody_has_and_a_set_without_labels_are_said_before_training(boxes, tmp_path):
    samples = open_data(boxes).samples("train")
    with pytest.raises(SettingError, match=r"no training image has a 'sheep'; the labels are: cat, cow, dog"):
        CountingClasses(classes=("cat", "sheep")).check(samples)
    unlabelled = Sample("a", np.ones((2, 2)), lambda: None)
    with pytest.raises(DataError, match=r"a: its points have no labels, by which .*; give data that has them"):
        CountingClasses(classes=("cat",)).check([unlabelled])
    empty = Sample("b", np.zeros((0, 2)), lambda: None)
    assert CountingClasses(classes=("cat",)).measure(np.zeros((1, 4, 4)), empty, (4, 4))["truth_cat"] == 0
