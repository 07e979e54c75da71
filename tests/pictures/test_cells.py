"""The picture of an architecture is readable, and appears whole or not at all."""

import itertools
from dataclasses import replace

import cv2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nni_count.architecture import EXTRACTION, FUSION, Architecture, CellKind
from nni_count.ops import OPERATIONS, POOLINGS, Operation
from nni_count.pictures.cells import _cells_figure, _words, draw_cells

pytestmark = pytest.mark.rendered


@st.composite
def cells(draw, kind: CellKind):
    return {
        node: draw(st.dictionaries(st.integers(0, node - 1), st.sampled_from(list(OPERATIONS)), min_size=1))
        for node in replace(kind, nodes=draw(st.integers(1, 6))).computed
    }


architectures = st.builds(
    Architecture,
    extraction=cells(EXTRACTION),
    fusion=cells(FUSION),
    pooling=st.lists(st.sampled_from(list(POOLINGS)), min_size=1, max_size=5),
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
#: nothing is smaller
SMALL = Architecture({2: {0: "none"}}, {3: {2: "skip"}}, ["max_2x2"])
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
@example(architecture=SMALL)
def test_every_operation_is_named_and_no_labels_overlap(architecture):
    figure = _cells_figure(architecture)
    shown = texts(figure)
    named = sorted(text.get_text() for text in shown if text.get_text() in set(map(_words, OPERATIONS)))
    nodes = [*architecture.extraction.values(), *architecture.fusion.values()]
    used = [name for edges in nodes for name in edges.values()]
    # in the legend the family of skip is called as its operation
    assert named == sorted(map(_words, used + ["skip"] * ("skip" in used)))
    assert {OPERATIONS[name].family for name in used} <= {text.get_text() for text in shown}
    for name in architecture.pooling:
        assert _words(name) in {text.get_text() for text in shown}
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in shown]
    page = figure.bbox
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    for (one, first), (other, second) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        apart = first.x1 <= second.x0 or second.x1 <= first.x0 or first.y1 <= second.y0 or second.y1 <= first.y0
        assert apart, f"{one.get_text()!r} overlaps {other.get_text()!r}"


def test_a_long_name_of_ones_own_keeps_to_its_label(monkeypatch):
    own = Operation(OPERATIONS["skip"].build, "a family of its own, of a long name", "#228")
    monkeypatch.setitem(OPERATIONS, "an_operation_of_a_long_name_3x3", own)
    figure = _cells_figure(Architecture({2: {0: "an_operation_of_a_long_name_3x3"}}, {3: {2: "skip"}}, ["max_2x2"]))
    (text,) = (text for text in texts(figure) if text.get_text() == "an operation of a long name 3×3")
    inch = figure.dpi  # the width of a label
    assert text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width < inch
    assert any(text.get_text() == own.family for text in texts(figure))


def test_a_failure_leaves_the_old_picture_and_no_half_written_one(tmp_path, monkeypatch):
    def fail(self, path, **settings):
        path.write_bytes(b"half")
        raise OSError("disk full")

    (tmp_path / "cells.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_cells(ARCHITECTURE, tmp_path / "cells.png")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.png"]
    assert (tmp_path / "cells.png").read_bytes() == b"old"
