"""Options and configurations of a command: parsed by the signature of its function, which is then called."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Container
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from nni_count.cli.faults import tell
from nni_count.cli.given import given, pairs, read_configuration
from nni_count.cli.help import rows, takes_several
from nni_count.errors import NNICountError, Note, SettingError
from nni_count.plugins import GROUPS, load
from nni_count.runs.describe import path_of
from nni_count.runs.plain import dump_yaml, parse_yaml
from nni_count.training.names import HEADS, dotted, nested

#: settings of data that are words of theirs, of which some look like numbers: a class called 01, or no
TEXTS = {"label", "key"}


def call(command: str, function: Callable[..., Any], options: list[str]) -> tuple[Any, str | None, bool]:
    """Call a command's function with what the options say.

    Returns:
        Its answer, the folder that it wrote to, and whether this is the only process, or the first one.

    Raises:
        SettingError: an option is unknown, or its value does not fit.
    """
    warnings.showwarning = _one_line_warning
    if not logging.root.handlers:
        logging.root.addHandler(logging.NullHandler())  # else Python shows what libraries say to those who program
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # after its import, which sets it
    if command == "trial":
        from nni_count.searching.portal import from_nni

        options = [*options, *from_nni()]
    own = set(inspect.signature(function).parameters)
    translated = translate(options, own)
    parser = _parser(function, translated)
    try:
        configuration = parser.parse_args(translated)
        values = parser.instantiate_classes(configuration)
    except Exception as error:  # jsonargparse lets through whatever a constructor raises
        if isinstance(error, NNICountError):
            raise
        remedy = f"nni-count {command} --help lists the settings"
        if "Cannot find a valid default sample" in str(error):  # how NNI says so
            remedy = "two choices of the space share that label but not their candidates; give one another label"
        told = _meant(options, str(error), function) or _of_another(options, command)
        raise SettingError(told or f"{_last_line(error)} ({remedy})") from error
    settings = {name: _plain(value) for name, value in vars(values).items() if name != "config"}
    _keep_texts(settings.get("data"), options)
    first = not getattr(settings.get("compute"), "process", 0)
    return function(**settings), configuration.get("out"), first


def _keep_texts(data: Any, options: list[str]) -> None:
    """Give labels and keys of data back as they were written, where the parser took them for numbers or truths."""
    if not isinstance(data, dict) or not TEXTS & data.keys():
        return
    told = given(options)
    written = {name.removeprefix("data."): value for name, value in told.items() if name.startswith("data.")}
    inline = parse_yaml(told["data"]) if str(told.get("data")).startswith("{") else {}
    for name in TEXTS & data.keys():
        text = inline.get(name, written.get(name))
        if isinstance(text, str) and text != "null":
            data[name] = parse_yaml(text) if text[:1] in ("'", '"') else text


def _parser(function: Callable[..., Any], options: list[str]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parameters = inspect.signature(function).parameters.values()
    positional = {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD}
    parser.add_function_arguments(function, as_group=False, as_positional=False, fail_untyped=False, skip=positional)
    if any(option.startswith("--task.") for option in options):
        from nni_count.tasks.task import USUAL

        parser.set_defaults(task={"class_path": USUAL})  # so that its settings can be given without its name
    for name in positional:
        several = takes_several(inspect.signature(function).parameters[name].annotation)
        parser.add_argument(name, nargs="+" if several else None, type=str)
    return parser


def _meant(options: list[str], fault: str, function: Callable[..., Any]) -> str | None:
    """What an unknown option of which an error tells may have been meant to be, where one is like it; or what the value
    of one should be.
    """
    known = {row.name: row for row in rows(path_of(function), options)}
    on_the_line = dict(pairs(options))  # in configurations names are the long ones
    for name, value in given(options).items():
        if name in known and re.search(rf'"([\w.]+\.)?{re.escape(name.rpartition(".")[2])}":\s+Expected a', fault):
            kind = known[name].kind.replace("|", " or ")
            kind = kind if kind[:1] in "[{" else re.sub(r"\b(whole number|number|text|path|name)\b", r"a \1", kind)
            return f"{name}: {value!r:.100}; give {kind}"
        unknown = name in on_the_line and name not in known and name.rpartition(".")[2] in fault
        if unknown and (close := get_close_matches(name, known, 1, 0.8)):
            return f"--{name}: unknown; did you mean --{close[0]}?"
    return None


def _of_another(options: list[str], command: str) -> str | None:
    """That a configuration is of another command's run, where its first line says so."""
    for name, path in pairs(options):
        if name == "config":
            line = Path(path).read_text(encoding="utf-8").partition("\n")[0]
            found = line.removeprefix("# nni-count ")
            if line != found and found != command:
                return f"config: {path}: is of a run of '{found}', and '{command}' has other settings; give these alone"
    return None


def translate(options: list[str], own: Container[str]) -> list[str]:
    """Write options as the parser knows them: settings by their dotted names; spaces, strategies and tasks by their
    paths; a configuration as its text, in which the same is done.

    Args:
        options: of the command line.
        own: the function's parameters.
    """
    result: list[str] = []
    waiting = iter(options)
    for option in waiting:
        key, equals, value = option.partition("=")
        name = key.removeprefix("--")
        if not key.startswith("--"):
            result.append(option)
            continue
        known = name in GROUPS or name in HEADS or name == "config"
        if known and not equals:
            equals, value = "=", next(waiting, "")
        if known and (not value or value.startswith("--")):
            raise SettingError(f"{name}: nothing is given for it; write its value behind it")
        if name == "config":
            value = _configuration(Path(value), own)
        elif name in GROUPS:
            value = _path_of(name, value)
        elif name in HEADS and not value.startswith("{"):
            name = f"{name}.{HEADS[name]}"
        result.append("--resume=true" if option == "--resume" else f"--{dotted(name, own)}{equals}{value}")
    return result


def _configuration(path: Path, own: Container[str]) -> str:
    """The text of a configuration file with the settings as the parser knows them."""
    settings = read_configuration(path)
    for name in GROUPS.keys() & settings.keys():
        if isinstance(settings[name], str):
            settings[name] = {"class_path": _path_of(name, settings[name])}
    return dump_yaml(nested(settings, own))


def _path_of(option: str, name: str) -> str:
    """The dotted path of a space, strategy or task that is named; a dotted path stays."""
    return name if "." in name else path_of(load(option, name))


def _plain(value: Any) -> Any:
    """A value that is still a namespace as a dictionary."""
    return value.as_dict() if isinstance(value, Namespace) else value


def _one_line_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
    # what libraries say to those who program with them is not for those who call a command
    if issubclass(category, UserWarning) and "site-packages" not in filename.replace("site-packages/nni_count", ""):
        kind = "note" if issubclass(category, Note) else "warning"
        tell(f"{kind}: {' '.join(str(message).split())}")


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__
