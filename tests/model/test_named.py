"""Models by name: those that come with the package, and those of the Hugging Face Hub."""

import shutil
import sys
from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import pytest
from samples import synthetic_cells, synthetic_crowds

from nni_count.commands.predict import predict
from nni_count.errors import ModelError, Note
from nni_count.model import load_model
from nni_count.model.named import OURS, find_model

FRESH = 2_000_000  # of the streams, far beyond any image of a training or test


@pytest.mark.parametrize(("name", "draw"), [("crowds", synthetic_crowds), ("cells", synthetic_cells)])
def test_ours_count_what_they_learnt_to_count(name, draw):
    model = load_model(name)
    samples = draw(12, start=FRESH)
    off = np.mean([abs(model.count(sample.read()) - sample.count) for sample in samples])
    counts = [sample.count for sample in samples]
    assert off < 0.5 * np.abs(np.array(counts) - np.mean(counts)).mean()
    assert find_model(name).stat().st_size < 1_000_000


@pytest.mark.parametrize("name", ["Crowds", "crowd", "model"])
def test_a_word_that_names_nothing_is_answered_with_what_does(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"^{name}: no such file, and no model of that name; known: crowds, cells"):
        load_model(name)


def test_ours_learnt_from_synthetic_images_alone_as_their_card_says():
    card = (find_model(OURS[0]).parent / "README.md").read_text()
    for name in OURS:
        model = load_model(name)
        assert model.origin.data.startswith("nni_count.data.synthetic.")
        assert f"`{name}`" in card
        assert f"{model.parameters:,}" in card
        assert f"{model.facts['steps']}" in card
    assert "real photos" in card


def test_predict_says_which_it_takes(tmp_path):
    (sample,) = synthetic_crowds(1)
    cv2.imwrite(str(tmp_path / "photo.png"), sample.read()[:, :, ::-1])
    with pytest.warns(Note, match=r"no --model is given: crowds is taken, .*synthetic images alone"):
        (row,) = predict(tmp_path / "photo.png")
    assert row["count"] == pytest.approx(load_model("crowds").count(tmp_path / "photo.png"), abs=0.01)


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(find_model("cells"), "crowds")
    assert load_model("crowds").task.things == "cells"


@pytest.mark.parametrize("kind", [str, Path])
def test_the_hub_has_models_too(kind, monkeypatch):
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(find_model("cells"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_model(kind("hf://owner/name")).task.things == "cells"
    assert load_model(kind("hf://owner/name/more/best.safetensors")).task.things == "cells"
    assert asked[0] == ("owner/name", "model.safetensors")
    assert asked[-1] == ("owner/name", "more/best.safetensors")


def test_what_cannot_be_had_is_said(monkeypatch):
    def offline(*_):
        raise huggingface_hub.errors.LocalEntryNotFoundError("An error happened while trying to locate the file\nmore")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelError, match=r"hf://owner/name: cannot be downloaded \(An error .*\); check the name"):
        load_model("hf://owner/name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"needs huggingface_hub; pip install 'nni-count\[hub\]'"):
        load_model("hf://owner/name")
