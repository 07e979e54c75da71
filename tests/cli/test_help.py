"""The help of a command, read from the sources, is what its parser takes: all settings and defaults, no others."""

import importlib
import inspect
import subprocess
import sys

import pytest
import yaml

from nni_count.cli import COMMANDS, main
from nni_count.cli.help import MOST, NAMED, page, rows
from nni_count.cli.options import _parser
from nni_count.data import READERS, SYNTHETIC, known_settings
from nni_count.networks import NETWORKS
from nni_count.networks.amsnet import SETTINGS
from nni_count.plugins import Entries
from nni_count.training.names import dotted

HEAVY = ("torch", "numpy", "nni", "jsonargparse", "yaml", "pytorch_lightning")
OPEN = (*NAMED, "retrain")  # what a parser takes as it is, and others check


def function_of(command):
    module, _, name = COMMANDS[command][0].partition(":")
    return getattr(importlib.import_module(module), name)


def told(command, *options):
    """Dotted name → row, of all that the help tells."""
    own = inspect.signature(function_of(command)).parameters
    found = rows(COMMANDS[command][0].replace(":", "."), options)
    return {dotted(row.name, own): row for row in found}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_is_told_with_its_default(command):
    parser, found = _parser(function_of(command), []), told(command)
    taken = {action.dest for action in parser._actions if f".{action.dest}".rpartition(".")[2] != "help"}
    assert not {name for name in taken if not any(f"{other}.".startswith(f"{name}.") for other in found)}
    leaves = {name for name in taken if not any(other.startswith(f"{name}.") for other in taken)}
    assert not {name for name in found if not any(f"{name}.".startswith(f"{other}.") for other in {*leaves, *OPEN})}
    defaults = parser.get_defaults().as_flat()
    for name, row in found.items():
        if hasattr(defaults, name) and row.default != "must be given" and name not in ("config", "print_config"):
            default = getattr(defaults, name)
            plain = list(default) if isinstance(default, tuple) else default
            assert (yaml.safe_load(row.default) if row.default else None) == plain, name


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_needs_is_told(command):
    parameters = inspect.signature(function_of(command)).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    assert {name for name, row in told(command).items() if row.default == "must be given"} == needed
    assert needed <= {*MOST}


@pytest.mark.parametrize("name", [*READERS, *SYNTHETIC])
def test_the_settings_of_a_reader(name):
    option = ("--data", name) if name in SYNTHETIC else ("--data", "folder", "--data.format", name)
    kind = {**READERS, **SYNTHETIC}[name]
    assert settings_of("data", told("evaluate", *option)) == {*known_settings(kind), "format"}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_settings_of_a_network(name):
    known = {*inspect.signature(NETWORKS[name]).parameters}
    searched = {*SETTINGS} if "settings" in known else set()
    found = settings_of("network", told("retrain", f"--network={name}"))
    assert found == known - {"architecture", "settings"} | searched


@pytest.mark.parametrize("option", ["space", "strategy", "task"])
def test_the_settings_of_what_is_found_by_name(option):
    everything = settings_of(option, told("search"))
    for name, entry in Entries(option).found.items():
        for given in (name, entry.value.replace(":", ".")):
            of_one = settings_of(option, told("search", f"--{option}", given))
            assert of_one == taken(entry.load())
        assert option == "task" or of_one <= everything


def taken(kind):
    """The arguments of a class, with those that it hands on to its bases."""
    names = set()
    for base in kind.__mro__:
        parameters = inspect.signature(base).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return names
    return names


def settings_of(option, found):
    return {name.removeprefix(f"{option}.") for name in found if name.startswith(f"{option}.")}


def test_the_settings_of_a_retraining_are_those_of_a_trial():
    of_trial, of_retraining = settings_of("retrain", told("trial")), told("retrain")
    left_out = {name for name in of_retraining if dotted(name.partition(".")[0], ()) not in {"config", "print_config"}}
    given = ("data", "task", "out", "architecture", "resume", "callbacks", "seed")
    expected = {name for name in left_out if name.partition(".")[0] not in given}
    assert {dotted(name, ()) for name in of_trial} == expected


def test_no_help_imports_what_it_tells_of():
    code = (
        "import sys\nfrom nni_count.cli import COMMANDS, main\n"
        "for command in COMMANDS: assert main([command, '--help']) == 0\n"
        "assert main(['--help']) == 0 == main(['search', '--strategy', 'GDAS', '--data.format', 'csv', '-h'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.endswith("[]\n")
    assert output.stderr == ""
    assert all(f"\n  {command} " in output.stdout for command in COMMANDS)


def test_the_page(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["search", "--strategy", "GDAS", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: nni-count search")
    assert all(len(line) <= 80 for line in text.splitlines())
    most, *others = text.split("\n\n")[3:]
    assert most.startswith("most used\n  --data <path>")
    assert "\n  --crop_size <whole number>        side of the training crops in pixels" in most
    assert {"strategy GDAS", "crops", "recipe", "trials", "compute"} <= {group.partition(":")[0] for group in others}
    assert "--strategy.temperature <[number, number]>" in text
    assert "--strategy.k " not in text
    assert "PartialChannel: one channel in k" in " ".join(page("search", "nni_count.search", []).split())
    assert main(["predict", "--help"]) == 0
    assert "\n  IMAGES ... " in capsys.readouterr().out


def test_a_strategy_of_nni_is_read_too():
    assert "arc_learning_rate" in settings_of("strategy", told("search", "--strategy", "nni.nas.strategy.DARTS"))


@pytest.mark.parametrize("path", ["no_such.Strategy", "os.path", "nni_count.commands.nowhere.Thing", "../x.y"])
def test_what_cannot_be_read_is_left_out(path):
    assert "strategy" in told("search", "--strategy", path)
