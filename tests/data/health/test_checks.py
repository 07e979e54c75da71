import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_count.data.health.checks import check_counts, check_points, number_coincident

WIDTH, HEIGHT = 200, 100
RNG = np.random.default_rng(0)
CROWD = RNG.uniform(0, (WIDTH, HEIGHT), (30, 2))


def found(points):
    return {finding.kind: finding for finding in check_points("train a", np.asarray(points, float), WIDTH, HEIGHT)}


@pytest.mark.parametrize("points", [np.zeros((0, 2)), [[3, 4]], [[3, 4], [199.9, 99.9]], CROWD])
def test_ordinary_points_are_not_suspicious(points):
    assert found(points) == {}


@pytest.mark.parametrize(
    ("points", "kind", "message", "fault"),
    [
        (CROWD[:, ::-1], "swapped", "and none would with x and y swapped", True),
        (CROWD / (WIDTH, HEIGHT), "relative", "all 30 points lie between 0 and 1", True),
        (CROWD * 3, "outside", "outside the 200×100 image; are they meant for an image of another size", True),
        ([*CROWD, [201, 50]], "outside", "1 of 31 points lie outside the 200×100 image", False),
        ([*CROWD, [5, -1]], "outside", "1 of 31 points", False),
        ([*CROWD, CROWD[3], CROWD[3], CROWD[7]], "coincident", "3 of 33 points lie exactly on another", False),
        (np.stack([CROWD[:, 0], CROWD[:, 0] / 4 + 20], 1), "line", "all 30 points lie on one line", False),
        (CROWD / 5, "corner", "all 30 points lie in the top left corner", False),
        ((WIDTH, HEIGHT) - CROWD / 5, "corner", "the bottom right corner", False),
    ],
)
def test_suspicious_points_are_named(points, kind, message, fault):
    findings = found(points)
    assert list(findings) == [kind]
    assert message in findings[kind].message
    assert findings[kind].fault is fault


@given(st.lists(st.tuples(st.integers(-3, 6), st.integers(-3, 6)), max_size=20))
def test_any_points_are_judged(points):
    array = np.array(points, float).reshape(-1, 2)
    findings = {finding.kind: finding for finding in check_points("", array, 4, 4)}
    outside = sum(not (-1 < x < 5 and -1 < y < 5) for x, y in points)  # within a pixel of the border is inside
    assert ("outside" in findings or "swapped" in findings) == (outside > 0)
    assert number_coincident(array) == len(points) - len(set(points))


def test_counts_far_from_the_others_are_named():
    names = [f"train {index}" for index in range(20)]
    counts = [100 + 5 * index for index in range(20)]
    assert check_counts(names, counts) == []
    findings = check_counts(names, [*counts[:18], 0, 9000])
    assert [finding.where for finding in findings] == ["train 18", "train 19"]
    assert findings[1].message.startswith("9000 points")
    assert check_counts(names[:5], [1, 1, 1, 1, 9000]) == []  # too few to say what is usual
    assert check_counts(names, [100] * 19 + [105]) == []
