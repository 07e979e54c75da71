import numpy as np
import pytest

from nni_count.data.density import density_map
from nni_count.data.sample import Sample
from nni_count.metrics.maps import MAP_PROTOCOLS
from nni_count.tasks.counting import Counting

SHAPE = (48, 64)
POINTS = np.array([[10.0, 10.0], [20.0, 30.0], [25.0, 12.0]])
OUTSIDE = np.array([[50.0, 20.0], [55.0, 40.0]])
ROI = np.array([[0.0, 0.0], [36.0, 0.0], [36.0, 48.0], [0.0, 48.0]])


@pytest.mark.parametrize("stride", [1, 4])
def test_what_is_estimated_outside_the_region_of_interest_does_not_count(stride):
    sample = Sample("one", POINTS, lambda: None, roi=ROI)
    task = Counting()
    right, more = (density_map(p, SHAPE, stride=stride)[None] for p in (POINTS, np.vstack([POINTS, OUTSIDE])))
    for judge in (task.measure, task.examine):
        expected, found = judge(right, sample, SHAPE), judge(more, sample, SHAPE)
        assert found == pytest.approx(expected, abs=0.02)
    assert task.measure(more, sample, SHAPE)["error"] == pytest.approx(0, abs=0.02)
    alone = task.measure(more, Sample("one", POINTS, lambda: None), SHAPE)
    assert alone["error"] == pytest.approx(2, abs=0.02)


def test_what_is_counted_has_a_name():
    task = Counting(things="cells")
    sample = Sample("one", POINTS, lambda: None)
    density = density_map(POINTS, SHAPE)[None]
    figures = task.summarise([{**task.measure(density, sample, SHAPE), **task.examine(density, sample, SHAPE)}], {})
    assert task.lines(figures)[0] == ("cells", "3")
    assert (task.unit, Counting().unit) == ("cells per pixel", "people per pixel")
    assert task.settings["things"] == "cells"


def test_a_set_without_people_and_an_estimate_of_zeros_have_figures():
    task = Counting()
    samples = [
        Sample("nobody", np.zeros((0, 2)), lambda: None),
        Sample("one pixel", np.array([[0.5, 0.5]]), lambda: None),
    ]
    rows = [
        {**task.measure(zeros, sample, shape), **task.examine(zeros, sample, shape)}
        for sample, shape in zip(samples, (SHAPE, (1, 1)), strict=True)
        for zeros in [np.zeros((1, *shape), np.float32)]
    ]
    nobody = task.summarise(rows[:1], {})
    assert (nobody["mae"], nobody["nae"], nobody["psnr"], nobody["mae_interval"]) == (0, None, None, None)
    assert task.lines(nobody)
    both = task.summarise(rows, {"training_mean": 1.0})
    assert both["mae"] == both["constant_mae"] == 0.5
    assert all(np.isfinite(both["maps"][name][figure]) for name in MAP_PROTOCOLS for figure in ("psnr", "ssim"))
