"""Whatever trains the trials: the same proposals give the same architectures and figures, once each."""

import contextlib
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest
from short import short
from short_training import short_training
from stand_in import StandIn

from nni_count.architecture import read_architecture, write_architecture
from nni_count.commands import search as _search
from nni_count.data import halves, open_data
from nni_count.errors import RunError, SettingError, TrainingError
from nni_count.searching.multi_trial import cluster, folder, local, worker
from nni_count.searching.multi_trial import search as searching
from nni_count.searching.multi_trial.process import Process
from nni_count.searching.multi_trial.record import Trials
from nni_count.searching.multi_trial.shared import Shared
from nni_count.training.settings import Crops, Recipe
from search_spaces import AMSNetSpace
from strategies import TPE, GridSearch, Random, RegularizedEvolution, Screening

pytestmark = pytest.mark.filterwarnings("ignore")

search = short(_search.search)
SMALL = {"max_epochs": 1, "crop_size": 32, "batch_size": 1, "limit_train_batches": 1, "accelerator": "cpu", "seed": 3}
DATA = {"path": "synthetic", "train": 4, "test": 1, "size": 48}
HERE = {"cluster": "local", "timeout_min": 1}


@pytest.fixture
def stand_in(monkeypatch):
    """A function: makes all searches train with a :class:`StandIn`."""

    def use(**settings):
        monkeypatch.setattr(searching, "Candidate", lambda *parts, **of_training: StandIn(**settings))

    use()
    return use


@pytest.fixture
def place(tmp_path):
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def start_worker(place, *more):
    code = "from nni_count.cli import main; raise SystemExit(main())"
    words = [sys.executable, "-c", code, "work", str(place), *more]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # where the stand-in is
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=there)


@contextlib.contextmanager
def workers(place, number, *more):
    """So many, ended afterwards."""
    running = [start_worker(place, *more) for _ in range(number)]
    try:
        yield running
    finally:
        for one in running:
            one.kill()
            one.communicate()


def run(out, engine, strategy=None, number=4, concurrency=2, resume=False, **more):
    more |= {"slurm": HERE} if engine == "slurm" else {}
    more |= {"folder": str(out.parent / "shared")} if engine == "folder" else {}
    return search(
        data=DATA,
        space=AMSNetSpace(width=16, map_stride=4),
        strategy=strategy or Random(),
        out=out,
        trials=Trials(engine=engine, number=number, concurrency=concurrency, **more),
        resume=resume,
        **SMALL,
    )


def tried(out):
    """What was tried, by number, without times."""
    rows = csv.DictReader((out / "metrics.csv").open())
    return sorted(({**row, "seconds": 0} for row in rows), key=lambda row: int(row["trial"]))


def counted(one):
    """How many trials a worker has trained, once it has ended."""
    output, errors = one.communicate(timeout=60)
    assert one.returncode == 0, errors
    return int(re.search(r"(\d+) trials trained", output)[1])


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def left_running(place):
    """Processes that work in a folder, but for this one."""
    found = psutil.process_iter(["pid", "cmdline"])
    return [one for one in found if str(place) in " ".join(one.info["cmdline"] or ()) and one.pid != os.getpid()]


