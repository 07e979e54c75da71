"""Two machines, two trials at once: each figure stands under the settings that gave it. Two minutes."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from docs.pages import ROOT
from machines import Machines
from nnictl import MOST_SECONDS, SEEDS, STRATEGIES, Portal, experiment_config, final

from nni_count.cli import main
from nni_count.commands.compare import compare

pytestmark = pytest.mark.slow

LONGER = "--retrain.max_steps 12 --retrain.learning_rate 0.01"  # so that no two settings give the same figure
LATER = 6  # seconds: a trial with an even number asks that much later, so behind the one that was started after it


def remote_service(machines):
    """The part of a configuration that the example has, with these machines in it."""
    config = yaml.safe_load((ROOT / "examples" / "remote.yml").read_text())
    service = config["trainingService"]
    programs = str(Path(sys.executable).parent)
    service["nniManagerIp"] = machines.here
    service["machineList"] = [
        {**service["machineList"][0], "host": address, "sshKeyFile": str(machines.key), "pythonPath": programs}
        for address in machines.addresses
    ]
    return config


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    with Machines(tmp_path_factory.mktemp("machines"), 2) as machines:
        yield machines
    left = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in machines.names if name in left]


@pytest.fixture(scope="module")
def experiment(machines, tmp_path_factory):
    """One that has ended; nothing of it may run behind its stop."""
    wait = f"sleep $(( {LATER} * ((NNI_TRIAL_SEQ_ID + 1) % 2) ))"
    config = experiment_config(
        trialCommand=f"{wait}; nni-count trial --config settings.yml {LONGER}", **remote_service(machines)
    )
    portal = Portal(tmp_path_factory.mktemp("nnictl"), config)
    try:
        portal.wait_for(lambda: portal.get("check-status")["status"] == "DONE", MOST_SECONDS)
        yield portal
    finally:
        portal.stop_whole()


def trial_folder(machines, portal, job):
    """Where a trial ran, on whichever machine."""
    places = [list(home.glob(f"nni-experiments/{portal.id}/environments/*/trials/{job}")) for home in machines.homes]
    ((index, folder),) = [(index, folder) for index, found in enumerate(places) for folder in found]
    return index, folder


def test_each_figure_stands_under_the_settings_that_gave_it(experiment, machines, tmp_path):
    jobs = experiment.get("trial-jobs")
    assert [job["status"] for job in jobs] == ["SUCCEEDED"] * len(STRATEGIES) * len(SEEDS)
    begun = sorted((job["startTime"], job["endTime"]) for job in jobs)
    assert any(later[0] < earlier[1] for earlier, later in pairwise(begun))  # two at once
    used, mixed = set(), 0
    for job in jobs:
        record = json.loads(job["hyperParameters"][0])
        (reported,) = job["finalMetricData"]
        assert int(reported["parameterId"]) == record["parameter_id"]
        machine, folder = trial_folder(machines, experiment, job["trialJobId"])
        used.add(machine)
        mixed += "settings of another trial" in (folder / "trial.stdout").read_text()
        out = tmp_path / job["trialJobId"]
        given = [f"--{name}={value}" for name, value in record["parameters"].items()]
        settings = experiment.folder.parents[1] / "settings.yml"
        assert main(["trial", "--config", str(settings), *LONGER.split(), *given, "--out", str(out)]) == 0
        alone = json.loads((out / "result.json").read_text())
        assert {name: alone[name] for name in record["parameters"]} == record["parameters"]
        for name, value in final(job).items():
            if name not in ("search_seconds", "memory_mb"):
                assert value == pytest.approx(alone["mae" if name == "default" else name], rel=1e-6), (job, alone)
    assert len({final(job)["default"] for job in jobs}) == len(jobs)
    assert used == {0, 1}
    assert mixed  # NNI did mix them up, so that this test has seen what it is about


def test_what_compare_reads_of_it_is_the_same(experiment, tmp_path):
    text = compare([experiment.folder], out=tmp_path / "out")
    assert all(f"| {strategy} | {len(SEEDS)} |" in text for strategy in STRATEGIES)
