"""Processes that train together: what they were told by whoever started them, and how they meet."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nni_count.cli import main
from nni_count.errors import SettingError
from nni_count.training.meeting import environment, number

RENDEZVOUS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
TORCHRUN = {**RENDEZVOUS, "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7",
         "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}  # fmt: skip
SMALL = "--data synthetic --data.train 4 --data.test 2 --data.size 32 --crop_size 32 --batch_size 2 --max_steps 1"


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
        ({}, 0),
        (TORCHRUN, 5),
        (SLURM, 5),
        ({**RENDEZVOUS, "NODE_RANK": "1"}, 4),
        ({**RENDEZVOUS, "NODE_RANK": "1", "LOCAL_RANK": "2", "WORLD_SIZE": "8"}, 6),
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, 0),
        ({"WORLD_SIZE": "1"}, 0),
    ],
    ids=["nothing", "torchrun", "srun", "second machine", "Lightning's child", "a shell of salloc", "a left-over"],
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
        ({"NODE_RANK": "x"}, "invalid literal"),
    ],
)
def test_what_was_told_by_half_or_otherwise_is_a_line(told, variables, words):
    told(variables)
    with pytest.raises(SettingError, match=f"devices: 4, on 2 machine.*{words}.*; start it by torchrun, by srun"):
        environment(4, 2)
    assert number(1, 1) == 0


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"RANK": "abc"}, TORCHRUN, SLURM, {**SLURM, "SLURM_NTASKS": "x"}])
def test_one_process_trains_alone_whatever_a_job_around_it_was_told(told, variables, tmp_path, capsys):
    told(variables)
    assert main([*f"retrain {SMALL} --network mcnn --accelerator cpu --out".split(), str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "133,705 parameters" in capsys.readouterr().out


def test_ctrl_c_ends_the_wait_for_processes_that_do_not_come(told, tmp_path):
    words = f"retrain {SMALL} --network mcnn --accelerator cpu --num_nodes 2 --out {tmp_path / 'run'}"
    code = f"import sys; sys.path[:0] = {sys.path!r}; from nni_count.cli import main; sys.exit(main({words.split()!r}))"
    log = tmp_path / "log"
    with log.open("w") as file:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=file)
    try:
        while "Initializing distributed" not in log.read_text() and child.poll() is None:
            time.sleep(0.1)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
    finally:
        child.kill()
    assert "nni-count: error: interrupted while it waited for the other processes" in log.read_text()
