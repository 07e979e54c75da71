"""Experiments that nnictl starts, for tests: a trial of two epochs of search and three steps of retraining."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests
import yaml

STRATEGIES, SEEDS, EPOCHS = ["DARTS", "GDAS"], [0, 1], 2
MOST_SECONDS = 240

SETTINGS = {
    "space": {"class_path": "search_spaces.AMSNetSpace", "init_args": {"width": 16, "map_stride": 4}},
    "data": {"path": "synthetic", "train": 20, "size": 64},
    "max_epochs": EPOCHS,
    "limit_train_batches": 1,
    "crop_size": 32,
    "batch_size": 1,
    "retrain": {"max_steps": 3, "crop_size": 32, "batch_size": 2},
}


def experiment_config(**changes):
    choices = {"strategy": STRATEGIES, "seed": SEEDS}
    return {
        "experimentName": "test",
        "searchSpace": {name: {"_type": "choice", "_value": values} for name, values in choices.items()},
        "tuner": {"name": "GridSearch"},
        "trialCommand": "nni-count trial --config settings.yml",
        "trialCodeDirectory": ".",
        "trialConcurrency": 2,
        "maxTrialNumber": 4,
        "trainingService": {"platform": "local"},
        **changes,
    }


class Portal:
    """An experiment that nnictl started, with a home of its own."""

    def __init__(self, folder: Path, config: dict):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = {**os.environ, "HOME": str(folder), "PATH": programs, "OMP_NUM_THREADS": "1"}
        (folder / "settings.yml").write_text(yaml.safe_dump(SETTINGS))
        config = {**config, "experimentWorkingDirectory": str(folder / "experiments")}
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        output = self.nnictl("create", "--config", str(folder / "config.yml"), "--port", str(self.port))
        found = re.search(r"Experiment ID: (?:\x1b\[\d+m)?(\w+)", output)
        assert found, output
        self.id = found[1]
        self.folder = folder / "experiments" / self.id

    def nnictl(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("nnictl")), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=120)
        return result.stdout + result.stderr

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, what: str):
        return requests.get(f"{self.url}/api/v1/nni/{what}", timeout=20).json()

    def wait_for(self, condition, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.get("check-status"), self.get("trial-jobs"))
            time.sleep(1)

    def stop(self) -> None:
        self.nnictl("stop", self.id)

    def stop_whole(self) -> None:
        """Stop it, and nothing of it runs on."""
        self.stop()
        end = time.monotonic() + 30
        while self.processes() and time.monotonic() < end:
            time.sleep(0.5)
        assert self.processes() == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0

    def processes(self) -> list[str]:
        """What still runs of it: its manager, its trials, and their children."""
        found = []
        for process in psutil.process_iter():
            try:
                if self.id in " ".join(process.cmdline()) or process.environ().get("NNI_EXP_ID") == self.id:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


def final(job):
    return json.loads(json.loads(job["finalMetricData"][0]["data"]))
