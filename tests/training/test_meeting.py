"""Processes that train together: what they were told by whoever started them, and how they meet."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from nni_count.cli import main
from nni_count.errors import SettingError
from nni_count.training.meeting import environment, number

RENDEZVOUS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
TORCHRUN = {**RENDEZVOUS, "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7",
         "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}  # fmt: skip
SMALL = "--data synthetic --data.train 4 --data.test 2 --data.size 32 --crop_size 32 --batch_size 2 --max_steps 1"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def told(monkeypatch):
    for name in list(os.environ):
        if name in TORCHRUN or name.startswith("SLURM_") or name == "NODE_RANK":
            monkeypatch.delenv(name)

    def tell(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return tell


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({**RENDEZVOUS, "NODE_RANK": "0"}, 0),
        (TORCHRUN, 5),
        (SLURM, 5),
        ({**RENDEZVOUS, "NODE_RANK": "1"}, 4),
        ({**RENDEZVOUS, "NODE_RANK": "1", "LOCAL_RANK": "2", "WORLD_SIZE": "8"}, 6),
        ({**RENDEZVOUS, "NODE_RANK": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "interactive"}, 0),
        ({**RENDEZVOUS, "NODE_RANK": "0", "WORLD_SIZE": "1"}, 0),
        ({**RENDEZVOUS, "NODE_RANK": "0", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, 0),
    ],
    ids=[
        "first machine",
        "torchrun",
        "srun",
        "second machine",
        "Lightning's child",
        "a shell of salloc",
        "a left-over",
        "one task",
    ],
)
def test_which_of_the_processes_this_is(told, variables, expected):
    told(variables)
    assert number(4, 2) == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "1"}, "RANK is set, LOCAL_RANK is not"),
        ({"RANK": "0", "WORLD_SIZE": "8"}, "RANK is set, LOCAL_RANK is not"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is set, WORLD_SIZE is not"),
        ({name: TORCHRUN[name] for name in TORCHRUN if name != "TORCHELASTIC_RUN_ID"}, "TORCHELASTIC_RUN_ID is not"),
        ({**TORCHRUN, "WORLD_SIZE": "2"}, "does not match the world size"),
        ({**TORCHRUN, "RANK": "x"}, "invalid literal"),
        ({name: TORCHRUN[name] for name in TORCHRUN if name != "RANK"}, "'RANK' is not set"),
        ({**SLURM, "SLURM_NTASKS_PER_NODE": "2"}, "ntasks-per-node=2"),
        ({name: SLURM[name] for name in SLURM if name != "SLURM_NTASKS_PER_NODE"}, "ntasks-per-node=8"),
        ({**SLURM, "SLURM_NTASKS": "x"}, "invalid literal"),
        ({name: SLURM[name] for name in SLURM if name != "SLURM_PROCID"}, "'SLURM_PROCID' is not set"),
        ({**RENDEZVOUS, "NODE_RANK": "x"}, "invalid literal"),
        ({}, "NODE_RANK is not set"),
        ({"NODE_RANK": "0", "MASTER_ADDR": "a"}, "MASTER_PORT is not set"),
        ({**RENDEZVOUS, "NODE_RANK": "2"}, "this is process 8 of 8"),
        ({**SLURM, "SLURM_LOCALID": "4"}, "this is process 5 of 8, 4 on machine 1"),
        ({**SLURM, "SLURM_NTASKS": "4"}, "this is process 5 of 4"),
        ({**TORCHRUN, "MASTER_ADDR": "foo.invalid"}, "MASTER_ADDR is foo.invalid"),
        ({**TORCHRUN, "MASTER_PORT": "99999"}, "MASTER_PORT is 99999"),
    ],
)
def test_what_was_told_by_half_or_otherwise_is_a_line(told, variables, words):
    told(variables)
    with pytest.raises(SettingError, match=f"devices: 4, on 2 machine.*{words}.*; start it by torchrun, by srun"):
        environment(4, 2)
    assert number(1, 1) == 0


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"LOCAL_RANK": "3"}, TORCHRUN, SLURM])
def test_one_process_trains_alone_whatever_a_job_around_it_was_told(told, variables, tmp_path, capsys):
    told(variables)
    assert main([*f"retrain {SMALL} --network mcnn --accelerator cpu --out".split(), str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "133,705 parameters" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_what_is_no_number_is_a_line_whoever_reads_it(told, name, capsys):
    told({name: "y"})
    assert main(["retrain"]) == 2
    assert f"{name}: is 'y' here, and what reads it takes a number; unset it" in capsys.readouterr().err


@pytest.mark.parametrize("devices", [1, 2])
def test_ctrl_c_ends_the_wait_for_processes_that_do_not_come(told, tmp_path, devices):
    """And so does each process that the first one has started."""
    told({"NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())})
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(
        f"import sys; sys.path[:0] = {sys.path!r}\nfrom nni_count.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = (
        f"retrain {SMALL} --network mcnn --accelerator cpu --devices {devices} --num_nodes 2 --out {tmp_path / 'run'}"
    )
    with log.open("w") as file:
        child = subprocess.Popen([sys.executable, script, *words.split()], stdout=file, stderr=file)
    try:
        while "Initializing distributed" not in log.read_text() and child.poll() is None:
            time.sleep(0.1)
        time.sleep(5 * (devices - 1))  # until the other one waits too, or while it still begins: it ends as well
        others = psutil.Process(child.pid).children(recursive=True)
        assert len(others) == devices - 1
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert psutil.wait_procs(others, 30)[1] == []
    finally:
        child.kill()
    assert "nni-count: error: interrupted while it waited for the other processes" in log.read_text()
