"""Multi-trial search: trials in NNI's training service, one door, one record."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import nni.nas.strategy as nni_strategies
import numpy as np
import psutil
import pytest
import yaml
from pytorch_lightning.callbacks import Callback
from short import short
from short_training import short_training
from small_space import SmallSpace

from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.commands import search as _search
from nni_count.data import halves, open_data
from nni_count.errors import RunError, SettingError, TrainingError
from nni_count.runs.run import Run
from nni_count.searching.cost import Cost
from nni_count.searching.multi_trial import manager, service
from nni_count.searching.multi_trial.record import CombinedSpace, Record, Trial, Trials
from nni_count.searching.multi_trial.search import seed_strategy
from nni_count.searching.multi_trial.watchman import end
from nni_count.searching.settings import EarlyStop
from nni_count.tasks.counting import Counting
from nni_count.training.settings import Recipe
from search_spaces import AMSNetSpace
from strategies import DARTS, TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution

search = short(_search.search)

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {"max_epochs": 1, "crop_size": 32, "batch_size": 1, "limit_train_batches": 1, "accelerator": "cpu", "seed": 3}
DATA = {"train": 4, "test": 1, "size": 48}
COMMAND = (
    "search --data synthetic --data.train 4 --data.test 1 --data.size 48 --space search_spaces.AMSNetSpace "
    "--space.width 16 --space.map_stride 4 --strategy strategies.Random --max_epochs 1 --crop_size 32 --batch_size 1 "
    "--limit_train_batches 1 --accelerator cpu --seed 3 --trials.number 2"
)


@pytest.fixture
def space():
    return AMSNetSpace(width=16, map_stride=4)


def sampled(space, seed=0):
    """A frozen model as a strategy submits it."""
    combined = CombinedSpace.from_model(space)
    sample = {}
    return combined.random(memo=sample, random_state=np.random.RandomState(seed)), sample


def test_choosing_two_edges_is_one_choice_for_every_strategy(space):
    model, sample = sampled(space)
    assert re.fullmatch(r"\d\+\d\+", sample["extraction_5"])
    assert model.choices["extraction_5"] == [int(number) for number in sample["extraction_5"].split("+")[:2]]
    assert model.choices["extraction_5_0"] == sample["extraction_5_0"]
    architecture = space.architecture(model.choices)
    assert list(architecture.extraction[5]) == model.choices["extraction_5"]
    assert model.executable_model().architecture(model.choices) == architecture
    assert model.sample == sample


def test_a_seed_proposes_the_same_and_tuners_maximise(space):
    def draw(seed):
        strategy = Random()
        seed_strategy(strategy, seed)
        return strategy.random(CombinedSpace.from_model(space)).sample

    assert draw(1) == draw(1) != draw(2)
    tpe = nni_strategies.TPE()
    assert tpe.tuner.optimize_mode.value == "minimize"
    seed_strategy(tpe, 1)
    assert tpe.tuner.optimize_mode.value == "maximize"


def test_the_record_writes_every_trial_and_the_best_architecture(space, tmp_path):
    record = Record(Run(tmp_path), space, Counting(), {"seed": 3}, resume=False)
    samples = [sampled(space, seed)[1] for seed in range(3)]
    for number, mae in enumerate((5.0, None, 4.0)):
        figures = {} if mae is None else {"mae": mae, "parameters": 9.0, "seconds": 1.5}
        record.add(Trial(number + 1, samples[number], figures))
        assert read_architecture(tmp_path / "architecture.yaml").provenance["mae"] == (5.0 if number < 2 else 4.0)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["mae"] for row in rows] == ["5.0", "failed", "4.0"]
    assert rows[2]["fusion_4"] == samples[2]["fusion_4"]
    assert (tmp_path / "cells.png").stat().st_size
    again = Record(Run(tmp_path), space, Counting(), {}, resume=True)
    assert again.known(samples[0]).figures["mae"] == 5.0
    assert again.known(samples[1]) is None  # it failed, and is tried again
    assert again.best.number == 3
    path = Run(tmp_path).last_checkpoint
    earlier = [vars(again.known(sample)) for sample in samples[::2]]
    whole = path.read_bytes()
    at = whole.index(b"extraction_")
    path.write_bytes(whole[:at] + b"E" + whole[at + 1 :])
    with pytest.raises(RunError, match=r"is damaged \(bad checksum.*the state before it is whole: mv ") as told:
        Record(Run(tmp_path), space, Counting(), {}, resume=True)
    os.replace(*str(told.value).partition("mv ")[2].partition(",")[0].split())
    assert [trial.number for trial in Record(Run(tmp_path), space, Counting(), {}, resume=True).trials] == [1]
    path.write_text(json.dumps(earlier))  # as version 0.1 wrote it
    assert Record(Run(tmp_path), space, Counting(), {}, resume=True).trials == again.trials
    for other in ("[1]", '[{"number": 1, "sample": {"edge": "skip"}, "figures": {"mae": 1}}]', "[x"):
        path.write_text(other)
        with pytest.raises(RunError, match=r"last\.ckpt: is of another space or strategy .*; resume with those"):
            Record(Run(tmp_path), space, Counting(), {}, resume=True)


def test_a_candidate_learns_from_one_half_and_is_judged_on_the_other(space, tmp_path):
    parts = halves(open_data("synthetic", **DATA).samples("train"), 0)
    candidate = short_training(parts, epochs=7)
    candidate.save(tmp_path / "candidate.pkl")
    architecture = space.architecture(sampled(space)[0].choices)
    reports = []
    figures = candidate.train(architecture, reports.append)
    assert len(reports) == 4  # after epochs 2, 4 and 6, and at the end
    assert figures["mae"] == reports[-1]
    assert figures["parameters"] > 1000
    assert candidate.train(architecture, reports.append)["mae"] == figures["mae"]
    by_points = replace(candidate, recipe=Recipe(loss={"sppl": 1, "dm_count": 1}), epochs=1)
    assert by_points.train(architecture, reports.append)["mae"] > 0
    zero_inflated = replace(candidate, recipe=Recipe(loss="zip"), task=Counting(bins=(1, 2, 3, 8)), epochs=1)
    assert zero_inflated.train(architecture, reports.append)["mae"] > 0


@pytest.mark.parametrize("settings", [{"number": 0}, {"concurrency": 0}])
def test_settings_that_cannot_work_are_named(settings):
    with pytest.raises(SettingError, match=rf"trials\.{next(iter(settings))}: 0"):
        Trials(**settings)


def test_bad_input_is_said_before_the_first_trial(tmp_path, monkeypatch):
    space = SmallSpace(width=16, map_stride=4)
    with pytest.raises(SettingError, match=r"devices: 2; a trial trains on one, give trials\.concurrency"):
        search(data="synthetic", space=space, strategy=Random(), out=tmp_path / "a", devices=2, **SMALL)
    for ignored, message in (
        ({"max_time": "00:00:01:00"}, r"max_time: 00:00:01:00; Random ends after its trials, give trials\.number"),
        ({"precision": "bf16-mixed"}, "precision: bf16-mixed; the trials of Random train in 32-true"),
        ({"early_stop": EarlyStop(skips=2)}, "early_stop: of one-shot searches"),
        ({"decode": "joint"}, "decode, cost and validation_images: of one-shot searches"),
        ({"validation_images": 3}, "decode, cost and validation_images: of one-shot searches"),
        ({"cost": Cost(budget=1e6)}, "decode, cost and validation_images: of one-shot searches"),
        ({"callbacks": [Callback()]}, "callbacks: of one-shot searches"),
        ({"max_steps": 9}, "max_steps: 9; a search is as long as its epochs"),
    ):
        with pytest.raises(SettingError, match=message):
            search(data="synthetic", space=space, strategy=Random(), out=tmp_path / "a", **{**SMALL, **ignored})
    with pytest.raises(SettingError, match="trials: DARTS is a one-shot strategy and makes none"):
        search(data="synthetic", space=space, strategy=DARTS(), out=tmp_path / "a", trials=Trials(3), **SMALL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"trials.port: {port} is in use"):
            search(
                data="synthetic", space=space, strategy=Random(), out=tmp_path / "a", trials=Trials(port=port), **SMALL
            )
    assert not (tmp_path / "a").exists()
    with pytest.raises(SettingError, match="sample_size: 9 of a population of 4"):
        RegularizedEvolution(population_size=4, sample_size=9)
    monkeypatch.setattr("nni.nas.strategy.rl.has_tianshou", False)
    with pytest.raises(SettingError, match=r"needs tianshou and gym; pip install \"nni-count\[rl\]\""):
        PolicyBasedRL()


def start(out, *more):
    code = "from nni_count.cli import main; raise SystemExit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *COMMAND.split(), "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def lines_until(process, beginning):
    for line in process.stdout:
        if line.startswith(beginning):
            return line
    raise AssertionError(process.stderr.read())


def managers(folder):
    """NNI's processes that work for a folder."""
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if str(folder) in " ".join(process.info["cmdline"] or ())]


