"""What a one-shot search came to over its epochs."""

import cv2
import pytest

from nni_count.pictures.progress import draw_progress

pytestmark = pytest.mark.rendered


def test_figures_that_an_epoch_has_are_a_panel_each(tmp_path):
    epochs = [{"mae": 3.0, "entropy": 1.0}, {"mae": 2.0, "agreement": 0.9}]
    shapes = []
    for panels in ({"mae": "error", "agreement": "as before"}, {"mae": "error", "none has it": "nothing"}):
        draw_progress(epochs, panels, tmp_path / "progress.png")
        assert (tmp_path / "progress.png").stat().st_size > 10_000
        shapes.append(cv2.imread(str(tmp_path / "progress.png")).shape[:2])
    (height, width), (other_height, other_width) = shapes
    assert height == other_height
    assert width == 2 * other_width
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
