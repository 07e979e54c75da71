"""The GPU run: rehearsed on the CPU to its end, and what it does with bad input and with parts that fail."""

import json
import shutil
import sys
import tarfile
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import write_shanghaitech

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import gpu
import pack_for_gpu
from on_gpu import device, measure, needs, workers
from on_gpu.curve import Waits
from on_gpu.data import join, shanghaitech_a
from on_gpu.results import Results
from on_gpu.search import BESIDE, METHODS
from on_gpu.sizes import PAPER, SMALLEST
from on_gpu.table import tables

from nni_count.errors import DataError
from nni_count.model import load_model

OUT_OF_MEMORY = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has a total capacity of 40.00 GiB"
)
FACTS = {"device": "X", "date": "2026-01-01", "command": "gpu.py", "rehearsal": False, "versions": {"torch": "2"}}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "run"
    code = gpu.main(["--rehearse", "--out", str(out)])
    return code, out, json.loads((out / "results.json").read_text())


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results.json", dict(FACTS), time.monotonic())


def written(results):
    return json.loads(results.path.read_text())["parts"]


def test_the_rehearsal_measures_all_parts(rehearsed):
    code, out, content = rehearsed
    parts = content["parts"]
    assert (code, {part["state"] for part in parts.values()}) == (0, {"done"}), json.dumps(parts)
    assert [row["method"] for row in parts["search"]["rows"]] == list(METHODS)
    assert all(row["milliseconds"] > 0 and row["peak_gib"] > 0 and row["hours"] > 0 for row in parts["search"]["rows"])
    assert [(row["ours"], row["beside"]) for row in parts["search"]["ratios"]] == BESIDE
    timed = [(row["network"], row["batch"]) for row in parts["inference"]["rows"]]
    assert timed == [(name, batch) for batch in SMALLEST.batches for name in SMALLEST.networks]
    assert all(row["images_a_second"] > 0 for row in parts["inference"]["rows"])
    retraining = parts["retraining"]
    assert {"raw", "average"} >= {retraining["chosen"]["weights"]}
    assert retraining["trainings"][0]["steps"] == retraining["curve"][-1]["step"] > 0
    assert retraining["test"]["images"] == 3
    assert set(retraining["test"]["maps"]) == {"csrnet", "truth-peak", "map-size"}
    model = load_model(out / "model.safetensors")
    assert model.parameters == retraining["parameters"]
    assert model.facts["validation_mae"] == retraining["chosen"]["validation_mae"]


