"""``nni-count COMMAND``: each command is a function of the public API, its options made from the signature."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from nni_count.cli.faults import answer, guarded, tell
from nni_count.errors import SettingError, Unread, shortened
from nni_count.plugins import Entries
from nni_count.runs.memory import keep_memory

#: command → where its function is, and what it does; the functions are imported when they are called, so that
#: ``--help`` answers at once. Another is added here, or by an entry point of any package (``nni_count.commands``)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("nni_count.commands.demo:demo", "search, retrain, evaluate and predict on synthetic crowds, in minutes"),
    "search": ("nni_count.commands.search:search", "space + strategy + data -> architecture.yaml"),
    "decode": ("nni_count.commands.decode:decode", "run of a search -> architecture.yaml by another rule or budget"),
    "retrain": ("nni_count.commands.retrain:retrain", "architecture + data -> model.safetensors"),
    "evaluate": ("nni_count.commands.evaluate:evaluate", "model + data -> how good it is: MAE, RMSE, PSNR, SSIM"),
    "predict": ("nni_count.commands.predict:predict", "model + your images -> counts and overlays"),
    "app": ("nni_count.commands.app:app", "model -> a page on this machine to count, label and improve it in"),
    "export": ("nni_count.commands.export:export", "model -> graph for ONNX Runtime or OpenVINO, checked against it"),
    "trial": (
        "nni_count.commands.trial:trial",
        "a trial of an NNI experiment: search + retrain + evaluate, reported to the portal",
    ),
    "work": ("nni_count.commands.work:work", "takes trials of a search from a folder, on this machine or another"),
    "compare": ("nni_count.commands.compare:compare", "runs, or an NNI experiment -> table with mean ± std, pictures"),
    "simulate": (
        "nni_count.commands.simulate:simulate",
        "table of trained architectures -> multi-trial strategies compared",
    ),
    "doctor": ("nni_count.commands.doctor:doctor", "data set -> what is wrong with it, and its images and points"),
}

#: by which launchers tell a process which one it is; libraries read some of them when they are imported
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 after an error, 130 after Ctrl-C or a kill.

    Whatever goes wrong is one line on stderr.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with guarded():
        try:
            code = _answer(arguments)
            sys.stdout.flush()  # a full disk is told here, not when Python ends
            return code
        except (Exception, KeyboardInterrupt) as error:
            return _fail(*answer(error, arguments[0]))


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"nni-count {version('nni-count')}")
        return 0
    command, *options = arguments
    known = commands()
    if command not in known:
        return _fail(f"unknown command {command!r}; known: {', '.join(known)}")
    where, _ = known[command]
    if any(option in ("-h", "--help") or option.partition("=")[0].endswith(".help") for option in options):
        from nni_count.cli.help import page

        print(page(command, where.replace(":", "."), options))
        return 0
    return _run(command, where, options)


def commands() -> dict[str, tuple[str, str]]:
    """:data:`COMMANDS`, and those of installed packages, which do what their docstrings say first."""
    others = {name: entry.value for name, entry in Entries("commands").found.items() if name not in COMMANDS}
    if not others:
        return COMMANDS
    from nni_count.cli.sources import find, summary

    described = {name: find(where.replace(":", ".")) for name, where in others.items()}
    return COMMANDS | {
        n: (others[n], summary(thing).partition("\n")[0] if thing else "") for n, thing in described.items()
    }


def _help() -> str:
    lines = "\n".join(f"  {name:<10} {what}" for name, (_, what) in commands().items())
    return (
        "usage: nni-count COMMAND [--config FILE.yaml] [--key value ...]\n\n"
        "Search, retrain and use networks that count by density.\n\n"
        f"{lines}\n\n"
        "nni-count COMMAND --help lists a command's settings; --print_config prints them as YAML."
    )


def _fail(message: str, code: int = 2) -> int:
    tell(f"error: {shortened(' '.join(message.split()))}")
    return code


def _run(command: str, where: str, options: list[str]) -> int:
    for name in RANKS:
        if not os.environ.get(name, "0").isdigit():
            raise SettingError(f"{name}: is {os.environ[name]!r} here, and what reads it takes a number; unset it")

    from nni_count.cli.given import at_home, by_given_name, check

    options = at_home(options)
    names = check(where.replace(":", "."), options)

    from nni_count.cli.options import call
    from nni_count.cli.show import show

    keep_memory()
    path, name = where.split(":")
    module = importlib.import_module(path)
    try:
        answer, out, first = call(command, getattr(module, name), options)
    except SettingError as error:
        raise SettingError(by_given_name(str(error), names)) from error
    except Unread as error:
        show(command, error.rows, None, None)
        raise
    if first:
        show(command, answer, out, getattr(module, "table", None))
    return 2 if command == "doctor" and answer["faults"] else 0
