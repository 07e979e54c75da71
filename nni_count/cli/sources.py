"""What settings a function or class has, read from its source: importing torch and NNI would take seconds."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import griffe

from nni_count import _PUBLIC
from nni_count.runs.ranges import Range

#: where classes are followed to the ones that they extend
OURS = ("nni_count", "search_spaces", "strategies")
#: types by what they are called on a command line; others are given as objects, from Python
WORDS = {"int": "whole number", "float": "number", "bool": "true|false", "Path": "path", "str": "text"}
WORDS |= {"dict": "{name: value}", "Mapping": "{name: value}", "DataSetting": "path", "Any": "value"}

QUIET: griffe.GoogleOptions = {"warnings": False}


@dataclass(frozen=True)
class Setting:
    """A parameter or field as its source writes it.

    Args:
        name: of the parameter.
        annotation: its type, an expression.
        default: an expression; None where it must be given.
        meaning: from the docstring, as a person reads it.
        module: where the names in the expressions are known.
        handed_to: the function or class whose settings it holds, by name, where it is a mapping of such.
        positional: whether it is given without its name.
    """

    name: str
    annotation: Any
    default: Any
    meaning: str
    module: griffe.Module
    handed_to: Any = None
    positional: bool = False

    @property
    def kind(self) -> str:
        """Its type in plain words; nothing where it is given as an object alone."""
        return " or ".join(dict.fromkeys(word for word in _words(self.annotation) if word))

    @property
    def range(self) -> Range | None:
        """The numbers that it may have, where its source says it."""
        marks = (part for whole in _alternatives(self.annotation) for part in _annotated(whole)[1:])
        call = next((mark for mark in marks if str(getattr(mark, "function", "")) == "Range"), None)
        if call is None:
            return None
        given = [part for part in call.arguments if not isinstance(part, griffe.ExprKeyword)]
        named = {part.name: literal_eval(str(part.value)) for part in call.arguments if part not in given}
        return Range(*(literal_eval(str(part)) for part in given), **named)

    @property
    def default_text(self) -> str:
        """Its default as a command line takes it; nothing where there is none."""
        value = self.default
        if isinstance(value, griffe.ExprName) and value.name in self.module.members:
            value = self.module.members[value.name].value  # type: ignore[union-attr]
        text = str(value).strip("'\"")
        plain = {"None": "", "True": "true", "False": "false", "math.inf": ".inf", "field(default_factory=dict)": "{}"}
        return plain.get(text, text.replace("(", "[").replace(")", "]"))

    @property
    def fields(self) -> Mapping[str, Setting]:
        """The settings of a dataclass that is its type, with those defaults that are given for it."""
        named = [part for part in _union(self.annotation) if str(part) != "None"]
        kind = find(path_in(self.module, str(named[0]))) if len(named) == 1 and str(named[0]) not in WORDS else None
        if not isinstance(kind, griffe.Class) or "dataclass" not in kind.labels:
            return {}
        given = [part for part in getattr(self.default, "arguments", ()) if isinstance(part, griffe.ExprKeyword)]
        found = settings(kind)
        return found | {part.name: replace(found[part.name], default=part.value) for part in given}

    @property
    def handed(self) -> Mapping[str, Setting]:
        """What it holds for another function or class, without the module's ``GIVEN``, which it is given anyway."""
        if self.handed_to is None:
            return {}
        given = self.module.members.get("GIVEN")
        names = literal_eval(str(given.value)) if isinstance(given, griffe.Attribute) else ()
        return {name: setting for name, setting in settings(self.handed_to).items() if name not in names}


@cache
def module(path: str) -> griffe.Module | None:
    """The source of a module; none where there is no such file, or it is no Python."""
    top, *rest = path.split(".")
    origin = getattr(find_spec(top) if top else None, "origin", None)
    if origin is None:
        return None
    place = Path(origin).parent.joinpath(*rest)
    files = [place.with_suffix(".py"), place / "__init__.py"] if rest else [Path(origin)]
    try:
        file = next(file for file in files if file.is_file())
        text = file.read_text(encoding="utf-8")
        return griffe.visit(path, file, text, docstring_parser="google", docstring_options=QUIET)
    except (StopIteration, SyntaxError, ValueError):
        return None


def path_in(source: griffe.Module, name: str) -> str:
    """The dotted path of what a module calls by a name."""
    first, dot, rest = name.partition(".")
    member = source.members.get(first)
    if member is not None:
        first = member.target_path if isinstance(member, griffe.Alias) else f"{source.path}.{first}"
    return first + dot + rest


@cache
def find(path: str) -> griffe.Object | None:
    """The function or class at a dotted path, through the imports of other modules; none where it cannot be read."""
    where, _, name = path.rpartition(".")
    source = module(_PUBLIC.get(name, where) if where == "nni_count" else where) if where else None
    member = source.members.get(name) if source else None
    return find(member.target_path) if isinstance(member, griffe.Alias) else member


