import contextlib
import csv
import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nni_count.errors import RunError
from nni_count.runs.checkpoints import WholeCheckpoints, restoring
from nni_count.runs.files import UNFINISHED, whole
from nni_count.runs.loggers import _ContinuedWriter
from nni_count.runs.run import Run

STATE = {"weights": torch.arange(1000.0), "global_step": 3}


def save(path, step):
    WholeCheckpoints().save_checkpoint({**STATE, "global_step": step}, path)


def load(path):
    return WholeCheckpoints().load_checkpoint(path, weights_only=True)


def test_the_state_of_another_run_is_refused(tmp_path):
    settings = {"seed": 0, "budget": {"max_steps": 4}, "crops": {"size": 32}}
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints(Run(tmp_path, settings=settings)).save_checkpoint(STATE, path)
    same = Run(tmp_path, settings={**settings, "budget": {"max_steps": 9}})
    assert WholeCheckpoints(same).load_checkpoint(path, weights_only=True)["global_step"] == 3
    for name, value in (("seed", 5), ("crops", {"size": 64})):
        other = Run(tmp_path, settings={**settings, name: value})
        with pytest.raises(RunError, match=rf"last.ckpt: is of a run with {name}.*, not .*; put back the one of this"):
            WholeCheckpoints(other).load_checkpoint(path, weights_only=True)
    save(path, 4)  # of a version that kept no settings
    assert WholeCheckpoints(same).load_checkpoint(path, weights_only=True)["global_step"] == 4


def flipped(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_the_one_before_stays_beside_the_last(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    for step in (1, 2, 3):
        save(path, step)
    assert load(path)["global_step"] == 3
    assert load(path.with_name("previous.ckpt"))["global_step"] == 2
    assert len(list(path.parent.iterdir())) == 2


def test_a_write_that_fails_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    save(path, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for where, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left.*(last|previous)\.ckpt"):
            patch.setattr(where, name, full)
            save(path, 2)
        assert load(path)["global_step"] == 1
        assert {file.name for file in tmp_path.iterdir()} <= {"last.ckpt", "previous.ckpt"}


def test_every_damage_is_told_and_the_remedy_works(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    save(path, 1)
    good = path.read_bytes()
    for spoilt in (b"", good[: len(good) // 2], good[:-1], b"text\n", b"\x80\x04K\x01."):
        path.write_bytes(spoilt)
        with pytest.raises(
            RunError, match=rf"last\.ckpt: is damaged \(.*\); remove {tmp_path / 'run'} and start again"
        ):
            load(path)
    path.write_bytes(good)
    save(path, 2)
    for place in range(0, len(good), 97):  # nothing is read that is not what was written
        flipped(path, place)
        with contextlib.suppress(RunError):
            assert torch.equal(load(path)["weights"], STATE["weights"])
        flipped(path, place)
    flipped(path, len(good) // 2)
    with pytest.raises(RunError, match="the state before it is whole: mv ") as told:
        load(path)
    source, target = str(told.value).partition("mv ")[2].partition(",")[0].split()
    os.replace(source, target)
    assert load(path)["global_step"] == 1


def test_what_is_no_checkpoint_is_told_though_its_sums_are_right(tmp_path):
    path = tmp_path / "last.ckpt"
    for other in ({"model": torch.nn.Linear(1, 1)}, [1], {"global_step": "3"}):
        torch.save(other, path)
        with pytest.raises(RunError, match=r"is damaged \(it holds something else"):
            load(path)


def test_a_state_that_does_not_fit_is_told_and_a_fault_of_ours_is_not_taken_for_one(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    save(path, 3)
    reader = WholeCheckpoints()
    assert reader.load_checkpoint(path, weights_only=True)["global_step"] == 3
    for loaded, step, error, ours in (
        ({"loops": 1}, 0, RuntimeError("loading state_dict"), False),
        ({}, 3, KeyError("step"), False),
        ({}, 4, KeyError("step"), True),
        ({}, 3, RuntimeError("worker"), True),
        ({"loops": 1}, 0, RuntimeError("CUDA out of memory"), True),
        ({"loops": 1}, 0, OSError("full"), True),
    ):
        connector = SimpleNamespace(_loaded_checkpoint=loaded)
        with pytest.raises(type(error) if ours else RunError) as told:
            io = SimpleNamespace(checkpoint_io=reader)
            with restoring(SimpleNamespace(_checkpoint_connector=connector, strategy=io, global_step=step), path):
                raise error
        assert ours or re.search(
            r"last\.ckpt: is damaged \(it holds another state: .*\); remove .*run and", str(told.value)
        )


def test_an_error_names_the_file_that_was_meant(tmp_path):
    long = tmp_path / ("x" * 300 + ".txt")
    with pytest.raises(OSError, match="File name too long") as told, whole(long) as temporary:
        temporary.write_text("x")
    assert told.value.filename == str(long)
    with pytest.raises(OSError, match="No space") as told, whole(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError) as told, whole(tmp_path / "a.txt"):
        open(tmp_path / "other.txt")
    assert told.value.filename == str(tmp_path / "other.txt")
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


def logged(folder, rows):
    writer = _ContinuedWriter(str(folder))
    for step, figures in rows:
        writer.log_metrics(figures, step)
        writer.save()
    return [(int(row["step"]), row["loss"] or row["mae"]) for row in csv.DictReader(open(folder / "metrics.csv"))]


def test_a_resumed_run_has_each_step_once(tmp_path):
    logged(tmp_path, [(9, {"loss": 1}), (19, {"loss": 2}), (19, {"mae": 3}), (29, {"loss": 4}), (39, {"loss": 5})])
    rows = logged(tmp_path, [(29, {"loss": 6}), (29, {"mae": 7}), (39, {"loss": 8}), (49, {"loss": 9})])
    assert rows == [(9, "1"), (19, "2"), (19, "3"), (29, "6"), (29, "7"), (39, "8"), (49, "9")]
    rows = logged(tmp_path, [(39, {"loss": 8}), (39, {"mae": 1}), (49, {"loss": 2}), (49, {"mae": 3})])
    rows = logged(tmp_path, [(49, {"loss": 4}), (49, {"mae": 5}), (59, {"loss": 6}), (59, {"mae": 7})])
    assert rows[-6:] == [(39, "8"), (39, "1"), (49, "4"), (49, "5"), (59, "6"), (59, "7")]
    rows = logged(tmp_path, [(49, {"mae": 1}), (49, {"loss": 9})])
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("59,1")  # torn by a kill
    rows = logged(tmp_path, [(49, {"mae": 1}), (59, {"loss": 1})])
    assert rows[-3:] == [(49, "9"), (49, "1"), (59, "1")]


def test_rows_that_are_none_are_left_out_and_a_table_that_is_none_is_told(tmp_path):
    path = tmp_path / "metrics.csv"
    for odd in ("step,2\n", ",2\n", "1e3,2\n", f"{'9' * 5000},2\n", "1,2,3\n", "-1,2\n"):
        path.write_text(f"step,loss\n9,1\n{odd}")
        assert logged(tmp_path, [(19, {"loss": 3})]) == [(9, "1"), (19, "3")]
        path.unlink()
    for odd in ("stp,loss\n9,1\n", f"step,loss\n9,{'x' * 200_000}\n"):
        path.write_text(odd)
        with pytest.raises(RunError, match=r"metrics\.csv: .*; remove it$"):
            logged(tmp_path, [(19, {"loss": 3})])
        path.unlink()  # as it says
        assert logged(tmp_path, [(19, {"loss": 3})]) == [(19, "3")]
