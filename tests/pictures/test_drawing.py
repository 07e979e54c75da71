"""Drawings: readable pictures that appear whole or not at all."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nni_count import drawing
from nni_count.architecture import EXTRACTION, FUSION, Architecture, CellKind
from nni_count.ops import OPERATIONS, POOLINGS
from nni_count.pictures.drawing import Estimate, blend, draw_cells, draw_estimates, overlay


@st.composite
def cells(draw, kind: CellKind):
    return {
        node: draw(st.dictionaries(st.integers(0, node - 1), st.sampled_from(list(OPERATIONS)), min_size=1))
        for node in kind.computed
    }


architectures = st.builds(
    Architecture,
    extraction=cells(EXTRACTION),
    fusion=cells(FUSION),
    pooling=st.tuples(*[st.sampled_from(list(POOLINGS))] * 3),
)
ARCHITECTURE = Architecture(
    extraction={
        2: {0: "sep_conv_3x3", 1: "skip"},
        3: {0: "dil_conv_5x5", 2: "none"},
        4: {1: "none"},
        5: {3: "conv_1x1", 4: "skip"},
    },
    fusion={3: {0: "conv_1x1", 2: "sep_conv_7x7"}, 4: {2: "skip", 3: "dil_conv_3x3"}},
    pooling=("avg_2x2", "max_4x4", "avg_6x6"),
)
#: every edge there can be, with the longest name
CROWDED = Architecture(
    *({node: dict.fromkeys(range(node), "dil_conv_7x7") for node in kind.computed} for kind in (EXTRACTION, FUSION)),
    pooling=("avg_6x6",) * 3,
)


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image


def texts(figure):
    return [text for text in figure.axes[0].texts if text.get_text()]


def test_cells_are_a_picture_for_a_screen(tmp_path):
    draw_cells(ARCHITECTURE, tmp_path / "new" / "cells.png")
    height, width = picture(tmp_path / "new" / "cells.png").shape[:2]
    assert 600 < height < 2000
    assert 1000 < width < 3000
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cells.png"]


@settings(max_examples=4, deadline=None)
@given(architecture=architectures)
@example(architecture=CROWDED)
def test_every_operation_is_named_and_no_labels_overlap(architecture):
    figure = drawing._cells_figure(architecture)
    shown = texts(figure)
    named = sorted(text.get_text() for text in shown if text.get_text() in set(map(drawing._words, OPERATIONS)))
    nodes = [*architecture.extraction.values(), *architecture.fusion.values()]
    # in the legend the family of skip is called as its operation
    assert named == sorted([drawing._words(name) for edges in nodes for name in edges.values()] + ["skip"])
    for name in architecture.pooling:
        assert drawing._words(name) in {text.get_text() for text in shown}
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in shown]
    page = figure.bbox
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    for (one, first), (other, second) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        apart = first.x1 <= second.x0 or second.x1 <= first.x0 or first.y1 <= second.y0 or second.y1 <= first.y0
        assert apart, f"{one.get_text()!r} overlaps {other.get_text()!r}"


def test_a_failure_leaves_the_old_picture_and_no_half_written_one(tmp_path, monkeypatch):
    def fail(self, path, **settings):
        path.write_bytes(b"half")
        raise OSError("disk full")

    (tmp_path / "cells.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_cells(ARCHITECTURE, tmp_path / "cells.png")
    with pytest.raises(OSError, match="disk full"):
        draw_estimates([estimate("a")], tmp_path / "worst.png")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.png"]
    assert (tmp_path / "cells.png").read_bytes() == b"old"


def photo(height=240, width=320):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def changed(image, result):
    """Rows and columns ``(top, bottom, left, right)`` of what differs."""
    rows, columns = np.nonzero((image != result).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("density", [np.zeros((240, 320)), np.full((30, 40), -0.1), np.full((240, 320), np.nan)])
def test_without_people_only_the_caption_changes_the_photo(density):
    image = photo()
    result = overlay(image, density, 0.0)
    top, bottom, left, right = changed(image, result)
    assert (bottom - top + 1) * (right - left + 1) < 0.05 * 240 * 320
    assert top == 0 or bottom == 239
    assert left == 0 or right == 319


def test_heat_is_where_the_people_are_and_the_caption_where_they_are_not():
    image = np.full((240, 320, 3), 128, np.uint8)
    density = np.zeros((240, 320), np.float32)
    density[:120, :160] = 20 / (120 * 160)  # the corner where a caption would otherwise stand
    result = overlay(image, density, 20.0)
    difference = np.abs(result.astype(int) - image).sum(2)
    assert (difference[:120, :160] > 30).all()
    assert (difference > 0).sum() < 120 * 160 + 0.05 * 240 * 320


def test_a_smaller_map_is_enlarged_and_negative_values_change_nothing():
    image = np.full((240, 320, 3), 128, np.uint8)
    small = np.zeros((60, 80), np.float32)
    small[30, 40] = 1
    negative = np.where(small > 0, small, -1).astype(np.float32)
    np.testing.assert_array_equal(overlay(image, small, 1.0), overlay(image, negative, 1.0))
    assert overlay(image, small, 1.0)[122, 162].tolist() != [128, 128, 128]


def test_a_map_of_almost_nothing_does_not_glow():
    image = np.full((240, 320, 3), 128, np.uint8)
    result = overlay(image, np.full((240, 320), 1e-9, np.float32), 0.0)
    assert np.median(np.abs(result.astype(int) - image)) <= 2


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    stride=st.sampled_from([1, 2, 4]),
    count=st.floats(-10, 1e6) | st.just(float("nan")),
    seed=st.integers(0, 100),
)
def test_overlay_keeps_shape_and_its_input(height, width, stride, count, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    density = rng.normal(0, 0.01, (-(-height // stride), -(-width // stride)))
    before = image.copy(), density.copy()
    result = overlay(image, density, count)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(density, before[1])


def test_the_caption_grows_with_the_image():
    heights = []
    for scale in (1, 4):
        image = np.full((240 * scale, 320 * scale, 3), 255, np.uint8)
        top, bottom, _, _ = changed(image, overlay(image, np.zeros((24, 32)), 12.0))
        heights.append(bottom - top + 1)
    assert 3 < heights[1] / heights[0] < 5


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
    height, width = picture(tmp_path / "worst.png").shape[:2]
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
    assert picture(tmp_path / "worst.png").shape[1] > 1400


@pytest.mark.parametrize(
    "values", [np.zeros((24, 32)), np.full((24, 32), np.nan), np.linspace(0, 1, 768).reshape(24, 32)]
)
def test_any_map_can_be_blended_into_its_photo(values):
    image = photo()
    before = image.copy()
    result = blend(image, values, "a caption")
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    assert (blend(image, values) != result).any()


def test_no_estimates_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw_estimates([], tmp_path / "worst.png")
    assert not list(tmp_path.iterdir())
