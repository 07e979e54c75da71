"""The public functions with their settings by short names, as the command line has them."""

import inspect
from dataclasses import replace
from functools import wraps

from nni_count.training.names import dotted


def short(function, beside=None):
    """A function that takes ``crop_size=32`` for ``crops=Crops(size=32, ...)``, over its own defaults.

    Args:
        function: public, its settings in dataclasses.
        beside: a function to which it hands other settings on.
    """
    parameters = {**inspect.signature(beside or function).parameters, **inspect.signature(function).parameters}

    @wraps(function)
    def call(*arguments, **settings):
        given, groups = {}, {}
        for name, value in settings.items():
            group, _, field = dotted(name, parameters).partition(".")
            if field and group != "data":
                groups.setdefault(group, {})[field] = value
            else:
                given[name] = value
        made = {group: replace(parameters[group].default, **values) for group, values in groups.items()}
        return function(*arguments, **given, **made)

    return call
