"""``nni-count COMMAND --help``: every setting of a command, read from the sources without importing them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nni_count.cli.sources import Setting, find, readable, registered, settings, summary
from nni_count.errors import SettingError
from nni_count.plugins import Entries
from nni_count.runs.ranges import Range
from nni_count.training.names import HEADS, SHORT

#: what most people need, in this order; the other settings follow in groups
MOST = (
    *(
        "images",
        "runs",
        "folder",
        "data",
        "table",
        "data_set",
        "strategies",
        "space",
        "strategy",
        "architecture",
        "network",
        "model",
        "run",
        "out",
    ),
    *("crop_size", "batch_size", "learning_rate", "max_epochs", "max_steps", "max_time", "split", "views", "seed"),
    *("accelerator", "resume", "config", "print_config"),
)
#: what is given by its name and has settings of its own → entry points, and registries of ours that have more
NAMED: dict[str, tuple[Any, ...]] = {
    "data": ("readers", ("nni_count.data", "READERS"), ("nni_count.data", "SYNTHETIC")),
    "network": ("networks", ("nni_count.networks", "NETWORKS")),
    **{name: (name,) for name in ("space", "strategy", "task")},
}
USUAL = {"task": "Counting"}  # whose settings are explained where none is named
COLUMN, WIDEST = 36, 100
RETRAIN = "retrain."  # before the settings of a trial's retraining
NOTE = (
    "Names are those of a configuration file; --crop_size is short for --crops.size, and so on. Beside a name, as in "
    "--strategy GDAS --help, its settings are told in full."
)


class Row(NamedTuple):
    """A line of the page: a setting by the name that is shown, its type, meaning and default, and its group."""

    name: str
    kind: str
    meaning: str
    default: str
    group: str
    range: Range | None = None


def page(command: str, function: str, options: Sequence[str]) -> str:
    """The help of a command.

    Args:
        command: its name.
        function: the dotted path of its function.
        options: of the command line: what it names is explained in full.
    """
    asked = next((name for name in map(_asked, options) if name), None)
    if asked:
        one = _value(options, f"{asked}.help")
        options = [*options, f"--{asked}={one}"] if one else options
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    thing = find(function)
    found = settings(thing) if thing else {}
    positional = {
        name: f"{name.upper()} ..." if takes_several(setting.annotation) else name.upper()
        for name, setting in found.items()
        if setting.positional
    }
    usage = [f"nni-count {command}", *positional.values(), "[--key value ...]"]
    lines = [f"usage: {' '.join(usage)}", ""]
    for paragraph in (summary(thing) if thing else "").split("\n\n"):
        lines += [*textwrap.wrap(readable(paragraph), width), ""]
    groups: dict[str, list[Row]] = {"most used": []}
    for row in rows(function, options):
        groups.setdefault("most used" if row.name in MOST else row.group, []).append(row)
    groups["most used"].sort(key=lambda row: MOST.index(row.name))
    groups["others"] = groups.pop("", [])
    if asked:
        lines, groups = [], {g: [row for row in rs if row.name.startswith(f"{asked}.")] for g, rs in groups.items()}
        if not any(groups.values()):
            raise SettingError(f"--{asked}.help: nothing of {command} has settings of that name; see --help")
    for group, members in groups.items():
        if members:
            about = f": {found[group].meaning}" if group in found.keys() - NAMED.keys() else ""
            lines += textwrap.wrap(f"{group}{about}".rstrip("."), width)
            lines += [*(line for row in members for line in _lines(row, width, positional)), ""]
    return "\n".join([*lines, *textwrap.wrap(NOTE, width)])


def _asked(option: str) -> str:
    """The setting whose help alone an option asks for, as ``--space.help`` does."""
    name = option.partition("=")[0]
    return name[2:].removesuffix(".help") if name.startswith("--") and name.endswith(".help") else ""


def rows(function: str, options: Sequence[str] = ()) -> list[Row]:
    """The settings of the function at a dotted path, those in groups by their short names where they have one."""
    thing = find(function)
    found = settings(thing) if thing else {}
    return [
        *(row._replace(name=_short(row.name, found)) for row in _rows(found, options)),
        Row("config", "path", "YAML file with any of these settings, such as the config.yaml of a run", "", ""),
        Row("print_config", "", "print the settings as YAML, and do nothing", "", ""),
    ]


def _short(name: str, own: Container[str]) -> str:
    if name.startswith(RETRAIN):
        return RETRAIN + _short(name.removeprefix(RETRAIN), ())
    shorter = (s + name[len(d) :] for s, d in SHORT.items() if s not in own and f"{name}.".startswith(f"{d}."))
    return next(shorter, name)


def _rows(found: Mapping[str, Setting], options: Sequence[str], prefix: str = "") -> Iterator[Row]:
    for setting in found.values():
        name = prefix + setting.name
        first = name.partition(".")[0] if "." in name else ""
        if setting.name in NAMED and not str(setting.annotation).startswith("dict"):
            yield from _named(name, setting, options, first)
        elif fields := setting.fields:
            yield from _rows(fields, options, f"{name}.")
        elif handed := setting.handed:
            yield from _rows(handed, options, f"{name}.")
        else:
            yield _row(name, setting, setting.meaning, first)


def _row(name: str, setting: Setting, meaning: str, group: str) -> Row:
    default = "must be given" if setting.default is None else setting.default_text
    return Row(name, setting.kind, meaning, default, group, setting.range)


def known_names(option: str) -> dict[str, str]:
    """The dotted paths of what an option of :data:`NAMED` may name."""
    registry, *ours = NAMED[option]
    known = {kind: path for where in ours for kind, path in registered(*where).items()}
    return known | {kind: entry.value.replace(":", ".") for kind, entry in Entries(registry).found.items()}


def _named(name: str, setting: Setting, options: Sequence[str], group: str) -> Iterator[Row]:
    """What is given by its name, and the settings of what the options name; else those of all, a line each."""
    option, ours = setting.name, NAMED[setting.name][1:]
    known = known_names(option)
    asked = [_value(options, key) for key in (f"{name}.format", f"{name}.{HEADS.get(option)}", name)]
    spelt = {kind.lower(): kind for kind in known}
    asked = [spelt.get(str(kind).lower(), kind) for kind in asked]
    if (help_of := _value(options, f"{name}.help")) and asked[-1] not in known and "." not in help_of:
        raise SettingError(f"--{name}.help: {help_of!r} is unknown; known: {', '.join(known)}")
    chosen = next((kind for kind in [*asked, USUAL.get(option)] if kind in known or "." in str(kind)), None)
    thing = find(known.get(chosen, chosen)) if chosen else None
    merged: dict[tuple[str, str], tuple[Setting, list[str]]] = {}
    for kind, path in {chosen: known.get(chosen, chosen)}.items() if chosen and thing else known.items():
        for one in settings(kinds_own).values() if (kinds_own := find(path)) else ():
            merged.setdefault((one.name, one.default_text), (one, []))[1].append(kind)
    group = group or (f"{name} {chosen}: {readable(summary(thing))}" if thing else name)
    row = _row(name, setting, setting.meaning, group)
    if option == "data":
        yield row
        yield Row(f"{name}.format", "text", f"its layout, where the files leave doubt: {', '.join(known)}", "", group)
    else:
        names = ", ".join(known) if ours else f"{', '.join(known)}, or a dotted path"
        yield row._replace(kind="name", meaning=f"{row.meaning} One of {names}")
    for one, kinds in merged.values():
        others = [kind for kind in known if kind not in kinds]
        of = f"all but {', '.join(others)}: " if len(others) < len(kinds) else f"{', '.join(kinds)}: "
        meaning = one.meaning if thing or not others else of + one.meaning
        yield _row(f"{name}.{one.name}", one, meaning, group)


def takes_several(annotation: Any) -> bool:
    """Whether words without a name, of this type, may be more than one."""
    return "[" in str(annotation)


def _value(options: Sequence[str], name: str) -> str | None:
    """What an option is given, as ``--name value`` or ``--name=value``."""
    for option, after in zip(options, [*options[1:], ""], strict=False):
        key, equals, value = option.partition("=")
        if key == f"--{name}":
            return value if equals else after
    return None


def _lines(row: Row, width: int, positional: Mapping[str, str]) -> list[str]:
    kind = f" <{row.kind}>" if row.kind and row.name != "resume" else ""
    left = f"  {positional[row.name]}" if row.name in positional else f"  --{row.name}{kind}"
    default = row.default if row.default in ("must be given", "") else f"default {row.default}"
    text = ", ".join(part for part in (row.meaning.rstrip("."), default) if part)
    right = textwrap.wrap(text, max(20, width - COLUMN), break_on_hyphens=False) or [""]
    if len(left) < COLUMN:
        left += f"{'':<{COLUMN - len(left)}}{right.pop(0)}"
    return [left, *(f"{'':<{COLUMN}}{line}" for line in right)]
