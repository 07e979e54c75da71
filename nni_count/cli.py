"""``nni-count COMMAND``: each command is a function of the public API, its options made from the signature."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

#: command → where its function is, and what it does; the functions are imported when they are called, so that
#: ``--help`` answers at once
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("nni_count.commands.demo:demo", "search, retrain, evaluate and predict on synthetic crowds, in minutes"),
    "search": ("nni_count.commands.search:search", "space + strategy + data -> architecture.yaml"),
    "decode": ("nni_count.commands.decode:decode", "run of a search -> architecture.yaml by another rule or budget"),
    "retrain": ("nni_count.commands.retrain:retrain", "architecture + data -> model.safetensors"),
    "evaluate": ("nni_count.commands.evaluate:evaluate", "model + data -> how good it is: MAE, RMSE, PSNR, SSIM"),
    "predict": ("nni_count.commands.predict:predict", "model + your images -> counts and overlays"),
    "trial": (
        "nni_count.commands.trial:trial",
        "a trial of an NNI experiment: search + retrain + evaluate, reported to the portal",
    ),
    "compare": ("nni_count.commands.compare:compare", "runs, or an NNI experiment -> table with mean ± std, pictures"),
    "doctor": (
        "nni_count.commands.doctor:doctor",
        "data set -> what is wrong with it, and a page of images and points",
    ),
}

#: options that name something whose own settings follow after a dot, e.g. ``--network.cells 8``
NAMED = ("data", "network", "retrain", "random")

#: settings of data that are asked for so often that they stand alone: ``--fold 2`` is ``--data.fold 2``
SHORT = ("fold", "scene")

#: positional arguments
POSITIONAL = {"predict": "images", "compare": "runs"}
POSITIONAL_HELP = {"predict": "images or folders", "compare": "run folders, or NNI experiments: an id or an export"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 after an error of the user's input or data, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"nni-count {version('nni-count')}")
        return 0
    command, *options = arguments
    if command not in COMMANDS:
        return _fail(f"unknown command {command!r}; known: {', '.join(COMMANDS)}")
    from nni_count.errors import Interrupted, NNICountError

    try:
        return _run(command, options)
    except Interrupted as error:
        return _fail(str(error), 130)
    except NNICountError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; continue with --resume if the run has a checkpoint", 130)


def _help() -> str:
    commands = "\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: nni-count COMMAND [--config FILE.yaml] [--key value ...]\n\n"
        "Search, retrain and use networks that count by density.\n\n"
        f"{commands}\n\n"
        "nni-count COMMAND --help lists a command's settings; --print_config prints them as YAML."
    )


def _fail(message: str, code: int = 2) -> int:
    print(f"nni-count: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _run(command: str, options: list[str]) -> int:
    from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, set_parsing_settings

    from nni_count.errors import SettingError
    from nni_count.runs.run import CONFIGURATION

    warnings.showwarning = _one_line_warning
    function = _function(command)
    if command == "trial":
        from nni_count.commands.trial import from_nni

        options = [*options, *from_nni()]
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # after its import, which sets it
    set_parsing_settings(docstring_parse_attribute_docstrings=False)
    parser = ArgumentParser(prog=f"nni-count {command}", description=COMMANDS[command][1], exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the settings below")
    positional = POSITIONAL.get(command)
    parser.add_function_arguments(
        function, as_group=False, as_positional=False, fail_untyped=False, skip={positional} if positional else set()
    )
    if any(option.startswith("--task.") for option in options):
        from nni_count.tasks.task import USUAL

        parser.set_defaults(task={"class_path": USUAL})  # so that its settings can be given without its name
    if positional:
        parser.add_argument(positional, nargs="+", type=str, help=POSITIONAL_HELP[command])
    try:
        configuration = parser.parse_args(_translate(options))
        values = parser.instantiate_classes(configuration)
    except Exception as error:  # jsonargparse lets through whatever a constructor raises
        from nni_count.errors import NNICountError

        if isinstance(error, NNICountError):
            raise
        remedy = f"nni-count {command} --help lists the settings"
        if "Cannot find a valid default sample" in str(error):  # how NNI says so
            remedy = "two choices of the space share that label but not their candidates; give one another label"
        raise SettingError(f"{_last_line(error)} ({remedy})") from error
    plain = parser.dump(configuration, format="json", skip_none=False)
    token = CONFIGURATION.set({name: value for name, value in _load(plain).items() if name != "config"})
    try:
        answer = function(
            **{name: value for name, value in vars(_as_dict(values, Namespace)).items() if name != "config"}
        )
    finally:
        CONFIGURATION.reset(token)
    _show(command, answer, configuration.out)
    return 2 if command == "doctor" and answer["faults"] else 0


def _show(command: str, answer: Any, out: str | None) -> None:
    """What a person wants to see at the end."""
    from nni_count.runs.run import rank

    if rank() > 0:
        return
    if command == "evaluate":
        from nni_count.commands.evaluate import table

        print(table(answer))
    elif command == "predict":
        for row in answer:
            numbers = [f"{value:10.2f}" for value in row.values() if not isinstance(value, str)]
            print(*numbers, row["image"], sep="  ")
    elif command == "retrain":
        facts, metric = answer.facts, answer.task.main_metric
        figure = facts[f"validation_{metric}"]
        judged = "no validation" if figure is None else f"validation {metric.upper()} {figure:.2f}"
        print(
            f"{answer.parameters:,} parameters, {judged} "
            f"({facts['weights']} weights of step {facts['step']} of {facts['steps']})"
        )
    elif command == "trial":
        metric = answer["main_metric"]
        print(f"validation {metric.upper()} {answer[metric]:.2f}, {answer['parameters']:,} parameters")
    elif command == "compare":
        print(answer)
    elif command == "doctor":
        from nni_count.commands.doctor import table as findings

        print(findings(answer))
    if out:
        print(f"written to {out}")


def _as_dict(values: Any, namespace: type) -> Any:
    """The parsed values; whatever is still a namespace is turned into a dictionary."""
    for name, value in vars(values).items():
        if isinstance(value, namespace):
            setattr(values, name, value.as_dict())  # type: ignore[attr-defined]
    return values


def _load(text: str) -> dict[str, Any]:
    import json

    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _function(command: str) -> Callable[..., Any]:
    module, name = COMMANDS[command][0].split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _translate(options: list[str]) -> list[str]:
    """Write names of spaces, strategies and tasks as their paths, and settings of named things where they belong."""
    from nni_count.plugins import GROUPS

    result: list[str] = []
    expects: str | None = None
    for option in options:
        key, equals, value = option.partition("=")
        name = key.removeprefix("--")
        if expects and not option.startswith("--"):
            option = _path_of(expects, option)
        expects = None
        if key.startswith("--"):
            if name in GROUPS:
                option = f"{key}={_path_of(name, value)}" if equals else key
                expects = None if equals else name
            if name in SHORT:
                name = f"data.{name}"
            for owner in NAMED:
                if name.startswith(f"{owner}."):
                    option = f"--{owner}_settings.{name.partition('.')[2]}" + equals + value
        result.append("--resume=true" if option == "--resume" else option)
    return result


def _path_of(option: str, name: str) -> str:
    """The dotted path of a space, strategy or task that is named; a dotted path stays."""
    from nni_count.plugins import load, path_of

    return name if "." in name else path_of(load(option, name))


def _one_line_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
    # what libraries say to those who program with them is not for those who call a command
    if issubclass(category, UserWarning) and "site-packages" not in filename.replace("site-packages/nni_count", ""):
        print(f"nni-count: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__
