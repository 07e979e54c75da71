"""The page in a real browser: all three tabs, as a person uses them."""

import csv
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nni_count.commands.app.labelling import Labelling
from nni_count.commands.app.view import View
from nni_count.data import open_data
from nni_count.data.synthetic import CrowdStream
from nni_count.model import load_model

gradio = pytest.importorskip("gradio", reason="needs gradio: pip install 'nni-count[app]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files to drop, by name."""
    folder = tmp_path_factory.mktemp("photos")
    for number, sample in enumerate(CrowdStream().take(5)):
        Image.fromarray(sample.read()).save(folder / f"crowd_{number}.jpg", quality=95)
    tiles = [sample.read() for sample in CrowdStream().take(4)]
    Image.fromarray(np.tile(np.vstack(tiles), (1, 4, 1))).save(folder / "million.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright
    Image.new("RGB", (400, 240), (90, 120, 90)).save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (6000, 4000), (120, 90, 90)).save(folder / "large.jpg")
    (folder / "text.jpg").write_text("no photo")
    parts = [b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The address of a page of its own, its folder and process."""
    folder = tmp_path_factory.mktemp("app")
    code = "import sys; from nni_count.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "app", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        yield line.split()[0], folder, process
        process.kill()


@pytest.fixture(scope="module")
def page(app):
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(20000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(app[0])
        yield page
        if folder := os.environ.get("NNI_COUNT_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "last.png")
        browser.close()


def turn_to(page, tab):
    page.get_by_role("tab", name=tab).click()
    return page.locator("[role=tabpanel]:visible")


def drop(panel, *files):
    panel.locator("input[type=file]").first.set_input_files(list(files))


def shoot(page, name):
    """A picture for the docs, where a folder is given for them."""
    if folder := os.environ.get("NNI_COUNT_SCREENSHOTS"):
        page.wait_for_timeout(800)
        page.screenshot(path=Path(folder) / f"{name}.png")


def click_at(panel, x, y, which=0):
    """Click on a picture at shares of its width and height; it may be shown with margins."""
    picture = panel.locator(".clicked img").nth(which)
    wide, high = picture.evaluate("async one => { await one.decode(); return [one.naturalWidth, one.naturalHeight] }")
    place = picture.bounding_box()
    zoom = min(1, place["width"] / wide, place["height"] / high)
    left, top = (place["width"] - zoom * wide) / 2, (place["height"] - zoom * high) / 2
    picture.click(position={"x": left + zoom * wide * x, "y": top + zoom * high * y})


def until(page, found, seconds=15):
    """What a function gives once it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := found()) is not None:
            return value
        page.wait_for_timeout(50)
    pytest.fail("it did not come")


def number(panel):
    """The number that stands in large letters."""
    return float(panel.get_by_role("heading").filter(has_text=re.compile(r"^[\d.]+ ")).inner_text().split()[0])


def table(page, panel, name):
    """The rows of a table that is taken from the page."""
    with page.expect_download() as link:
        panel.locator(f"a[download='{name}']").click()
    return list(csv.DictReader(io.StringIO(Path(link.value.path()).read_text())))


def test_count(page, photos):
    panel = turn_to(page, "Count")
    page.wait_for_timeout(1500)  # the browser is busy with the page itself
    began = time.monotonic()
    drop(panel, photos["million.jpg"])
    panel.get_by_role("heading", name="people").wait_for()
    panel.locator(".clicked img").first.wait_for()
    seconds = time.monotonic() - began
    model = load_model("crowds")
    model.count(photos["crowd_0.jpg"])
    began = time.monotonic()
    model.count(photos["million.jpg"])
    alone = time.monotonic() - began
    print(f"\nfirst count of a megapixel: {seconds:.2f} s, of which the model takes {alone:.2f} s")
    assert seconds < max(3, alone + 2)  # it alone may take longer where others compute too
    (row,) = table(page, panel, "counts.csv")
    assert row["image"] == "million.jpg"
    assert float(row["count"]) == pytest.approx(number(panel), abs=0.051)
    assert len(table(page, panel, "points.csv")) >= 1

    panel.get_by_label("Clear").first.click()
    panel.get_by_text("Drop photos, or a clip.").wait_for()
    drop(panel, photos["crowd_0.jpg"])
    panel.get_by_role("heading", name="people").wait_for()
    whole = number(panel)
    for x, y in ((0.03, 0.3), (0.5, 0.2), (0.6, 0.97), (0.1, 0.9)):
        click_at(panel, x, y)
        page.wait_for_timeout(400)
    panel.get_by_text("region 1").wait_for()
    shoot(page, "app_count")
    (row,) = table(page, panel, "regions.csv")
    assert 0 < float(row["count"]) < whole
    drop(panel, photos["turned.jpg"])  # beside it
    panel.get_by_label("Photo", exact=True).wait_for()
    assert panel.get_by_label("Photo", exact=True).input_value().startswith("turned.jpg: ")


def test_what_is_no_photo_is_told(page, photos):
    panel = turn_to(page, "Count")
    for name, said in (("text.jpg", "not a readable image"), ("bomb.png", "would be more than 178 million pixels")):
        panel.get_by_label("Clear").first.click()
        panel.get_by_text("Drop photos, or a clip.").wait_for()
        drop(panel, photos[name])
        page.get_by_test_id("toast-body").filter(has_text=f"{name}: {said}").wait_for()
        page.get_by_test_id("toast-close").click()
    panel.get_by_label("Clear").first.click()
    drop(panel, photos["crowd_0.jpg"], photos["text.jpg"], photos["crowd_1.jpg"])  # the others are counted
    page.get_by_test_id("toast-body").filter(has_text="1 of 3 images").wait_for()
    page.get_by_test_id("toast-close").click()
    panel.get_by_role("heading", name="people").wait_for()


def saved(folder, name):
    """The points that were saved of a photo; None where there is nothing."""
    path = folder / "labels" / "labelme" / f"{name}.json"
    return [shape["points"][0] for shape in json.loads(path.read_text())["shapes"]] if path.exists() else None


def labelled(folder, photo, points):
    labelling = Labelling(folder)
    labelling.open(labelling.add(photo))
    labelling.mark(tuple(("people", x, y) for x, y in points.tolist()))


def zoom(panel, times):
    panel.get_by_label("number input for Zoom").fill(str(times))
    panel.get_by_label("number input for Zoom").press("Enter")


def test_label(page, photos, app):
    panel, folder = turn_to(page, "Label"), app[1]
    drop(panel, photos["bomb.png"])
    page.get_by_test_id("toast-body").filter(has_text="million pixels").wait_for()
    page.get_by_test_id("toast-close").click()
    drop(panel, photos["turned.jpg"])
    panel.get_by_role("heading", name="0 marked").wait_for()
    assert saved(folder, "turned") is None
    clicked = []
    for x, y in ((0.25, 0.75), (0.8, 0.1), (0.03, 0.97)):
        click_at(panel, x, y)
        clicked.append([x * 240, y * 400])
        panel.get_by_role("heading", name=f"{len(clicked)} marked").wait_for()
        np.testing.assert_allclose(saved(folder, "turned"), clicked, atol=0.6)
    click_at(panel, 0.8, 0.1)  # on the mark itself
    panel.get_by_role("heading", name="2 marked").wait_for()
    assert len(saved(folder, "turned")) == 2
    panel.get_by_role("button", name="Undo").click()
    panel.get_by_role("heading", name="3 marked").wait_for()
    np.testing.assert_allclose(saved(folder, "turned"), clicked, atol=0.6)
    (sample,) = open_data(folder / "labels").samples("all")
    np.testing.assert_allclose(sample.points, clicked, atol=0.6)

    drop(panel, photos["large.jpg"])  # shown reduced, then a part of it enlarged
    panel.get_by_role("heading", name="0 marked").wait_for()
    click_at(panel, 0.6, 0.3)
    panel.get_by_role("heading", name="1 marked").wait_for()
    np.testing.assert_allclose(saved(folder, "large"), [[3600, 1200]], atol=6)
    zoom(panel, 10)
    click_at(panel, 0.8, 0.9, which=1)
    page.wait_for_timeout(1000)
    click_at(panel, 0.5, 0.25)
    panel.get_by_role("heading", name="2 marked").wait_for()
    np.testing.assert_allclose(
        saved(folder, "large")[1], [4800, 3500], atol=6000 / 200 + 1
    )  # a pixel of the small picture
    assert View.of((4000, 6000), 10).seen.tolist() == [600, 400]

    drop(panel, photos["crowd_0.jpg"])
    panel.get_by_role("heading", name="0 marked").wait_for()
    panel.get_by_role("button", name="Start from the model's points").click()
    until(page, lambda: saved(folder, "crowd_0"))
    shoot(page, "app_label")
    panel.get_by_role("button", name="Nobody here").click()
    panel.get_by_role("heading", name="0 marked").wait_for()
    assert saved(folder, "crowd_0") == []


def test_improve(page, photos, app):
    for index, sample in enumerate(CrowdStream().take(5)):
        labelled(app[1] / "labels", photos[f"crowd_{index}.jpg"], sample.points)
    for name in ("turned", "large"):
        (app[1] / "labels" / f"{name}.jpg").unlink()
        (app[1] / "labels" / "labelme" / f"{name}.json").unlink()
    panel = turn_to(page, "Improve")
    panel.get_by_text("5 labelled photos").wait_for()
    box = panel.get_by_label(re.compile("number input for Minutes"))
    box.fill("0.1")
    box.press("Enter")
    panel.get_by_role("button", name="Improve").click()
    panel.get_by_text("learning, step").first.wait_for()
    panel.get_by_role("cell", name="after (improved_1").wait_for(timeout=60000)
    shoot(page, "app_improve")
    figures = [float(text) for text in panel.get_by_role("cell").all_inner_texts() if re.fullmatch(r"[\d.]+", text)]
    assert len(figures) == 2
    assert (figures[1] < figures[0]) == (page.get_by_label("Model").input_value() == "improved_1")
    page.get_by_label("Model").click()
    page.get_by_role("option", name="improved_1").click()
    panel = turn_to(page, "Count")
    drop(panel, photos["crowd_4.jpg"])
    expected = load_model(app[1] / "models" / "improved_1" / "model.safetensors").count(photos["crowd_4.jpg"])
    until(page, lambda: abs(number(panel) - expected) < 0.06 or None)


def test_nothing_else_is_asked_or_given(page, app):
    assert {url.split("/")[2] for url in page.asked if "//" in url} == {app[0].split("/")[2]}
    address = f"{app[0]}/gradio_api"
    for path in ("/etc/hostname", str(app[1] / "labels" / "crowd_0.jpg"), str(Path.cwd() / "pyproject.toml")):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            urllib.request.urlopen(f"{address}/file={path}")
    with pytest.raises(urllib.error.HTTPError, match="400"):  # asked by another name, as another's page could
        urllib.request.urlopen(urllib.request.Request(app[0], headers={"Host": "elsewhere.example"}))
    assert json.loads(urllib.request.urlopen(f"{address}/info").read())["named_endpoints"] == {}


def test_ctrl_c_ends_it_while_the_page_is_open(page, app):
    app[2].send_signal(signal.SIGINT)
    told = app[2].communicate(timeout=30)[1]
    assert app[2].returncode == 0, told
    assert all(line.startswith(("nni-count: note: ", "nni-count: warning: ")) for line in told.splitlines()), told
