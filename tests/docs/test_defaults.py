"""What the pages say of defaults is what commands take, and groups of settings have those that are listed."""

import dataclasses
import inspect
import re

import pytest
import yaml
from docs.pages import ROOT, tables

import nni_count
import strategies
from nni_count.cli import main
from nni_count.losses import LOSSES
from nni_count.networks import NETWORKS
from nni_count.training.names import SHORT
from search_spaces import AMSNetSpace

PAGE = ROOT / "docs" / "search.md"
ROWS = tables(PAGE)


@pytest.fixture(scope="module")
def defaults():
    """Command → its settings, where nothing but what it needs is given."""
    import contextlib
    import io

    lines = {
        "search": "search --data d --space AMSNetSpace --strategy PartialChannel --out o",
        "retraining": "retrain --data d --out o",
    }
    found = {}
    for command, line in lines.items():
        with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
            main([*line.split(), "--print_config"])
        found[command] = yaml.safe_load(printed.getvalue())
    return found


def value_of(settings, option):
    """The default of a setting by the name that the command line has for it."""
    for name in SHORT.get(option, option).split("."):
        settings = settings.get("init_args", settings)[name]
    return settings


def compared():
    """The rows of the table of defaults: the command, what it says, its options."""
    command = None
    for first, *others in ROWS:
        if title := re.match(r"\*\*(search|retraining)\*\*", first):
            command = title[1]
        elif command and len(others) == 3:
            yield command, others[1], re.findall(r"--([\w.]+)", others[2])
        else:
            command = None


def test_the_defaults_are_those_of_the_commands(defaults):
    checked = 0
    for command, said, options in compared():
        numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", said)]
        for option in options:
            if option.partition(".")[0] in ("network", "strategy") or not numbers:
                continue
            value = value_of(defaults[command], option)
            if value is not None:
                values = value if isinstance(value, (list, tuple)) else [value]
                assert set(values) <= set(numbers), (option, said)
                checked += 1
    assert checked >= 7
    assert value_of(defaults["search"], "strategy.warmup_epochs") == 0
    assert value_of(defaults["retraining"], "schedule") == "cosine"
    assert value_of(defaults["retraining"], "validation_fraction") == 0.1


def test_the_rest_is_the_papers(defaults):
    """NAS-Count, sections 4.1.1 and 4.1.2."""
    search = defaults["search"]
    asked = ("max_epochs", "learning_rate", "final_learning_rate", "weight_decay")
    assert [value_of(search, name) for name in asked] == [80, 1e-3, 4e-4, 1e-4]
    asked = ("strategy.arc_learning_rate", "strategy.arc_weight_decay", "strategy.k", "space.cells", "space.map_stride")
    assert [value_of(search, name) for name in asked] == [6e-4, 1e-3, 4, 6, None]
    assert AMSNetSpace(width=16).map_stride == 1
    assert value_of(defaults["retraining"], "learning_rate") == 1e-3


@pytest.mark.parametrize("name", ["Crops", "Recipe", "TrainingRecipe", "Budget", "SearchBudget", "Decoding", "Compute"])
def test_a_group_has_the_settings_that_are_listed(name):
    (row,) = [row for row in ROWS if len(row) == 4 and row[1].startswith(f"`{name}`")]
    listed = set(re.findall(r"`(\w+)`", row[2]))
    fields = {field.name for field in dataclasses.fields(getattr(nni_count, name))}
    if row[2].startswith("the same"):
        fields -= {field.name for field in dataclasses.fields(nni_count.Recipe)}
    assert listed == fields - ({"max_steps"} if name == "SearchBudget" else set())  # which a search refuses


def read(text):
    """A value as the pages write it."""
    try:
        return float(text)
    except ValueError:
        return yaml.safe_load(text)


def test_a_retraining_is_as_its_page_says(defaults):
    checked = 0
    for options, said, _ in (row for row in tables(ROOT / "docs" / "retraining.md") if len(row) == 3):
        names = re.findall(r"`--(\w+)`", options)
        if names and len(names) == len(said.split(", ")):
            found = [value_of(defaults["retraining"], name) for name in names]
            assert found == [read(value) for value in said.split(", ")], options
            checked += 1
    assert checked >= 8


def defaults_of(kind):
    return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}


def test_amsnets_space_is_as_its_page_says():
    rows = [row for row in tables(ROOT / "docs" / "spaces.md") if len(row) == 3]
    said = {name: row[1] for row in rows[1:] for name in re.findall(r"`(\w+)`", row[0])}
    known = defaults_of(AMSNetSpace)
    assert set(said) == set(known)
    for name, value in said.items():
        assert ", " in value or read(value) == known[name], name


def test_strategies_are_as_their_page_says():
    rows = {row[0].strip("`"): row[2] for row in tables(ROOT / "docs" / "strategies.md") if len(row) == 3}
    assert set(strategies.__all__) <= set(rows)
    common = {"warmup_epochs", "arc_learning_rate", "arc_weight_decay"}
    for name in strategies.__all__:
        known = defaults_of(getattr(strategies, name))
        said = dict(re.findall(r"`(\w+)` ([^,]+)", rows[name]))
        assert set(said) == set(known) - common - {"others"}, name
        for setting, value in said.items():
            values = [read(part) for part in value.split(" to ")]
            listed = isinstance(known[setting], tuple)
            found = list(known[setting]) if listed else [known[setting]]
            values = values[0] if listed and isinstance(values[0], list) else values
            assert found == values, (name, setting)


def test_every_loss_and_network_is_named():
    named = {name for row in tables(ROOT / "docs" / "retraining.md") for name in re.findall(r"`(\w+)`", row[0])}
    assert {*LOSSES.maps[0], *NETWORKS.maps[0]} <= named