def hears(process, number):
    """Whether a job of submitit's has said what it does on a signal."""
    if "submitit.core._submit" not in process.info["cmdline"]:
        return False
    try:
        status = (Path("/proc") / str(process.pid) / "status").read_text()
    except OSError:  # it has ended
        return False
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process after another gives."""
    out = tmp_path_factory.mktemp("expected") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "Candidate", lambda *parts, **of_training: StandIn())
        run(out, "local", concurrency=1)
    return tried(out)


@pytest.mark.parametrize("engine", ["local", "folder", "slurm", pytest.param("nni", marks=pytest.mark.slow)])
def test_the_same_proposals_give_the_same_architectures_and_figures(engine, stand_in, place, expected, tmp_path):
    out = tmp_path / "run"
    with workers(place, 2 if engine == "folder" else 0) as working:
        found = run(out, engine)
        assert sum(map(counted, working)) == (4 if engine == "folder" else 0)
    assert tried(out) == expected
    assert found.provenance["trial"] == int(min(expected, key=lambda row: float(row["mae"]))["trial"])
    assert read_architecture(out / "architecture.yaml") == found
    assert not left_running(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "folder"])
@pytest.mark.parametrize(
    "make",
    [GridSearch, TPE, lambda: RegularizedEvolution(population_size=2, sample_size=1), lambda: Screening(draws=9)],
)
def test_every_strategy_proposes_alike(make, engine, stand_in, place, tmp_path):
    run(tmp_path / "expected", "local", make(), number=6, concurrency=1)
    with workers(place, 1 if engine == "folder" else 0):
        run(tmp_path / "run", engine, make(), number=6, concurrency=1)
    assert tried(tmp_path / "run") == tried(tmp_path / "expected")


class Begun:
    """A search in a process of its own, which is forked, so that nothing need be imported again."""

    def __init__(self, out, engine, **more):
        self.out = out
        self.process = os.fork()
        if not self.process:
            try:
                run(out, engine, **more)
            finally:
                os._exit(0)
        self.ended = False

    def running(self):
        self.ended = self.ended or os.waitpid(self.process, os.WNOHANG)[0] != 0
        return not self.ended

    def __enter__(self):
        wait_for(lambda: (self.out / "metrics.csv").is_file() or not self.running())
        return self

    def __exit__(self, *_):
        if self.running():
            os.kill(self.process, signal.SIGKILL)
            wait_for(lambda: not self.running())


@pytest.mark.parametrize("engine", ["local", pytest.param("slurm", marks=pytest.mark.slow)])
def test_nothing_of_a_killed_search_runs_on_and_it_is_resumed(engine, stand_in, expected, tmp_path):
    out = tmp_path / "run"
    stand_in(seconds=1)
    with Begun(out, engine):  # and killed after its first trial
        wait_for(lambda: len(left_running(out)) >= 2)
    wait_for(lambda: not left_running(out), 20)
    stand_in()
    run(out, engine, resume=True)
    assert tried(out) == expected


def test_workers_outlive_a_killed_search_and_what_they_end_is_counted(stand_in, place, expected, tmp_path, capfd):
    out = tmp_path / "run"
    stand_in(seconds=0.7)
    with workers(place, 2) as working:
        with Begun(out, "folder", timeout=1.0):
            wait_for(lambda: os.listdir(place / "taken"))
        wait_for(lambda: os.listdir(place / "done") and not os.listdir(place / "taken"))
        time.sleep(1.2)
        left = os.listdir(place / "waiting")
        time.sleep(0.7)
        assert os.listdir(place / "waiting") == left  # nothing is taken of a search that is dead
        run(out, "folder", resume=True, timeout=1.0)
        assert sum(map(counted, working)) == 4  # none was trained twice
    assert tried(out) == expected


@pytest.mark.slow
def test_a_worker_that_is_stopped_gives_its_trial_back_and_one_that_is_killed_loses_it(stand_in, place, expected):
    out = place.parent / "run"
    stand_in(seconds=1)
    with workers(place, 2) as (stopped, killed), Begun(out, "folder", number=6, timeout=1.0) as search:
        wait_for(lambda: len(os.listdir(place / "taken")) == 2)
        stopped.terminate()
        _, errors = stopped.communicate(timeout=20)
        assert stopped.returncode == 130
        assert re.search(r"stopped after \d trials; start nni-count work again", errors)
        wait_for(lambda: [name for name in os.listdir(place / "waiting") if name.startswith("0")])
        killed.kill()
        killed.communicate()
        with workers(place, 2, "--idle", "60"):
            wait_for(lambda: not search.running())
    assert tried(out)[:4] == expected
    assert len(tried(out)) == 6
    assert not left_running(place)


@pytest.mark.parametrize(
    ("fails", "words"), [("error", "ValueError: fails on purpose"), ("signal", "killed by signal")]
)
def test_trials_that_fail_end_the_search_with_their_own_words(fails, words, stand_in, tmp_path):
    stand_in(fails=fails)
    with pytest.raises(TrainingError, match=rf"no trial succeeded; .*{words}.*\(.*log\)") as told:
        run(tmp_path / "run", "local", number=1)
    assert "\n" not in str(told.value)


def test_devices_are_dealt_out(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_devices", lambda: ["5", "7"])
    stand_in(seconds=0.3, accelerator="auto")
    run(tmp_path / "run", "local", number=2, concurrency=2)
    assert sorted(float(row["device"]) for row in tried(tmp_path / "run")) == [5, 7]


@pytest.fixture
def pool(place, architecture):
    """A search's side of a folder, with a trial that a worker took and vanished with."""
    with contextlib.ExitStack() as stack:
        made = folder.FolderPool(Shared(place, "trials.folder"), "these", place / "run", 0.2)
        stack.push(made.close)
        made.begin()
        made.submit("00001-aa", architecture)
        (place / "waiting" / "00001-aa.yaml").rename(place / "taken" / "00001-aa@gone.yaml")
        yield made


