import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks.progress.progress_bar import get_standard_metrics

from nni_count.errors import Interrupted, RunError
from nni_count.runs.files import whole, write_text
from nni_count.runs.loggers import run_loggers
from nni_count.runs.run import Run, graceful_stop, open_run


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "before")
    with pytest.raises(RuntimeError), whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_run_records_its_settings(tmp_path):
    run = open_run(tmp_path / "a" / "b", "retrain", {"data": tmp_path, "seed": 3, "network": {"width": 16}})
    text = (run.folder / "config.yaml").read_text()
    assert text.startswith("# nni-count retrain\n")
    assert yaml.safe_load(text) == {
        "data": str(tmp_path),
        "seed": 3,
        "network": {"width": 16},
        "out": str(tmp_path / "a" / "b"),
    }


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty; choose another --out"):
        open_run(tmp_path, "retrain", {})
    with pytest.raises(RunError, match="is not empty"):
        open_run(tmp_path / "note.txt", "retrain", {})
    with pytest.raises(RunError, match="cannot be written"):
        open_run(tmp_path / "note.txt" / "below", "retrain", {})


def test_a_run_that_was_begun_with_fewer_settings_than_there_are_now_goes_on(tmp_path):
    begun = {"compute": {"devices": 1}, "network": {"width": 16}}
    open_run(tmp_path, "retrain", begun).owner.release()
    now = {**begun, "compute": {"devices": 1, "num_nodes": 1}}
    open_run(tmp_path, "retrain", now, resume=True, checkpointed=False).owner.release()
    for name, other in (("compute", {"devices": 2, "num_nodes": 1}), ("network", {"width": 16, "cells": 6})):
        with pytest.raises(RunError, match=f"was begun with {name}"):
            open_run(tmp_path, "retrain", {**now, name: other}, resume=True, checkpointed=False)


def test_what_cannot_be_resumed_says_why(tmp_path):
    with pytest.raises(RunError, match="holds no run to resume"):
        open_run(tmp_path, "retrain", {}, resume=True)
    open_run(tmp_path / "run", "search", {"seed": 1})
    with pytest.raises(RunError, match="holds a run of 'search', not of 'retrain'"):
        open_run(tmp_path / "run", "retrain", {"seed": 1}, resume=True)
    with pytest.raises(RunError, match="stopped before its first checkpoint"):
        open_run(tmp_path / "run", "search", {"seed": 1}, resume=True)
    with pytest.raises(RunError, match="begun with seed 1, not 2"):
        open_run(tmp_path / "run", "search", {"seed": 2}, resume=True)


def test_the_first_ctrl_c_asks_and_the_second_ends(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with graceful_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="step 7; continue with --resume"):
            stop.interrupt(tmp_path, 7)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_has_one_owner(tmp_path):
    """Another process is refused while the run lasts; one that was killed, or has ended, keeps nobody out."""
    ask = (
        "import sys\nfrom nni_count.errors import RunError\nfrom nni_count.runs.run import open_run\n"
        "try:\n    run = open_run(sys.argv[1], 'trial', {}, resume=True, checkpointed=False)\n"
        "except RunError as error:\n    print(error)\nelse:\n    print('free', flush=True)\n    sys.stdin.read()\n"
    )

    def other(**options):
        return subprocess.Popen([sys.executable, "-c", ask, str(tmp_path / "run")], stdout=-1, text=True, **options)

    with open_run(tmp_path / "run", "trial", {}) as run:
        child = os.fork()
        if child == 0:  # a worker, which may outlive the run by a little
            time.sleep(60)
            os._exit(0)
        refused = other().communicate()[0]
        assert f"process {os.getpid()} on {socket.gethostname()} is running it; wait for its end" in refused
    second = other(stdin=-1)
    assert second.stdout.readline() == "free\n"  # though the worker lives
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(RunError, match=f"process {second.pid} on"):
        open_run(run.folder, "trial", {}, resume=True, checkpointed=False)
    second.kill()
    second.wait()
    assert (run.folder / ".owner").is_file()  # nobody's now
    (run.folder / ".unfinished-x.png").touch()
    open_run(run.folder, "trial", {}, resume=True, checkpointed=False)
    assert [path.name for path in run.folder.iterdir()] == ["config.yaml"]


def test_a_damaged_configuration_is_told(tmp_path):
    for text in (b"# nni-count trial\n- a\n", b"# nni-count trial\n\xff: [", b"# nni-count trial\nx: {"):
        (tmp_path / "config.yaml").write_bytes(text)
        with pytest.raises(RunError, match=r"config\.yaml: cannot be read \(.*\); begin the run again"):
            open_run(tmp_path, "trial", {}, resume=True, checkpointed=False)
    with pytest.raises(RunError, match="File name too long"):
        open_run(tmp_path / ("x" * 300), "trial", {})


def test_a_writer_that_does_not_tell_of_a_full_disk_gets_the_runs_name(tmp_path):
    with pytest.raises(OSError, match="No space") as told, open_run(tmp_path / "run", "retrain", {}):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.filename == str(tmp_path / "run")


def test_a_progress_bar_shows_no_version_of_a_logger(tmp_path):
    trainer = pl.Trainer(logger=run_loggers(Run(tmp_path)), accelerator="cpu", enable_checkpointing=False)
    assert get_standard_metrics(trainer) == {}
    trainer.loggers[1].log_metrics({"loss": 1.0}, 1)
    assert list((tmp_path / "tensorboard").glob("events*"))
