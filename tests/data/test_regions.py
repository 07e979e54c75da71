import base64
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Polygon, box

from nni_count.data.regions import Regions, read_regions, rings, shares
from nni_count.errors import DataError

SQUARE = [[10, 10], [30, 10], [30, 20], [10, 20], [10, 10]]
BOW = [[10, 10], [30, 20], [30, 10], [10, 20], [10, 10]]  # crosses itself


def geojson(*features):
    return {"type": "FeatureCollection", "features": [feature(*one) for one in features]}


def feature(properties, corners, kind="Polygon", **more):
    coordinates = [corners] if kind == "Polygon" else corners
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}, **more}


def labelme(*shapes, size=(64, 48)):
    shapes = [{"label": label, "points": points, "shape_type": kind} for label, points, kind in shapes]
    return {"version": "5.5.0", "shapes": shapes, "imageWidth": size[0], "imageHeight": size[1], "imagePath": "a.jpg"}


def masked(corners, mask, length=None):
    """A shape that LabelMe outlined by a click; of its picture so many bytes."""
    picture = cv2.imencode(".png", np.uint8(mask) * 255)[1].tobytes()[:length]
    document = labelme(("m", corners, "mask"))
    document["shapes"][0]["mask"] = base64.b64encode(picture).decode()
    return document


def written(path, document):
    path.write_text(json.dumps(document))
    return path


def test_polygons_are_read_by_their_names(tmp_path):
    other = [[[[40, 30], [50, 30], [50, 40], [40, 30]]], [[[1, 1], [2, 1], [2, 2], [1, 1]]]]
    hole = [[12, 12], [14, 12], [14, 14], [12, 14], [12, 12]]
    document = geojson(({"name": "north"}, SQUARE), ({"classification": {"name": "tumour"}}, other, "MultiPolygon"))
    document["features"] += [feature(None, SQUARE), feature({"fid": 7}, SQUARE), feature({}, SQUARE, id="last")]
    document["features"][0]["geometry"]["coordinates"].append(hole)
    document["features"].append(
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 1]}}
    )
    found = read_regions(written(tmp_path / "a.geojson", document))
    areas = {name: region.area for name, region in found.shapes.items()}
    assert areas == {"north": 196, "tumour": 50.5, "region 3": 200, "7": 200, "last": 200}
    assert found.size is None
    assert len(rings(found.shapes["north"])) == len(rings(found.shapes["tumour"])) == 2
    bare = written(tmp_path / "bare.json", {"type": "Polygon", "coordinates": [SQUARE]})
    assert {name: region.area for name, region in read_regions(bare).shapes.items()} == {"region 1": 200}
    (tmp_path / "two.json").write_text(
        json.dumps(geojson(({"name": "a"}, SQUARE), ({"name": "a"}, [[0, 0], [4, 0], [4, 4]])))
    )
    assert read_regions(tmp_path / "two.json").shapes["a"].area == 208  # of one name, one region


def test_shapes_of_labelme_are_read_by_their_labels(tmp_path):
    shapes = ("lawn", SQUARE[:-1], "polygon"), ("head", [[3, 4]], "point"), ("lawn", [[50, 9], [40, 1]], "rectangle")
    document = labelme(*shapes, ("pond", [[20, 30], [20, 35]], "circle"))
    found = read_regions(written(tmp_path / "a.json", document))
    assert found.size == (64, 48)
    assert found.shapes["lawn"].area == 280
    assert found.shapes["pond"].area == pytest.approx(np.pi * 25, rel=1e-3)
    assert found.shapes.keys() == {"lawn", "pond"}