def test_a_search_is_interrupted_cleans_up_and_is_resumed(tmp_path, capsys):
    out = tmp_path / "run"
    process = start(out)
    portal = lines_until(process, "web portal:").split()[-1]
    lines_until(process, "trial 1 of 2: mae")
    with urllib.request.urlopen(f"{portal}/api/v1/nni/check-status", timeout=10) as answer:
        assert json.load(answer)["status"] == "RUNNING"
    (node,) = [process for process in managers(out / "nni") if "node" in process.name()]
    listening = [one.laddr.ip for one in node.net_connections() if one.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]  # no other machine is answered
    first = list(csv.DictReader((out / "metrics.csv").open()))
    assert read_architecture(out / "architecture.yaml").provenance["trial"] == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after 1 trials; continue with --resume" in errors
    assert_clean(out, portal)

    assert main([*COMMAND.split(), "--out", str(out), "--resume"]) == 0
    assert "trial 1 of 2" not in capsys.readouterr().out
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert rows[: len(first)] == first
    assert [row["trial"] for row in rows] == ["1", "2"]
    assert rows[0] != rows[1]
    best = min(rows, key=lambda row: float(row["mae"]))
    found = read_architecture(out / "architecture.yaml")
    assert found.provenance["mae"] == float(best["mae"])
    assert found.extraction[5] == {
        int(source): best[f"extraction_5_{source}"] for source in best["extraction_5"].split("+")[:2]
    }
    assert yaml.safe_load((out / "config.yaml").read_text())["trials"]["number"] == 2
    assert_clean(out, portal)


