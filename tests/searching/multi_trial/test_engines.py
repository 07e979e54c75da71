"""Whatever trains the trials: the same proposals give the same architectures and figures, once each."""

import contextlib
import csv
import os
import subprocess
import sys

import psutil
import pytest
from short import short
from stand_in import StandIn

from nni_count.architecture import read_architecture
from nni_count.commands import search as _search
from nni_count.searching.multi_trial import search as searching
from nni_count.searching.multi_trial.record import Trials
from search_spaces import AMSNetSpace
from strategies import Random

pytestmark = pytest.mark.filterwarnings("ignore")

search = short(_search.search)
SMALL = {"max_epochs": 1, "crop_size": 32, "batch_size": 1, "limit_train_batches": 1, "accelerator": "cpu", "seed": 3}
DATA = {"path": "synthetic", "train": 4, "test": 1, "size": 48}
TRIED = {"cluster": "local", "timeout_min": 1}


@pytest.fixture
def stand_in(monkeypatch):
    """A function: makes all searches train with a :class:`StandIn`."""

    def use(**settings):
        monkeypatch.setattr(searching, "Candidate", lambda *parts, **of_training: StandIn(**settings))

    use()
    return use


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "shared"
    place.mkdir()
    return place


@contextlib.contextmanager
def workers(folder, number, *more):
    """So many, ended afterwards; a list that others may change."""
    running = [start_worker(folder, *more) for _ in range(number)]
    try:
        yield running
    finally:
        for one in running:
            one.kill()
            one.wait()


def start_worker(folder, *more, **environment):
    code = "from nni_count.cli import main; raise SystemExit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "work", str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(out, engine, strategy=None, number=4, concurrency=2, **more):
    settings = {"engine": engine, "number": number, "concurrency": concurrency}
    settings |= {"slurm": TRIED} if engine == "slurm" else {}
    resume = more.pop("resume", False)
    return search(
        data=DATA,
        space=AMSNetSpace(width=16, map_stride=4),
        strategy=strategy or Random(),
        out=out,
        trials=Trials(**settings, **more),
        resume=resume,
        **SMALL,
    )


def rows(out):
    return list(csv.DictReader((out / "metrics.csv").open()))


def in_order(out):
    """What was tried, by number, without times."""
    return sorted(({**row, "seconds": 0} for row in rows(out)), key=lambda row: int(row["trial"]))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the engine without any machinery gives."""
    out = tmp_path_factory.mktemp("expected") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "Candidate", lambda *parts, **of_training: StandIn())
        run(out, "local", concurrency=1)
    return in_order(out)


@pytest.mark.parametrize("engine", ["local", "folder", "slurm", pytest.param("nni", marks=pytest.mark.slow)])
def test_the_same_proposals_give_the_same_architectures_and_figures(engine, stand_in, folder, expected, tmp_path):
    out = tmp_path / "run"
    with workers(folder, 2 if engine == "folder" else 0) as working:
        found = run(out, engine, **({"folder": str(folder)} if engine == "folder" else {}))
        said = [one.communicate(timeout=60) for one in working]
    assert in_order(out) == expected
    best = min(expected, key=lambda row: float(row["mae"]))
    assert read_architecture(out / "architecture.yaml") == found
    assert found.provenance["trial"] == int(best["trial"])
    assert sum(int(output.split()[-3]) for output, _ in said) == (4 if engine == "folder" else 0)
    assert [one.returncode for one in working] == [0] * len(working)
    assert not left_running(tmp_path)


def left_running(folder):
    """Processes that work in a folder, but for this one."""
    found = psutil.process_iter(["pid", "cmdline"])
    return [one for one in found if str(folder) in " ".join(one.info["cmdline"] or ()) and one.pid != os.getpid()]
