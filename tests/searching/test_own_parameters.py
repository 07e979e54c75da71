"""NNI's manager hands out the settings of another trial; each trial takes its own all the same."""

import json
import os
import pkgutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from nni.runtime import trial_command_channel

from nni_count.cli import main
from nni_count.errors import RunError
from nni_count.searching import own_parameters
from nni_count.searching.nni import nni
from nni_count.searching.portal import from_nni


def record(number, **parameters):
    return json.dumps({"parameter_id": number, "parameter_source": "algorithm", "parameters": parameters})


class Manager(ThreadingHTTPServer):
    """What a trial sees of NNI: its channel, which gives ``handed``, and the list of trials with their ``own``."""

    def __init__(self, prefix=""):
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}{prefix}"
        self.prefix, self.handed, self.own, self.received, self.unknown = prefix, "", {}, [], 0


class Answers(BaseHTTPRequestHandler):
    server: Manager

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def do_GET(self):
        path = self.path.removeprefix(self.server.prefix)
        if path.startswith("/env/"):
            return self.answer(json.dumps({"type": "parameter", "parameter": self.server.handed}).encode())
        assert path.startswith("/api/v1/nni/trial-jobs/")
        own = self.server.own.get(path.rpartition("/")[2])
        if own is None or self.server.unknown:
            self.server.unknown -= 1
            return self.answer(b"")  # as NNI does
        return self.answer(json.dumps({"hyperParameters": [own]}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def trial(monkeypatch, tmp_path):
    """Makes this process the trial ``abcde`` of a manager, on its machine or on a remote one."""
    started = []

    def start(platform="local", prefix=""):
        manager = Manager(prefix)
        Thread(target=manager.serve_forever, daemon=True).start()
        started.append(manager)
        manager.handed, manager.own = record(0, seed=3), {"abcde": record(1, seed=4), "other": record(0, seed=3)}
        machine = tmp_path / "environments" / "machine"
        monkeypatch.setenv("NNI_PLATFORM", platform)
        monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abcde")
        monkeypatch.setenv("NNI_OUTPUT_DIR", str(machine / "trials" / "abcde"))
        monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", f"{manager.url}/env/machine/abcde")
        # another manager's file first, of before the experiment was resumed
        for index, url in enumerate(("http://127.0.0.1:9", manager.url)):
            folder = machine / ("trial_keeper_1" if index else "trial_keeper")
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "trial_keeper_config.json"
            file.write_text(json.dumps({"managerCommandChannel": f"ws{url.removeprefix('http')}/platform/remote/1"}))
            os.utime(file, (index, index))
        return manager

    monkeypatch.setattr(trial_command_channel, "_channel", None)
    monkeypatch.setattr("nni.trial._params", None)
    yield start
    for manager in started:
        manager.shutdown()
        manager.server_close()


@pytest.mark.parametrize("platform", ["local", "remote"])
@pytest.mark.parametrize("prefix", ["", "/behind/a/proxy"])
def test_a_trial_takes_its_own_settings_and_reports_under_them(trial, platform, prefix, capsys):
    manager = trial(platform, prefix)
    manager.unknown = 1  # NNI starts a trial before it writes it down
    assert from_nni()[0] == "--seed=4"
    assert "settings of another trial" in capsys.readouterr().out
    nni.report_final_result({"default": 0.5})
    asked, reported = manager.received
    assert asked == {"type": "request_parameter"}
    assert json.loads(reported["metric"])["parameter_id"] == 1


def test_nnis_own_program_of_a_trial_makes_the_channel_by_its_name(trial, monkeypatch):
    manager = trial()
    monkeypatch.setenv("NNI_COUNT_CHANNEL", os.environ["NNI_TRIAL_COMMAND_CHANNEL"])
    _, _, name = own_parameters.FOR_NNI.rpartition("import://")
    monkeypatch.setattr(trial_command_channel, "_channel", pkgutil.resolve_name(name)())
    assert nni.get_next_parameter() == {"seed": 4}
    assert manager.received


def test_nothing_is_said_where_the_settings_are_the_right_ones(trial, capsys):
    manager = trial()
    manager.handed = manager.own["abcde"]
    assert from_nni()[0] == "--seed=4"
    assert not capsys.readouterr().out


@pytest.mark.parametrize("platform", ["local", "remote"])
def test_a_trial_that_cannot_know_its_own_settings_is_refused_in_a_line(trial, platform, monkeypatch, capsys):
    manager = trial(platform)
    manager.own = {}
    monkeypatch.setattr(own_parameters, "PATIENCE", 0.0)
    assert main(["trial", "--data", "synthetic", "--space", "AMSNetSpace", "--strategy", "DARTS"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"nni-count: error: {manager.url}: NNI's manager does not say which settings are those of")
    assert [command["type"] for command in manager.received] == ["request_parameter"]


def test_a_remote_machine_without_its_keepers_file_is_named(trial, tmp_path):
    trial("remote")
    for file in tmp_path.rglob("trial_keeper_config.json"):
        file.unlink()
    with pytest.raises(RunError, match="NNI's trial keeper has not left there where its manager is"):
        from_nni()


def test_a_channel_that_writes_into_the_trials_folder_is_left_as_it_is(monkeypatch):
    monkeypatch.delenv("NNI_TRIAL_COMMAND_CHANNEL", raising=False)
    monkeypatch.setattr(trial_command_channel, "_channel", None)
    own_parameters.ask_for_own_parameters()
    assert trial_command_channel._channel is None