def test_whatever_has_an_area_is_read(tmp_path):
    diamond = [[30, 10], [40, 20], [30, 30], [20, 20]]
    kinds = ("rectangle", "oriented_rectangle", "rotation", "polygon", None)
    lines = [
        ("x", SQUARE[:points], kind) for points, kind in ((1, "point"), (3, "points"), (2, "line"), (3, "linestrip"))
    ]
    document = labelme(*((str(kind), diamond, kind) for kind in kinds), *lines)
    found = read_regions(written(tmp_path / "a.json", document))
    assert {name: region.area for name, region in found.shapes.items()} == {str(kind): 200 for kind in kinds}

    def of(*geometries):
        return {"type": "GeometryCollection", "geometries": [*geometries]}

    def polygon(corners):
        return {"type": "Polygon", "coordinates": [corners]}

    line = {"type": "LineString", "coordinates": [[0, 0], [60, 40]]}
    right = polygon([[x + 20, y] for x, y in SQUARE])
    geometries = {"two": of(polygon(SQUARE), right), "nested": of(line, of(right)), "no area": of(line), "none": None}
    features = [{"type": "Feature", "properties": {"name": n}, "geometry": g} for n, g in geometries.items()]
    features.append({"type": "Feature", "properties": {"name": "line"}, "geometry": line})
    found = read_regions(written(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": features}))
    assert {name: region.area for name, region in found.shapes.items()} == {"two": 400, "nested": 200}
    assert found.shapes["nested"].bounds == (30, 10, 50, 20)
    assert read_regions(written(tmp_path / "bare.json", geometries["two"])).shapes["region 1"].area == 400


def test_a_region_without_a_name_is_none_that_has_one(tmp_path):
    for second in ({"name": "region 1"}, {"label": "region 1"}):
        path = written(tmp_path / "a.geojson", geojson(({}, SQUARE), (second, [[0, 0], [4, 0], [4, 4]])))
        areas = {name: region.area for name, region in read_regions(path).shapes.items()}
        assert areas == {"region 1 (unnamed)": 200, "region 1": 8}


def test_masks_of_labelme_are_their_pixels(tmp_path):
    mask = np.ones((20, 10))
    mask[0, 0] = mask[5:7, 3:5] = 0
    found = read_regions(written(tmp_path / "a.json", masked([[10, 12], [19, 31]], mask)))
    assert found.shapes["m"].area == 195
    assert found.shapes["m"].bounds == (10, 12, 20, 32)
    assert not found.shapes["m"].contains(box(10, 12, 11, 13))


def test_parts_of_one_region_may_touch(tmp_path):
    parts = [[[[x, 10], [x + 10, 10], [x + 10, 20], [x, 20], [x, 10]]] for x in (10, 20)]
    feature = {"type": "Feature", "properties": {"name": "a"}}
    content = {**feature, "geometry": {"type": "MultiPolygon", "coordinates": parts}}
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    assert read_regions(tmp_path / "a.geojson").shapes["a"].area == 200
    content["geometry"]["coordinates"] = []
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [content]}))
    with pytest.raises(DataError, match="region 'a' is no polygon: has no area"):
        read_regions(tmp_path / "a.geojson")


def test_a_mask_with_soft_edges_is_refused_and_one_of_many_regions_is_none(tmp_path):
    mask = np.zeros((300, 300), np.uint8)
    cv2.circle(mask, (150, 150), 120, 255, -1, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.GaussianBlur(mask, (3, 3), 0))
    with pytest.raises(DataError, match=r"a.png: its edges are blurred, of \d+ values; save the mask without anti"):
        read_regions(tmp_path / "a.png")
    many = np.kron(np.arange(1, 101, dtype=np.uint8).reshape(10, 10), np.ones((30, 30), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), many)
    assert len(read_regions(tmp_path / "b.png").shapes) == 100


def test_masks_are_their_pixels(tmp_path):
    values = np.zeros((48, 64), np.uint8)
    values[10:20, 5:9], values[30:, 60:], values[12, 7] = 3, 200, 0
    cv2.imwrite(str(tmp_path / "regions.png"), values)
    found = read_regions(tmp_path / "regions.png")
    assert {name: region.area for name, region in found.shapes.items()} == {"3": 39, "200": 72}
    assert found.size == (64, 48)
    where, share = shares(found.shapes["3"], (64, 48))
    np.testing.assert_array_equal(share, values[where] == 3)
    colours = np.zeros((48, 64, 3), np.uint8)
    colours[:4, :5], colours[40:, :7] = (0, 128, 255), (9, 9, 9)  # blue, green, red
    cv2.imwrite(str(tmp_path / "colours.png"), colours)
    assert {n: r.area for n, r in read_regions(tmp_path / "colours.png").shapes.items()} == {"#ff8000": 20, "9": 56}
    cv2.imwrite(str(tmp_path / "lawn.png"), np.where(values == 3, 255, 0).astype(np.uint8))
    assert [*read_regions(tmp_path / "lawn.png").shapes] == ["lawn"]
    cv2.imwrite(str(tmp_path / "black.png"), values * 0)
    with pytest.raises(DataError, match=r"black.png: holds no region; every pixel is 0"):
        read_regions(tmp_path / "black.png")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (geojson(({"name": "a"}, SQUARE), ({"name": "b"}, BOW)), r"'b' is no polygon: crosses itself at 20 15; mend"),
        (labelme(("c", BOW[:-1], "polygon")), r"region 'c' is no polygon: crosses itself at 20 15; mend"),
        (geojson(({"name": "a"}, [[1, 1], [5, 5], [9, 9], [1, 1]])), r"region 'a' is no polygon"),
        (geojson(({"name": "a"}, [[1, 1], [5, float("nan")], [9, 2], [1, 1]])), r"'a' is no polygon: invalid coord"),
        (geojson(({"name": "a"}, [[1, 1], [5, 5]])), r"not understood as regions of GeoJSON or LabelMe"),
        (geojson(({"name": "a"}, [])), r"holds no region|is no polygon"),
        (geojson(({"name": "a"}, "xyz")), r"not understood as regions"),
        (geojson(), r"holds no region; draw polygons in it"),
        (labelme(("head", [[3, 4]], "point")), r"holds no region"),
        (labelme(("a", SQUARE, "polygon"), ("m", SQUARE[:2], "mask")), r"has no 'mask'"),
        (masked([[10, 10], [19, 29]], np.ones((20, 11))), r"a mask of another size than the 10×20 pixels that"),
        (masked([[10, 10], [19, 29]], np.zeros((20, 10))), r"region 'm' is no polygon: has no area"),
        (masked([[10, 10], [19, 29]], np.ones((20, 10)), 40), r"a mask that cannot be read"),
        (masked([[10, 10]], np.ones((1, 1))), r"not understood as regions"),
        (masked([["1_0", 10], [19, 29]], np.ones((20, 10))), r"not understood as regions"),
        (geojson(({"name": "a"}, SQUARE), ({"name": "b"}, SQUARE, "Curve")), r"Unknown geometry type"),
        ({"type": "FeatureCollection", "features": [{"type": "Feature"}]}, r"has no 'geometry'"),
        ([1, 2], r"not understood as regions"),
        ({"type": "FeatureCollection"}, r"has no 'features'"),
        ("{", r"not understood as JSON|not understood as regions"),
    ],
)  # fmt: skip
def test_what_is_no_region_is_said(document, fault, tmp_path):
    path = tmp_path / "regions.json"
    path.write_text(document if document == "{" else json.dumps(document))
    with pytest.raises(DataError, match=rf"regions.json: .*({fault})"):
        read_regions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_regions(tmp_path / "none.json")


