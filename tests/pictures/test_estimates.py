"""Estimates beside the truth."""

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from nni_count.pictures.estimates import Estimate, draw_estimates

pytestmark = pytest.mark.rendered


def photo(height=240, width=320):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def estimate(name, height=60, width=80, **settings):
    density = np.full((height, width), 0.01)
    panels = [("truth 48", density), ("estimate 96.0 (+48.0)", density * 2)]
    return Estimate(name, photo(height, width), panels, **settings)


def test_estimates_show_image_truth_and_estimate(tmp_path):
    rows = [
        estimate("first", label="worst 1"),
        estimate("$costs$ " * 20, 90, 40),  # no formula, and too long a title
        Estimate("empty", photo(50, 50), [("truth", np.zeros((25, 25))), ("nan", np.full((25, 25), np.nan))], "median"),
    ]
    draw_estimates(rows, tmp_path / "worst.png")
    height, width = cv2.imread(str(tmp_path / "worst.png")).shape[:2]
    assert 800 < width < 2000
    assert height > width / 3
    assert [path.name for path in tmp_path.iterdir()] == ["worst.png"]


def test_truth_and_estimate_share_their_colours(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **settings: figures.append(self))
    nobody_found = Estimate("b", photo(), [("truth 12", np.ones((3, 4))), ("estimate 0", np.zeros((3, 4)))])
    draw_estimates([estimate("a"), nobody_found], tmp_path / "worst.png", "people per pixel")
    panels = [axes for axes in figures[0].axes if axes.images]
    assert len(panels) == 6
    assert [axes.get_ylabel() for axes in figures[0].axes if not axes.images] == ["people per pixel"] * 2
    for row, top in ((panels[:3], 0.02), (panels[3:], 1.0)):
        assert [axes.images[0].get_clim() for axes in row[1:]] == [(0, top)] * 2
        assert "truth" in row[1].get_title()
        assert "estimate" in row[2].get_title()
    assert "+48" in panels[2].get_title()


def test_rows_may_have_as_many_maps_as_they_like(tmp_path):
    three = Estimate("b", photo(), [(str(number), np.ones((3, 4))) for number in range(3)])
    draw_estimates([estimate("a"), three], tmp_path / "worst.png")
    assert cv2.imread(str(tmp_path / "worst.png")).shape[1] > 1400


def test_a_failure_leaves_no_half_written_picture(tmp_path, monkeypatch):
    def fail(self, path, **settings):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_estimates([estimate("a")], tmp_path / "worst.png")
    assert not list(tmp_path.iterdir())


def test_no_estimates_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw_estimates([], tmp_path / "worst.png")
    assert not list(tmp_path.iterdir())