@pytest.fixture
def architecture():
    space = AMSNetSpace(width=16, map_stride=4)
    return space.architecture({label: choice.default() for label, choice in space.simplify().items()})


def ended(pool, seconds=0.0):
    end, found = time.monotonic() + seconds, list(pool.ended())
    while time.monotonic() < end:
        found += pool.ended()
        time.sleep(0.02)
    return found


def done(place, name, **figures):
    from nni_count.runs.states import write_state

    write_state(place / "done" / f"{name}.json", figures)


def test_a_trial_is_taken_over_by_heartbeats_whatever_clocks_say(pool, place, capsys):
    for hours in (-5, 5):  # the worker's clock, by which its machine dates files
        for file in (place / "taken" / "00001-aa@gone.yaml", place / "taken"):
            os.utime(file, (time.time() + 3600 * hours,) * 2)
        for beat in range(8):
            (place / "beats" / "gone").write_text(str(beat))
            assert ended(pool, 0.05) == []
        assert os.listdir(place / "taken")
    ended(pool, 0.4)
    assert os.listdir(place / "waiting") == ["00001-aa.yaml"]
    assert "worker gone has vanished; trial 00001-aa goes to another" in capsys.readouterr().out


def test_a_result_that_comes_twice_counts_once(pool, place):
    ended(pool, 0.4)
    (place / "waiting" / "00001-aa.yaml").rename(place / "taken" / "00001-aa@other.yaml")
    done(place, "00001-aa", mae=3.0)  # of the one that was thought gone
    assert ended(pool) == [("00001-aa", {"mae": 3.0})]
    assert ended(pool, 0.1) == []
    assert os.listdir(place / "taken") == []  # by which the other one knows
    done(place, "00001-aa", mae=3.0)
    assert ended(pool, 0.1) == []


def test_a_trial_whose_file_is_lost_is_offered_again(pool, place):
    (place / "taken" / "00001-aa@gone.yaml").unlink()
    ended(pool, 0.3)
    assert os.listdir(place / "waiting") == ["00001-aa.yaml"]


def test_a_trial_with_which_every_worker_vanishes_fails(pool, place, monkeypatch):
    monkeypatch.setattr(folder, "MOST", 2)
    ended(pool, 0.4)
    (place / "waiting" / "00001-aa.yaml").rename(place / "taken" / "00001-aa@second.yaml")
    assert ended(pool, 0.4) == [("00001-aa", "2 workers have vanished with it")]


def test_a_folder_is_one_searchs(pool, place):
    def another(learns_from, run="run"):
        return folder.FolderPool(Shared(place, "trials.folder"), learns_from, place / run, 1.0)

    with pytest.raises(RunError, match=r"shared: process \d+ on .* is running it; wait for its end, or end it"):
        another("those")
    pool.close(KeyboardInterrupt)
    with pytest.raises(RunError, match=r"shared: holds trials of .*run, which has not ended; continue that, or remove"):
        another("those")
    with pytest.raises(RunError, match=r"shared: holds trials of .*run, which has not ended; continue that, or remove"):
        another("these", "other")
    with pytest.raises(SettingError, match=r"trials.folder: .*shared is the run's own; give another"):
        another("these", ".")
    same = another("these")
    same.begin()
    assert os.listdir(place / "taken") == ["00001-aa@gone.yaml"]  # it may still come
    same.close(None)
    another("those", "other").close(None)


