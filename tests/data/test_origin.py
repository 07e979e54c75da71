"""A model is applied as it was trained: what its file keeps of its images, and what commands make of it."""

import json
import shutil
import warnings

import cv2
import numpy as np
import pytest
from conftest import LIGHT, random_architecture
from data import layouts
from safetensors import safe_open
from safetensors.torch import save_file
from short import short
from small_space import SmallSpace

import nni_count.data.origin as origins
from nni_count.commands.evaluate import evaluate, table
from nni_count.commands.predict import predict
from nni_count.commands.retrain import retrain as plain_retrain
from nni_count.commands.search import search
from nni_count.data import open_data
from nni_count.data.held_out import HeldOut
from nni_count.data.origin import Origin, fingerprint, fingerprints
from nni_count.errors import ModelError, Note, RunError
from nni_count.model import load_model
from nni_count.model.seal import BLANK
from nni_count.training.settings import Crops
from strategies import DARTS

retrain = short(plain_retrain)
TINY = {"max_steps": 1, "crop_size": 32, "batch_size": 2, "network": {"width": 16}, "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def heard():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


@pytest.fixture
def photos(tmp_path):
    """Twelve photos with clicks of two kinds, and two lists that part them."""
    root = tmp_path / "photos"
    root.mkdir()
    draw = np.random.default_rng(0)
    lines = ["image,x,y,label"]
    for number in range(12):
        cv2.imwrite(str(root / f"p{number}.png"), draw.integers(0, 256, (48, 64, 3), np.uint8))
        lines += [f"p{number}.png,{5 + number},{6},cat", f"p{number}.png,{20 + number},{30},dog"]
    (root / "clicks.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "train.txt").write_text("".join(f"p{number}.png\n" for number in range(8)))
    (tmp_path / "test.txt").write_text("".join(f"p{number}.png\n" for number in range(8, 12)))
    return root


def train(data, out, **settings):
    return retrain(data=data, out=out, **{"architecture": random_architecture(0, LIGHT), **TINY, **settings})


def said(caught):
    return [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def test_scale_labels_and_parts_of_the_training_are_taken_over(photos, tmp_path, recwarn):
    lists = {"train_list": tmp_path / "train.txt", "test_list": str(tmp_path / "test.txt")}
    train({"path": photos, "max_side": 32, "label": "dog", **lists}, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    model = load_model(path)
    recwarn.clear()
    report = evaluate(model=model, data=photos)
    assert report["people"] == 4  # the dogs of the listed part
    assert report["taken_over"] == {"max_side": 32, "label": "dog", **{n: str(p) for n, p in lists.items()}}
    assert (report["differs"], report["trained_on"]) == ({}, 0)
    assert "0 of these 4 images" in table(report)
    (line,) = said(recwarn)
    assert "as the model was trained: " in line
    assert "data.max_side 32" in line

    # the same photo, however it comes
    image = cv2.imread(str(photos / "p9.png"))[:, :, ::-1]
    small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)
    with pytest.warns(Note, match="at most 32 pixels a side"):
        (row,) = predict(photos / "p9.png", model=path)
    assert model.density(image).shape == model.density(small).shape
    assert model.count(photos / "p9.png") == model.count(image) == model.count(small)
    assert row["count"] == pytest.approx(model.count(small), abs=0.006)

    recwarn.clear()
    report = evaluate(model=model, data={"path": photos, "max_side": 48, **lists})
    assert report["differs"] == {"max_side": "48 is given, but the model was trained with 32"}
    assert any(line.startswith("data.max_side: 48 is given") for line in said(recwarn))
    for settings in ({"max_side": 32, "label": "dog"}, {}):  # of other data: what is seen and counted, and no parts
        shutil.copytree(photos, tmp_path / f"other{len(settings)}")
        report = evaluate(model=model, data={"path": tmp_path / f"other{len(settings)}", **settings}, split="all")
        assert report["images"] == report["people"] == 12
    (tmp_path / "train.txt").rename(tmp_path / "away.txt")
    assert "no such file is here" in evaluate(model=model, data=photos)["differs"]["train_list"]


def test_images_that_were_trained_on_are_known_wherever_they_lie(photos, tmp_path, recwarn):
    model = train({"path": photos, "train_list": str(tmp_path / "train.txt")}, tmp_path / "run")
    assert len(model.origin.images) == 8
    renamed, saved_again = tmp_path / "renamed" / "photos", tmp_path / "again" / "photos"
    shutil.copytree(photos, renamed)
    (renamed / "p3.png").rename(renamed / "new.png")
    clicks = (renamed / "clicks.csv").read_text()
    (renamed / "clicks.csv").write_text(clicks.replace("p3.png", "new.png"))
    shutil.copytree(photos, saved_again)
    cv2.imwrite(str(saved_again / "p3.png"), cv2.imread(str(photos / "p3.png")), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    recwarn.clear()
    for folder in (renamed, saved_again):
        report = evaluate(model=model, data={"path": folder, "train_list": None}, split="all")
        assert report["trained_on"] == 8
    assert any("8 of the 12 images were trained on (p0, p1, p2 …)" in line for line in said(recwarn))
    assert evaluate(model=model, data={"path": "synthetic", "test": 2, "size": 64})["trained_on"] == 0

    more = train(
        {"path": "synthetic", "train": 4, "size": 64},
        tmp_path / "more",
        architecture=None,
        from_model=model,
        network="amsnet",
    )
    assert len(more.origin.images) == 12  # with those that the weights began with
    assert evaluate(model=more, data=photos, split="all")["trained_on"] == 8
    for split, met in (("train", 4), ("test", 0)):
        report = evaluate(model=more, data={"path": "synthetic", "train": 4, "test": 2, "size": 64}, split=split)
        assert report["trained_on"] == met


def test_held_out_images_are_of_the_data_set_that_they_are_cut_from(photos, tmp_path):
    held_out = HeldOut(open_data(photos, max_side=32), 0.3)
    model = train(held_out, tmp_path / "run")
    assert model.max_side == 32
    report = evaluate(model=model, data=held_out, split="validation")
    assert (report["trained_on"], report["differs"]) == (0, {})
    assert evaluate(model=model, data=photos, split="train")["trained_on"] == len(model.origin.images)


def test_every_reader_gives_settings_that_a_model_keeps(tmp_path):
    for name in layouts.WRITERS:
        layouts.write(name, tmp_path / name, [np.array([[4.0, 5.0]])] * 6)
        dataset = open_data(tmp_path / name, max_side=32)
        origin = Origin.of(dataset, fingerprints(dataset, dataset.samples("train")))
        assert Origin.from_dict(json.loads(json.dumps(origin.to_dict()))) == origin
        again, taken, differs = origin.reopen(tmp_path / name)
        assert (taken, differs) == ({"max_side": 32}, {}), name
        assert len(origin.met(again, again.samples("train"))) == len(origin.images)


@pytest.mark.parametrize(
    "origin",
    [
        [],
        {},
        {"data": 1, "settings": {}, "images": {}},
        {"data": "", "settings": {"max_side": 1.5}, "images": {}},
        {"data": "", "settings": {"max_side": True}, "images": {}},
        {"data": "", "settings": {}, "images": {"a": 1}},
    ],
)
def test_an_origin_that_is_none_is_refused(photos, tmp_path, origin):
    train(photos, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    with safe_open(path, "pt") as file:
        header, weights = {**file.metadata(), "checksum": BLANK}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, path, {**header, "origin": json.dumps(origin)})
    with pytest.raises(ModelError, match="origin: "):
        load_model(path)
    save_file(weights, path, {**header, "preprocessing": json.dumps({"colours": "BGR"})})
    with pytest.raises(ModelError, match=r"preprocessing is .*BGR"):
        load_model(path)


def test_a_file_of_version_0_1_does_not_tell(photos):
    from test_old_files import FILES

    model = load_model(FILES / "model_0.1.safetensors")
    assert model.origin is model.max_side is None
    report = evaluate(model=model, data=photos)
    assert report["trained_on"] is None
    assert "unknown" in table(report)


def test_another_set_of_the_same_names_was_not_trained_on(photos, tmp_path):
    model = train(photos, tmp_path / "run")
    other = tmp_path / "other" / "photos"
    shutil.copytree(photos, other)
    for path in other.glob("*.png"):
        cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    assert evaluate(model=model, data=other, split="all")["trained_on"] == 0


def test_images_of_one_border_are_told_apart(tmp_path):
    for number in range(3):
        image = np.zeros((400, 600, 3), np.uint8)
        image[150:250] = 40 * number
        cv2.imwrite(str(tmp_path / f"{number}.bmp"), image)
    (tmp_path / "clicks.csv").write_text("image,x,y\n0.bmp,1,2\n1.bmp,1,2\n2.bmp,1,2\n")
    samples = open_data(tmp_path).samples("all")
    assert len({*map(fingerprint, samples)}) == 3
    assert len({*map(origins.earlier_fingerprint, samples)}) == 1


def test_fingerprints_of_earlier_versions_are_known(photos, tmp_path):
    model = train(photos, tmp_path / "run")
    samples = {origins.place(sample, photos): sample for sample in open_data(photos).samples("all")}
    earlier = {name: origins.earlier_fingerprint(samples[name]) for name in model.origin.images}
    model.origin = Origin(model.origin.data, model.origin.settings, earlier)
    assert evaluate(model=model, data=photos, split="all")["trained_on"] == len(earlier)
    kept = [
        {name: earlier[name] for name in part} for part in json.loads((tmp_path / "run" / "images.json").read_text())
    ]
    (tmp_path / "run" / "images.json").write_text(json.dumps(kept))
    train(photos, tmp_path / "run", resume=True, max_steps=3)


def test_a_run_goes_on_with_the_annotations_that_it_began_with(photos, tmp_path):
    train(photos, tmp_path / "run")
    clicks = (photos / "clicks.csv").read_text()
    name = next(iter(json.loads((tmp_path / "run" / "images.json").read_text())[0]))
    (photos / "clicks.csv").write_text(f"{clicks}{name},9,9\n")
    with pytest.raises(RunError, match=f"was begun with {name}, which is no longer annotated as it was; restore it"):
        train(photos, tmp_path / "run", resume=True, max_steps=3)
    (photos / "clicks.csv").write_text(clicks)


def test_a_training_reads_each_image_for_its_fingerprint_once(photos, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(origins, "fingerprint", lambda sample: seen.append(sample.name) or fingerprint(sample))
    model = train(photos, tmp_path / "run")
    assert len(seen) == len(set(seen)) == len(model.origin.images)
    assert {*model.origin.images.values()} == {fingerprint(sample) for sample in open_data(photos).samples("train")}


def test_damaged_parts_of_a_begun_training_are_told(photos, tmp_path):
    train(photos, tmp_path / "run")
    kept = tmp_path / "run" / "images.json"
    first, second = json.loads(kept.read_text())
    for odd in (
        [first],
        [{}, second],
        [first, {}],
        [{}, {}],
        [first, second, {}],
        3,
        {"a": 1},
        [[1], [2]],
        [{**first, "a": 1}, second],
    ):
        kept.write_text(json.dumps(odd))
        with pytest.raises(RunError, match=r"images\.json: cannot be read; restore it, or begin again in"):
            train(photos, tmp_path / "run", resume=True)


def test_what_a_folder_holds_is_said_before_its_images(photos, tmp_path):
    """A search is resumed in the folder of a retraining, on other images."""
    train(photos, tmp_path / "run")
    data = {"path": "synthetic", "train": 4, "test": 2, "size": 64}
    with pytest.raises(RunError, match=r"run: holds a run of 'retrain', not of 'search'; choose another --out"):
        search(data=data, space=SmallSpace(), strategy=DARTS(), crops=Crops(32, 1), out=tmp_path / "run", resume=True)