@pytest.mark.slow
def test_nothing_of_a_killed_search_runs_on(tmp_path):
    out = tmp_path / "run"
    killed = start(out)
    portal = lines_until(killed, "web portal:").split()[-1]
    lines_until(killed, "trial 1 of 2: mae")
    killed.kill()
    killed.communicate(timeout=60)
    wait_for(lambda: not managers(out / "nni"), 60)
    assert_clean(out, portal)
    resumed = start(out, "--resume", "--trials.engine", "local")  # another engine goes on with it
    output, errors = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, errors
    assert "trial 1 of 2" not in output


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_what_a_killed_search_has_left_is_ended_and_nothing_else(tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    trial = {**os.environ, "NNI_OUTPUT_DIR": str(tmp_path / "nni" / "x" / "trials" / "y")}
    other = {**os.environ, "NNI_OUTPUT_DIR": str(tmp_path / "nni2" / "x")}
    left = [
        subprocess.Popen([*sleep, "--experiments-directory", str(tmp_path / "nni")]),
        subprocess.Popen(sleep, env=trial),
    ]
    others = [
        subprocess.Popen([*sleep, "--experiments-directory", str(tmp_path / "nni2")]),
        subprocess.Popen([*sleep, str(tmp_path / "nni")]),
        subprocess.Popen(sleep, env=other),
    ]
    try:
        wait_for(lambda: all("time" in " ".join(psutil.Process(one.pid).cmdline()) for one in left), 20)
        end(str(tmp_path / "nni"))
        assert all(one.poll() is not None for one in left)
        assert all(one.poll() is None for one in others)
    finally:
        for one in left + others:
            one.kill()
            one.wait()


def test_a_manager_that_is_slow_is_waited_for_and_one_that_ends_is_told(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = (
        "import http.server, sys, time\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    asked = 0\n"
        "    def do_GET(self):\n"
        "        Handler.asked += 1\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "        self.wfile.write(b'{}' if Handler.asked > 9 else b'<html>')\n"
        "    def log_message(self, *_): pass\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n"
    )
    slow = subprocess.Popen([sys.executable, "-c", server, str(port)])
    manager._wait(port)
    slow.kill()
    slow.wait()
    with pytest.raises(TrainingError, match="NNI's manager ended while it started"):
        manager._wait(port)
    monkeypatch.setattr(manager, "STUCK", 0.5)
    stuck = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(port)])
    with pytest.raises(TrainingError, match=f"has not begun to answer on port {port}"):
        manager._wait(port)
    stuck.kill()
    stuck.wait()