def test_its_tables_can_be_printed_again(rehearsed, capsys):
    _, out, content = rehearsed
    assert gpu.main(["--table", str(out / "results.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Rehearsal at the smallest sizes; none of this is a figure.")
    for name in [*METHODS, *SMALLEST.networks, "PartialChannel beside NNI DARTS, as it ships: ", "(truth-peak)"]:
        assert f"{name}" in printed
    assert f": {content['parts']['retraining']['curve'][-1]['step']} steps in " in printed
    assert f"MAE {content['parts']['retraining']['test']['constant_mae']:.1f}" in printed


def test_the_paper_s_size_is_the_paper_s():
    assert (PAPER.cells, PAPER.width, PAPER.crop, PAPER.batch) == (6, 256, 128, 8)
    assert PAPER.image == (768, 1024)
    assert PAPER.batches == (1, 8)
    assert list(PAPER.networks)[:2] == ["AMSNet M=8, C=512", "AMSNet M=8, C=256"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "{data}"], "out: give a folder"),
        (["--data", "{data}", "--out", "{new}", "--minutes", "2"], "minutes: 2; give 3 or more"),
        (["--data", "{data}", "--out", "{new}", "--minutes", "nan"], "minutes: nan; give 3 or more"),
        (["--data", "{data}", "--out", "{new}", "--width", "100"], "width: 100; give a multiple of 16"),
        (["--data", "{data}", "--out", "{data}"], "is not empty; choose another --out"),
        (["--out", "{new}"], "data: give the folder of ShanghaiTech A"),
        (["--data", "{data}", "--out", "{new}"], "device: PyTorch finds no CUDA device here; --rehearse"),
        (["--rehearse", "--data", "{data}", "--out", "{new}"], "no ShanghaiTech A, which has 300 and 182: found 8 "),
        (["--rehearse", "--data", "{empty}", "--out", "{new}"], "holds neither train_data nor test_data"),
        (["--rehearse", "--data", "{new}", "--out", "{new}"], "no such folder or archive"),
        (["--table", "{new}"], "cannot be read"),
        (["--table", "{text}"], "no JSON"),
        (["--length", "3"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_computed(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    places = {name: tmp_path / name for name in ("new", "empty", "text")}
    places["empty"].mkdir()
    places["text"].write_text("no")
    places["data"] = write_shanghaitech(tmp_path / "data", size=32)
    assert gpu.main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not places["new"].exists()


def test_missing_packages_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name in ("nni", "schema") else object())
    assert gpu.main(["--rehearse", "--out", str(tmp_path / "new")]) == 2
    assert "not installed here: nni==3.0, schema; pip install" in capsys.readouterr().err


def test_out_of_memory_is_reported_with_the_size_and_the_next_row_runs(results):
    with results.part("search", 1e9) as part:
        for method in ("large", "small"):
            with part.row("rows", method=method) as row:
                if method == "large":
                    raise OUT_OF_MEMORY
                row["milliseconds"] = 1
    large, small = written(results)["search"]["rows"]
    assert (large["asked"], large["error"]) == ("12.50 GiB", "out of memory: asked for 12.50 GiB")
    assert small == {"method": "small", "milliseconds": 1}
    assert results.failed


def test_a_part_that_fails_says_so_and_the_next_runs(tmp_path, monkeypatch, capsys):
    def fails(error):
        def part(*_):
            raise error

        return part

    monkeypatch.setattr(measure, "search", fails(OUT_OF_MEMORY))
    monkeypatch.setattr(measure, "inference", fails(ValueError("no network\nat all")))
    monkeypatch.setattr(measure, "retraining", lambda part, *_: part.set(network="N"))
    monkeypatch.setattr(measure, "tables", lambda content: "printed")
    assert gpu.main(["--rehearse", "--out", str(tmp_path / "out")]) == 1
    parts = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    assert [part["state"] for part in parts.values()] == ["failed", "failed", "done"]
    assert parts["search"]["asked"] == "12.50 GiB"
    assert parts["inference"]["error"] == "ValueError: no network"
    assert parts["inference"]["traceback"][-1] == "at all"
    assert parts["retraining"]["network"] == "N"
    assert "printed" in capsys.readouterr().out


def test_a_run_cut_off_leaves_what_was_measured(results):
    def cut_off():
        with results.part("search", 1e9) as part:
            with part.row("rows", method="first") as row:
                row["milliseconds"] = 1
            with part.row("rows", method="second"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert written(results)["search"] == {"state": "running", "rows": [{"method": "first", "milliseconds": 1}]}
    content = json.loads(results.path.read_text())
    content["parts"]["search"] |= {"cells": 6, "width": 256, "crop": 128, "batch": 8, "epochs": 80, "images": 1201}
    content["parts"]["search"]["rows"] = [{"method": "first", "error": "out of memory: asked for 12.50 GiB"}]
    content["parts"]["retraining"] = {"state": "running"}
    assert "| first | out of memory: asked for 12.50 GiB |" in tables(content)


def test_a_part_takes_nothing_new_when_its_time_is_over(results):
    with results.part("search", 0.0) as part, part.row("rows", method="late") as row:
        part.need()
        row["milliseconds"] = 1
    assert written(results)["search"]["rows"] == [{"method": "late", "error": "no time was left"}]


def test_data_are_joined_from_folders_and_archives(tmp_path):
    whole = write_shanghaitech(tmp_path / "part_X", size=32, points_folder="ground_truth")
    train, test = tmp_path / "train.zip", tmp_path / "only" / "test_data"
    shutil.make_archive(str(train.with_suffix("")), "zip", tmp_path, "part_X/train_data")
    shutil.copytree(whole / "test_data", test)
    data = shanghaitech_a([train, test.parent], tmp_path / "place", any_size=True)
    for split in ("train", "test"):
        ours, its = data.samples(split), type(data)(whole).samples(split)
        assert [sample.name for sample in ours] == [sample.name for sample in its]
        assert all((one.points == other.points).all() for one, other in zip(ours, its, strict=True))
    with pytest.raises(DataError, match=r"IMG_\d+.* is in another source too"):
        join([train, whole], tmp_path / "twice")
    with pytest.raises(DataError, match="found 8 training and 0 test images"):
        shanghaitech_a([train], tmp_path / "half", any_size=True)
    with pytest.raises(DataError, match="neither a folder nor a zip or tar"):
        join([whole / "test_data" / "images" / "IMG_1.jpg"], tmp_path / "image")
    (tmp_path / "cut.zip").write_bytes(train.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.zip: neither a folder|cut\.zip: cannot be unpacked"):
        join([tmp_path / "cut.zip"], tmp_path / "cut")


def test_what_is_carried_is_small_and_whole(tmp_path, capsys):
    whole, out = write_shanghaitech(tmp_path / "part_X", size=32), tmp_path / "packed"
    files = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
    size = sum(512 + -(-(whole / path).stat().st_size // 512) * 512 for path in files)
    most = 1.05 + size / 2e6  # two halves, and the megabyte that an archive may have for its end
    assert pack_for_gpu.main(["--data", str(whole), "--out", str(out), "--megabytes", str(most)]) == 0
    made = sorted(out.glob("data_*.tar"))
    names = [Path(member) for archive in made for member in tarfile.open(archive).getnames()]
    assert len(made) == 2
    assert all(archive.stat().st_size <= 1e6 * most for archive in made)
    assert (set(names), len(names)) == (files, len(files))
    assert len(list(join(made, tmp_path / "place").rglob("*.jpg"))) == 11
    assert (out / "site" / "nni" / "nas" / "strategy" / "__init__.py").is_file()
    assert not list((out / "site").rglob("nni_node")) + list((out / "site").rglob("*.so"))
    assert "to be installed there: " in capsys.readouterr().out
    assert pack_for_gpu.main(["--data", str(whole), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_cuda_device_counts_from_event_to_event_and_takes_no_more_than_40_gib(monkeypatch):
    clock, shares = count(), []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = next(clock)

        def elapsed_time(self, other):
            return float(other.at - self.at)

    properties = SimpleNamespace(name="H", total_memory=80 * 2**30, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90000)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    found = device.open_device(rehearse=False)
    assert (shares, found.describe()["device"]) == ([0.5], "H")
    steps = []
    assert found.times(lambda: steps.append(next(clock)), warm_up=3, number=5, seconds=100) == [2.0] * 5
    assert len(steps) == 8
    assert len(found.times(lambda: None, warm_up=0, number=50, seconds=0)) == device.LEAST_STEPS


def test_waiting_is_what_lies_between_steps_but_not_around_validations(monkeypatch):
    waits = Waits()
    assert waits.figures(4) == {"waiting_share": None, "step_milliseconds": None, "crops_a_second": None}
    times = iter([10.0, 11.0, 12.0, 15.0, 100.0, 101.0, 102.0, 105.0])
    monkeypatch.setattr("on_gpu.curve.time", SimpleNamespace(perf_counter=lambda: next(times)))
    for step in range(4):
        if step == 2:
            waits.on_validation_start()
        waits.on_train_batch_start()
        waits.on_train_batch_end()
    assert waits.figures(4) == {"waiting_share": 0.25, "step_milliseconds": 4000.0, "crops_a_second": 1.0}


def test_processes_leave_two_cores_and_need_shared_memory(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**36))
    assert (workers.workers(20), workers.workers(12)) == (14, 12)
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**26))
    assert workers.workers(12) == 0
