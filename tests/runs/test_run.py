import os
import signal
import stat

import pytest
import yaml

from nni_count.errors import Interrupted, RunError
from nni_count.runs.files import whole, write_text
from nni_count.runs.run import graceful_stop, open_run


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
