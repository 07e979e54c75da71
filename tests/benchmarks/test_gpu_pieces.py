"""The pieces of the GPU run: joined data, what is carried, the CUDA device, waiting for data, processes."""

import shutil
import sys
import tarfile
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import write_shanghaitech

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import pack_for_gpu
from on_gpu import device, workers
from on_gpu.curve import Waits
from on_gpu.data import join, shanghaitech_a

from nni_count.errors import DataError


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


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("name", "link"), [("../outside.jpg", None), ("inside.jpg", "/etc"), ("b/inside.jpg", "../../up")]
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path, monkeypatch, old, name, link):
    if old and hasattr(tarfile, "data_filter"):  # Pythons before 3.11.4 have none
        monkeypatch.delattr(tarfile, "data_filter")
    whole = write_shanghaitech(tmp_path / "part_X", size=32)
    with tarfile.open(tmp_path / "good.tar", "w") as archive:
        archive.add(whole, "part_X")
    assert shanghaitech_a([tmp_path / "good.tar"], tmp_path / "place", any_size=True).samples("test")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        archive.addfile(member)
    with pytest.raises(DataError, match=r"bad\.tar: cannot be unpacked"):
        join([tmp_path / "bad.tar"], tmp_path / "bad" / "place")
    assert not [*tmp_path.rglob("outside.jpg"), *tmp_path.rglob("inside.jpg")]


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
