import csv
import json

import numpy as np
import pytest
from conftest import random_architecture
from PIL import Image, TiffImagePlugin
from shapely.affinity import affine_transform
from shapely.geometry import Point

from nni_count.commands.predict import predict
from nni_count.data.geotiff import place_of
from nni_count.data.images import read_image
from nni_count.errors import DataError
from nni_count.model import Model
from nni_count.networks import create
from nni_count.tasks.counting import Counting


def geotiff(
    path, size=(64, 48), scale=(0.5, 0.5), corner=(500_000.0, 5_400_000.0), keys=((1024, 1), (3072, 32633)), **more
):
    """A GeoTIFF whose first pixel's corner lies there, or with the tags in ``more``."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    tags = {33550: (*scale, 0.0), 33922: (0.0, 0.0, 0.0, *corner, 0.0), **more.get("tags", {})}
    for tag, values in tags.items():
        if values:
            info[tag], info.tagtype[tag] = values, 12
    shorts = (1, 1, 0, len(keys), *(part for key, value in keys for part in (key, 0, 1, value)))
    info[34735], info.tagtype[34735] = shorts, 3
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, tiffinfo=info)
    return path


def test_pixels_have_coordinates(tmp_path):
    place = place_of(geotiff(tmp_path / "a.tif"))
    assert (place.code, place.metres) == (32633, 0.5)
    points = np.array([[0, 0], [64, 48], [3.25, 7.5]])
    np.testing.assert_allclose(place.to_map(points), [[5e5, 5.4e6], [500_032, 5_399_976], [500_001.625, 5_399_996.25]])
    for point, there in zip(points, place.to_map(points), strict=True):
        back = affine_transform(Point(there), place.to_pixels)
        np.testing.assert_allclose((back.x, back.y), point, atol=0.01)
    middle = place_of(geotiff(tmp_path / "b.tif", keys=((1024, 1), (1025, 2), (3072, 32633))))
    np.testing.assert_allclose(middle.to_map(np.array([[0.5, 0.5]])), [[5e5, 5.4e6]])
    turned = (0.0, 0.2, 0.0, 100.0, 0.2, 0.0, 0.0, 200.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    matrix = place_of(geotiff(tmp_path / "c.tif", tags={33550: (), 33922: (), 34264: turned}))
    np.testing.assert_allclose(matrix.to_map(np.array([[10, 20]])), [[104, 202]])
    assert matrix.metres == pytest.approx(0.2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_that_are_shown_turned_keep_their_coordinates(tmp_path, orientation):
    path = geotiff(tmp_path / "a.tif", tags={274: ()})
    with Image.open(path) as image:
        info = image.tag_v2
        pixels = np.asarray(image).copy()
    info[274] = orientation
    pixels[:] = 0
    pixels[7, 30] = 255
    Image.fromarray(pixels).save(path, tiffinfo=info)
    shown = read_image(path, oriented=True)
    (row,), (column,) = (shown[..., 0] > 0).nonzero()
    place = place_of(path)
    np.testing.assert_allclose(place.to_map(np.array([[column + 0.5, row + 0.5]])), [[500_015.25, 5_399_996.25]])
    assert place.metres == 0.5


def test_degrees_and_feet_are_no_metres(tmp_path):
    degrees = place_of(
        geotiff(tmp_path / "a.tif", scale=(1e-6, 1e-6), corner=(13.4, 52.5), keys=((1024, 2), (2048, 4326)))
    )
    assert (degrees.code, degrees.metres) == (4326, None)
    np.testing.assert_allclose(degrees.to_map(np.array([[1.5, 0]])), [[13.4000015, 52.5]], rtol=0, atol=1e-12)
    feet = place_of(geotiff(tmp_path / "b.tif", keys=((1024, 1), (3072, 2263), (3076, 9003))))
    assert (feet.code, feet.metres) == (2263, None)
    own = place_of(geotiff(tmp_path / "c.tif", keys=((1024, 1), (3072, 32767))))
    assert (own.code, own.metres) == (None, 0.5)


def test_what_is_no_geotiff_has_no_place(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "plain.tif")
    (tmp_path / "text.tif").write_text("not an image")
    geotiff(tmp_path / "flat.tif", scale=(0.0, 0.0))
    geotiff(tmp_path / "half.tif", tags={33922: (0.0, 0.0)})
    for name in ("plain.tif", "text.tif", "none.tif", "flat.tif", "half.tif", "a.jpg"):
        assert place_of(tmp_path / name) is None


def test_points_and_regions_of_a_drone_s_picture_are_on_the_map(tmp_path):
    architecture = random_architecture(3)
    model = Model(create("amsnet", architecture), "amsnet", architecture, Counting())
    model.network.up_sampling.second.bias.data += 2  # an untrained one might count nobody
    path, out = geotiff(tmp_path / "field.tif"), tmp_path / "out"
    east, north = 500_016.0, 5_400_000.0  # the eastern half, and what lies beyond the picture
    field = [
        [[east, north + 90], [east + 90, north + 90], [east + 90, north - 90], [east, north - 90], [east, north + 90]]
    ]
    feature = {"type": "Feature", "properties": {"name": "east"}, "geometry": {"type": "Polygon", "coordinates": field}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    regions = tmp_path / "fields.geojson"
    regions.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    (row,) = predict(path, model=model, out=out, points="geojson,csv", regions=regions)
    document = json.loads((out / "geojson" / "field.geojson").read_text())
    assert document["crs"] == crs
    found = [one["geometry"]["coordinates"] for one in document["features"]]
    pixels = [(float(line["x"]), float(line["y"])) for line in csv.DictReader(open(out / "points.csv"))]
    np.testing.assert_allclose(found, [(5e5 + x / 2, 5.4e6 - y / 2) for x, y in pixels], rtol=0, atol=0.01)
    (region,) = row["regions"]
    half = model.density(path)[:, 64 // model.network.map_stride // 2 :].sum()
    assert region["count"] == pytest.approx(half, abs=0.01)
    assert region["square_metres"] == 16 * 24
    assert region["per_square_metre"] == pytest.approx(half / (16 * 24), rel=1e-3)
    crs["properties"]["name"] = "urn:ogc:def:crs:OGC:1.3:CRS84"
    regions.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    with pytest.raises(
        DataError, match=r"its regions are in EPSG:4326, but \S+field.tif is in EPSG:32633; export them in"
    ):
        predict(path, model=model, regions=regions)
    feature["geometry"]["coordinates"] = [[[0, 0], [20, 0], [20, 20], [0, 0]]]
    regions.write_text(json.dumps(feature))
    with pytest.raises(DataError, match=r"region 'east', .* reaches beyond .*; give regions in the map coordinates"):
        predict(path, model=model, regions=regions)