def test_a_search_on_another_machine_is_told_by_its_heart(pool, place, monkeypatch):
    def without(*_):
        raise OSError(38, "a file system without locks")

    monkeypatch.setattr(folder.socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr("nni_count.runs.owner.fcntl.flock", without)
    with pytest.raises(RunError, match=r"shared: .*run on .* uses it; choose another folder"):
        folder.FolderPool(Shared(place, "trials.folder"), "these", place / "other", 1.0)


def test_a_worker_of_another_version_or_other_data_is_refused_by_both(stand_in, tmp_path, place, monkeypatch, capsys):
    shared = Shared(place, "folder")
    (tmp_path / "images").write_text("these")
    with contextlib.ExitStack() as stack:
        pool = folder.FolderPool(shared, "these", tmp_path / "run", 1.0)
        stack.push(pool.close)
        StandIn(images=str(tmp_path / "images")).save(shared.candidate)
        pool.begin()
        (tmp_path / "images").write_text("others")
        with pytest.raises(RunError, match="its training images are not those of the search; they must be the same"):
            worker.Worker(shared, searching.Stop(), None).work()
        shared.candidate.write_bytes(cloudpickle.dumps(None)[:-9])
        with pytest.raises(RunError, match=r"it cannot read what is to be done: .*Error"):
            worker.Worker(shared, searching.Stop(), None).work()
        monkeypatch.setattr(worker, "project", lambda: "nni-count 9.9")
        with pytest.raises(RunError, match=r"takes no trials of .*run: it has nni-count 9.9, and the search nni-count"):
            worker.Worker(shared, searching.Stop(), None).work()
        ended(pool, 0.3)
    said = [line for line in capsys.readouterr().out.splitlines() if "takes no trials" in line]
    assert len(said) == 3
    assert not os.listdir(place / "waiting")


def test_slurm_that_takes_no_job_is_a_line(tmp_path, monkeypatch, architecture):
    pool = cluster.SlurmPool(tmp_path, tmp_path / "candidate.pkl", HERE)

    def refused(jobs):
        raise OSError("sbatch: error: invalid partition specified: gpux")

    monkeypatch.setattr(pool.executor, "submit_array", refused)
    pool.submit("00001-aa", architecture)
    remedy = "correct --trials.slurm, or wait until it takes jobs, and continue with --resume"
    with pytest.raises(RunError, match=rf"trials.slurm: no job was taken \(sbatch.*gpux\); {remedy}"):
        wait_for(lambda: list(pool.ended()) or None)


def test_bad_input_is_said_before_the_run_begins(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(SettingError, match=r"trials.folder: .*shared is no folder; make one that the search and all"):
        run(out, "folder")
    for wrong, message in (
        ({"engine": "clouds"}, "trials.engine: 'clouds' is unknown; choose nni or local or folder or slurm"),
        ({"engine": "folder"}, "trials.folder: is not given; the engine folder needs one"),
        ({"engine": "local", "port": 8080}, "trials.port: of the engine nni, and local is given; leave it out"),
        ({"folder": "x"}, "trials.folder: of the engine folder, and nni is given; leave it out"),
        ({"engine": "folder", "folder": "x", "timeout": 0}, r"trials.timeout: 0; .*1"),
    ):
        with pytest.raises(SettingError, match=message):
            Trials(**wrong)
    for parameters, message in (
        ({"cluster": "moon"}, "trials.slurm: .*moon"),
        ({"cluster": "local", "slurm_no_such": 1}, "trials.slurm: Unknown argument 'no_such'"),
        ({"cluster": "local", "timeout_min": "long"}, "trials.slurm: .*timeout_min"),
        ({}, "trials.engine: slurm, but this machine has no sbatch; start the search where it has, or choose"),
    ):
        with pytest.raises(SettingError, match=message):
            cluster.check_cluster(parameters)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r'trials.engine: slurm needs submitit; pip install "nni-count\[slurm\]"'):
        run(out, "slurm")

    for name in ("waiting/inside", "candidate.pkl", "search.json"):
        (tmp_path / "strange" / name).mkdir(parents=True)
        with pytest.raises(SettingError, match=rf"folder: .*strange.{name} is none of ours; give another folder"):
            Shared(tmp_path / "strange", "folder")
        shutil.rmtree(tmp_path / "strange")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "waiting").write_text("")
    with pytest.raises(SettingError, match="waiting is none of ours; give another folder"):
        Shared(tmp_path / "strange", "folder")
    (tmp_path / "strange" / "waiting").unlink()
    (tmp_path / "strange" / "search.json").write_text("{")
    with pytest.raises(RunError, match=r"search.json: is damaged; remove what is in the folder, or give another"):
        Shared(tmp_path / "strange", "folder").search()

    def refused(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(SettingError, match=r"folder: .* cannot be written \(Read-only file system\); give another"):
        Shared(tmp_path, "folder")
    assert not out.exists()


def test_a_process_trains_as_this_one_does_and_what_figures_depend_on_is_known(tmp_path, architecture):
    from dataclasses import replace

    parts = halves(open_data("synthetic", train=4, test=1, size=48).samples("train"), 0)
    candidate = short_training(parts, epochs=1)
    candidate.save(tmp_path / "candidate.pkl")
    write_architecture(architecture, tmp_path / "a.yaml")
    process = Process(tmp_path / "a.json", tmp_path / "candidate.pkl", tmp_path / "a.yaml")
    figures = candidate.train(architecture, lambda figure: None)
    found = wait_for(process.outcome)
    assert {**found, "seconds": 0} == {**figures, "seconds": 0}
    again = cloudpickle.loads((tmp_path / "candidate.pkl").read_bytes())
    elsewhere = replace(again, concurrency=9, accelerator="gpu", crops=Crops(32, 1, cache_gb=0.2))
    assert candidate.learns_from() == elsewhere.learns_from()
    for other in ({"seed": 1}, {"epochs": 2}, {"judging": parts[0]}, {"recipe": Recipe(learning_rate=1e-4)}):
        assert replace(candidate, **other).learns_from() != candidate.learns_from()


@pytest.mark.slow
def test_no_trial_is_lost_or_counted_twice_by_workers_that_are_killed(stand_in, place, capsys):
    out, chance = place.parent / "run", random.Random(0)
    stand_in(seconds=0.5)
    begun, kills = time.monotonic(), 0
    with workers(place, 8) as working, Begun(out, "folder", number=200, concurrency=12, timeout=2.0) as search:
        while search.running():
            time.sleep(chance.uniform(0.2, 0.8))
            if kills < 40:
                number = chance.randrange(8)
                working[number].kill()
                working[number].communicate()
                working[number] = start_worker(place)
                kills += 1
        seconds = time.monotonic() - begun
        for one in working:
            one.communicate(timeout=60)
    assert kills == 40
    found = tried(out)
    assert [int(row["trial"]) for row in found] == list(range(1, 201))
    assert len({tuple(row.values())[5:] for row in found}) == 200
    assert all(row["mae"] != "failed" for row in found)
    assert not left_running(place)
    with capsys.disabled():
        print(f"\n200 trials of 0.5 s, 8 workers, 40 kills: {seconds:.0f} s")


@pytest.mark.slow
def test_jobs_that_are_pre_empted_give_the_same(stand_in, tmp_path):
    run(tmp_path / "expected", "local", number=20)
    stand_in(seconds=2)
    out = tmp_path / "run"
    signalled = set()
    with Begun(out, "slurm", number=20, concurrency=4) as search:
        while search.running():
            for one in left_running(out):
                if len(signalled) < 3 and one.pid not in signalled and hears(one, signal.SIGUSR2):
                    one.send_signal(signal.SIGUSR2)  # as Slurm does before it takes a node away
                    signalled.add(one.pid)
            time.sleep(0.2)
    assert len(signalled) == 3
    again = [file.read_text() for file in (out / "trials" / "jobs").glob("*_log.out")]
    assert sum(text.count("Requeued job") for text in again) == 3  # perhaps one of them twice
    expected = [{**row, "seconds": 0} for row in tried(tmp_path / "expected")]
    assert tried(out) == expected


@pytest.mark.slow
def test_what_a_trial_costs_beside_its_own_start(stand_in, place, architecture, tmp_path, capsys):
    StandIn().save(tmp_path / "candidate.pkl")
    write_architecture(architecture, tmp_path / "a.yaml")
    begun = time.monotonic()
    for _ in range(10):
        process = Process(tmp_path / "a.json", tmp_path / "candidate.pkl", tmp_path / "a.yaml")
        process.process.wait()
        process.outcome()
    alone, costs = (time.monotonic() - begun) / 10, {}  # on a machine that does nothing else
    for engine, concurrency in (("local", 1), ("folder", 2)):  # one that a worker trains, and one that waits for it
        with workers(place, 1 if engine == "folder" else 0):
            times = []
            keep = searching.Record.add

            def add(record, trial, keep=keep, times=times):
                keep(record, trial)
                times.append(time.monotonic())

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(searching.Record, "add", add)
                run(tmp_path / engine, engine, number=40, concurrency=concurrency)
        costs[engine] = (times[-1] - times[4]) / (len(times) - 5) - alone
    with capsys.disabled():
        print(f"\na process {alone:.2f} s; beside it {costs}")
    assert max(costs.values()) <= 0.2