def test_regions_are_of_one_image(tmp_path):
    found = read_regions(written(tmp_path / "a.json", labelme(("lawn", SQUARE[:-1], "polygon"))))
    assert found.within(64, 48, "a.jpg")["lawn"].area == 200
    with pytest.raises(DataError, match=r"drawn on 64×48 pixels, but b.jpg has 48×64; give those of that image"):
        found.within(48, 64, "b.jpg")
    found = Regions(found.path, {"edge": box(-0.7, 0, 10, 10), "lawn": Polygon(SQUARE)})
    assert found.within(30, 20, "a.jpg")["edge"].area == 100  # as labelling tools let it
    with pytest.raises(DataError, match=r"region 'lawn', x 10 to 30 and y 10 to 20, reaches beyond a.jpg of 20×20 pix"):
        found.within(20, 20, "a.jpg")
    for outside in (box(-0.9, 0, 0, 10), box(70, 0, 80, 10), box(3, -5, 8, -1), box(float("-inf"), 0, 3, 3)):
        with pytest.raises(DataError, match=r"region 'a', .* reaches beyond"):
            Regions(found.path, {"a": outside}).within(64, 48, "a.jpg")


corner = st.tuples(st.floats(0, 12.5), st.floats(0, 9.25))


@settings(max_examples=60, deadline=None)
@given(st.lists(corner, min_size=3, max_size=8), st.lists(corner, min_size=3, max_size=4))
def test_shares_are_areas_exactly(corners, others):
    extent = 12.5, 9.25
    region = MultiPoint(corners).convex_hull.difference(MultiPoint(others).convex_hull.buffer(0))
    if region.geom_type not in ("Polygon", "MultiPolygon") or region.area < 1e-9:
        return
    (rows, columns), share = shares(region, extent)
    assert ((share >= 0) & (share <= 1 + 1e-12)).all()
    cells = np.minimum(np.arange(13) + 1, 12.5) - np.arange(13), np.minimum(np.arange(10) + 1, 9.25) - np.arange(10)
    areas = np.outer(cells[1], cells[0])
    assert (share * areas[rows, columns]).sum() == pytest.approx(region.area, abs=1e-9)
    for y, x in ((0, 0), (share.shape[0] - 1, share.shape[1] // 2)):  # each is that of its own cell
        row, column = rows.start + y, columns.start + x
        cell = box(column, row, min(column + 1, 12.5), min(row + 1, 9.25))
        assert share[y, x] == pytest.approx(region.intersection(cell).area / cell.area, abs=1e-9)


def test_a_whole_image_and_its_parts_are_all_of_it():
    extent = 12.5, 9.25
    (rows, columns), share = shares(box(0, 0, *extent), extent)
    assert share.shape == (10, 13) == (rows.stop, columns.stop)
    assert (share == 1).all()
    halves = [shares(half, extent) for half in (box(0, 0, 6.3, 9.25), box(6.3, 0, 12.5, 9.25))]
    total = np.zeros((10, 13))
    for where, part in halves:
        total[where] += part
    np.testing.assert_allclose(total, 1, atol=1e-12)
    (rows, columns), share = shares(box(0, 0, 12.000000000000002, 9), (12.0, 9.0))  # rounded
    assert share.shape == (9, 12)