def assert_clean(out, portal):
    assert not managers(out / "nni")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(portal.rpartition(":")[2]))) != 0


class BrokenSpace(AMSNetSpace):
    """Cannot be built in the process of a trial."""

    def architecture(self, *arguments):
        raise ValueError("broken on purpose")


@pytest.mark.slow
def test_trials_that_fail_end_the_search_with_their_own_words(tmp_path):
    with pytest.raises(TrainingError, match=r"no trial succeeded; .*: ValueError: broken on purpose \(.*stderr"):
        search(
            data={"path": "synthetic", **DATA},
            space=BrokenSpace(width=16, map_stride=4),
            strategy=Random(),
            out=tmp_path / "run",
            trials=Trials(2),
            **SMALL,
        )
    assert not managers(tmp_path / "run" / "nni")


def two_at_once(space, strategy, number, out):
    """What a search of so many trials found, and the row of each."""
    data, trials = {"path": "synthetic", **DATA}, Trials(number=number, concurrency=2)
    found = search(data=data, space=space, strategy=strategy, out=out, trials=trials, **SMALL)
    return found, list(csv.DictReader((out / "metrics.csv").open()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        Random,
        GridSearch,
        TPE,
        lambda: RegularizedEvolution(population_size=2, sample_size=1),
        lambda: PolicyBasedRL(samples_per_update=2),
        nni_strategies.TPE,
    ],
)
def test_every_strategy_runs_through_the_training_service(make, space, tmp_path):
    if make.__name__ == "<lambda>" and "PolicyBasedRL" in make.__code__.co_names:
        pytest.importorskip("tianshou")
    found, rows = two_at_once(space, make(), 3, tmp_path / "run")
    assert len(rows) == 3
    assert found.provenance["mae"] == min(float(row["mae"]) for row in rows)
    assert not managers(tmp_path / "run" / "nni")


@pytest.mark.slow
def test_no_trial_counts_as_failed_because_another_one_asked_first(space, tmp_path, monkeypatch):
    later = "sleep $(( 6 * ((NNI_TRIAL_SEQ_ID + 1) % 2) ))"  # the first one asks behind the second
    monkeypatch.setattr(service, "FOR_NNI", f"{later}; {service.FOR_NNI}")
    _, rows = two_at_once(space, Random(), 2, tmp_path / "run")
    assert len([float(row["mae"]) for row in rows]) == 2
    said = [file.read_text() for file in (tmp_path / "run" / "nni").glob("*/environments/*/trials/*/trial.log")]
    assert said
    assert all("settings of another trial" in text for text in said)