def registered(where: str, name: str) -> dict[str, str]:
    """The dotted paths of a registry that a module writes as ``name = …({"key": Class, "other": "module:Class"})``."""
    source = module(where)
    assert source
    (table,) = (part for part in source.members[name].value.arguments if isinstance(part, griffe.ExprDict))  # type: ignore[union-attr]
    return {
        literal_eval(str(key)): literal_eval(value).replace(":", ".")
        if isinstance(value, str)
        else path_in(source, str(value))
        for key, value in zip(table.keys, table.values, strict=True)
    }


def summary(thing: griffe.Object) -> str:
    """The text of a docstring before its sections."""
    sections = thing.docstring.parsed if thing.docstring else []
    return next((section.value for section in sections if section.kind is griffe.DocstringSectionKind.text), "")


def readable(text: str) -> str:
    """A docstring's text without its marks, in a line."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "")
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))


@cache
def settings(thing: griffe.Object) -> dict[str, Setting]:
    """What a function or class may be given, its own first, and then what it hands on: to its base, or, where the
    docstring says so of ``**settings``, to another function or class.
    """
    bases, meanings = _bases(thing), _meanings(thing)
    inherited = next((found for found in map(settings, bases) if found), {})
    if "dataclass" in thing.labels:
        fields = [f for f in thing.attributes.values() if f.annotation and "property" not in f.labels]
        own = {f.name: _setting(thing, f, f.value, meanings) for f in fields if "ClassVar" not in str(f.annotation)}
        return {n: replace(s, meaning=readable(meanings.get(n, ""))) for n, s in inherited.items()} | own
    function = thing.members.get("__init__") if isinstance(thing, griffe.Class) else thing
    if not isinstance(function, griffe.Function):
        return inherited
    found: dict[str, Setting] = {}
    for parameter in function.parameters:
        setting = _setting(thing, parameter, parameter.default, meanings)
        if parameter.kind is griffe.ParameterKind.var_keyword:
            handed = setting.handed or inherited
            usual = re.search(r"by default ([^;.]+)", setting.meaning)
            handed = {n: replace(s, default=usual[1]) for n, s in handed.items()} if usual else handed
            found |= {name: other for name, other in handed.items() if name not in found}
        elif not isinstance(thing, griffe.Class) or not setting.positional or (parameter.default and setting.kind):
            found[parameter.name] = setting
    return found


def _setting(thing: griffe.Object, of: Any, default: Any, meanings: Mapping[str, str]) -> Setting:
    text = meanings.get(of.name, "")
    role = re.search(r":(?:class|func):`([\w.]+)`", text)
    mapping = str(of.annotation).startswith(("Mapping", "Any"))
    return Setting(
        of.name,
        of.annotation,
        default,
        readable(text),
        thing.module,
        find(path_in(thing.module, role[1])) if role and mapping else None,
        getattr(of, "kind", None) is griffe.ParameterKind.positional_or_keyword,
    )


def _bases(thing: griffe.Object) -> list[griffe.Object]:
    tops = {*OURS, thing.module.path.partition(".")[0]}  # to follow torch's would take seconds
    paths = [path_in(thing.module, str(base)) for base in getattr(thing, "bases", ())]
    return [base for path in paths if path.partition(".")[0] in tops and (base := find(path))]


def _meanings(thing: griffe.Object) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in _bases(thing):
        found |= _meanings(base)
    for section in thing.docstring.parsed if thing.docstring else []:
        if section.kind is griffe.DocstringSectionKind.parameters:
            found |= {parameter.name: parameter.description for parameter in section.value}
    return found


def _union(annotation: Any) -> list[Any]:
    """The types of a union, without what is said beside them."""
    found = [_annotated(part)[0] for part in _alternatives(annotation)]
    return found if found == [annotation] else [part for one in found for part in _union(one)]


def _alternatives(annotation: Any) -> list[Any]:
    if isinstance(annotation, griffe.ExprBinOp):
        return [*_alternatives(annotation.left), *_alternatives(annotation.right)]
    return [annotation]


def _annotated(annotation: Any) -> list[Any]:
    """A type, and what ``Annotated`` says beside it."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
        return list(annotation.slice.elements)  # type: ignore[union-attr]
    return [annotation]


def _words(annotation: Any) -> list[str]:
    """The types of a union in plain words; a text that may be a path is a path."""
    parts = _union(annotation)
    if len(parts) > 1:
        words = [word for part in parts for word in _words(part)]
        return [word for word in words if word != "text" or "path" not in words]
    (annotation,) = parts
    if not isinstance(annotation, griffe.ExprSubscript):
        return [WORDS.get(str(annotation), "")]
    within = getattr(annotation.slice, "elements", [annotation.slice])
    if str(annotation.left) == "Literal":
        return ["|".join(str(part).strip("'\"") for part in within)]
    if str(annotation.left) in ("tuple", "list", "Sequence"):
        words = [" or ".join(_words(part)) for part in within]
        return [f"[{', '.join(words)}]" if all(words) else ""]
    return [WORDS.get(str(annotation.left), "")]
