"""Whatever goes wrong below a command is one line and the right exit code."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import nni_count.cli as cli
from nni_count.errors import DataError, Interrupted


def in_a_class(*_):
    """As Python up to 3.11 tells it."""
    raise RuntimeError("Error calling __set_name__ on 'Field' instance") from KeyboardInterrupt()


def cv2_memory():
    cv2.resize(np.zeros((4, 4), np.uint8), (2**20, 2**20))


def raising(error):
    def run(*_):
        raise error

    return run


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "runs/x/counts.csv")


@pytest.mark.parametrize(
    ("run", "command", "code", "line"),
    [
        (full, "retrain", 2, "runs/x/counts.csv: No space left on device; make room, then continue with --resume"),
        (full, "predict", 2, "make room, then run it again in another --out"),
        (lambda *_: open("/no/such/file"), "doctor", 2, "/no/such/file: No such file or directory; it may have been"),
        (lambda *_: Path("x" * 300).stat(), "doctor", 2, "File name too long; choose a shorter name"),
        (raising(PermissionError(errno.EACCES, "denied", b"caf\xe9")), "doctor", 2, "denied; check its permissions"),
        (raising(OSError(errno.EIO, "Input/output error")), "doctor", 2, "the system: Input/output error; check the"),
        (lambda *_: np.zeros(1 << 60, np.uint8), "predict", 2, "not enough memory (Unable to allocate"),
        (lambda *_: torch.zeros(1 << 50), "retrain", 2, "); lower --batch_size, --crop_size or --cache_gb"),
        (lambda *_: cv2_memory(), "evaluate", 2, "lower --data.max_side"),
        (raising(MemoryError()), "evaluate", 2, "not enough memory (MemoryError)"),
        (
            raising(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")),
            "retrain",
            2,
            "a process that prepares batches was ended, for want of memory perhaps; lower --num_workers, continue",
        ),
        (raising(KeyboardInterrupt()), "retrain", 130, "interrupted; continue with --resume if the run"),
        (raising(KeyboardInterrupt()), "predict", 130, "error: interrupted\n"),
        (in_a_class, "predict", 130, "error: interrupted\n"),
        (lambda *_: os.kill(os.getpid(), signal.SIGTERM), "doctor", 130, "error: interrupted\n"),
        (raising(Interrupted("runs/x: interrupted after step 3")), "retrain", 130, "interrupted after step 3"),
        (raising(Interrupted("x/search: continue with --resume")), "demo", 130, "interrupted; run it again in another"),
    ],
)
def test_what_the_machine_does_is_a_line_with_a_remedy(run, command, code, line, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_run", run)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main([command]) == code
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_nobody_foresaw_is_a_line_that_names_a_log(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "_run", lambda *_: {}["some\nthing"])
    assert cli.main(["retrain"]) == 2
    said = capsys.readouterr().err
    (log,) = re.findall(r"a fault of NNI-Count's: report it, with (\S+)\n", said)
    assert said.count("\n") == 1
    assert "Traceback" in Path(log).read_text()
    assert "KeyError" in Path(log).read_text()
    monkeypatch.setattr("tempfile.mkstemp", full)
    assert cli.main(["retrain"]) == 2
    assert "no room" in capsys.readouterr().err
    monkeypatch.setattr(cli, "_run", raising(ValueError("x" * 3000)))
    cli.main(["retrain"])
    assert len(capsys.readouterr().err) < 530


def test_a_reader_that_leaves_ends_nothing(monkeypatch):
    """As ``| head -1`` does; what is said in letters that the stream has not is escaped."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(os.fdopen(writing, "wb"), encoding="ascii"))

    def run(*_):
        print("α" * 100_000)
        print("more", flush=True)
        return 2

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(["doctor"]) == 2


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_ends_nothing(stream, monkeypatch):
    monkeypatch.setattr(sys, stream, None)  # as Python has it after >&-
    assert cli.main(["--version"]) == 0
    assert cli.main(["doctor", "--data", "nowhere"]) == 2
    assert getattr(sys, stream) is not None


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", rb"1\u2013100 \xe9"), ("latin-1", b"1\\u2013100 \xe9")])
def test_letters_that_a_stream_has_not_are_escaped(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "_run", lambda *_: print("1–100 é", os.fsdecode(b"\xff.png")) or 0)
    assert cli.main(["doctor"]) == 0
    assert stream.buffer.getvalue() == shown + b" \xff.png\n"


def test_a_full_disk_behind_the_output_is_told():
    code = "from nni_count.cli import main; raise SystemExit(main(['--version']))"
    with open("/dev/full", "w") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


def test_libraries_in_c_speak_to_the_log_alone(tmp_path):
    """libpng, libjpeg and OpenCV write past Python; what Python says is heard, also from a worker."""
    code = (
        "import os, sys\nimport nni_count.cli as cli\n"
        "def run(*_):\n"
        "    os.write(2, b'libpng error: IDAT: CRC error\\n')\n"
        "    if os.fork() == 0:\n        print('worker', file=sys.stderr, flush=True)\n        os._exit(0)\n"
        "    os.wait()\n    raise ValueError('x')\n"
        "cli._run = run\ncode = cli.main(['doctor'])\nos.write(2, b'after\\n')\nraise SystemExit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 2
    first, line, last = done.stderr.splitlines()
    assert (first, last) == ("worker", "after")
    (log,) = tmp_path.iterdir()
    assert line.endswith(str(log))
    assert "libpng error" in log.read_text()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_of_ours_begins_below_a_bar(stream, monkeypatch, capsys):
    def run(*_):
        print("\rEpoch 3: 50%", end="", file=getattr(sys, stream))
        raise DataError("x.jpg: is gone")

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(["retrain"]) == 2
    said = capsys.readouterr()
    assert said.out + said.err == "\rEpoch 3: 50%\nnni-count: error: x.jpg: is gone\n"


def test_a_thread_that_ends_speaks_to_the_log_alone(monkeypatch, capsys, tmp_path):
    """As tensorboard's does on a full disk; the one that waits for it tells."""

    def run(*_):
        thread = threading.Thread(target=full)
        thread.start()
        thread.join()
        raise ValueError("x")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "_run", run)
    before = threading.excepthook
    assert cli.main(["retrain"]) == 2
    assert threading.excepthook is before
    assert capsys.readouterr().err.count("\n") == 1
    (log,) = tmp_path.iterdir()
    assert "runs/x/counts.csv" in log.read_text()
