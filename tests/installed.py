"""Packages that are installed for a test, as pip does: a module, and beside it the entry points that it brings."""

import sys

from nni_count.data import READERS
from nni_count.losses import LOSSES
from nni_count.networks import NETWORKS
from nni_count.ops import OPERATIONS
from nni_count.plugins import Entries, entries
from nni_count.tasks.counting import COUNT_METRICS


def install(site, monkeypatch, name, code, entry_points):
    """Write a package into a new folder and put that on the path; registries are read anew, as by a process that begins
    now.

    Args:
        site: the folder.
        monkeypatch: pytest's, which undoes it.
        name: of the module.
        code: its text.
        entry_points: text of its ``entry_points.txt``.
    """
    readers = dict(READERS.found)
    about = site / f"{name}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(entry_points)
    (site / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, name, raising=False)
    for registry, group in ((LOSSES, "losses"), (NETWORKS, "networks"), (COUNT_METRICS, "metrics")):
        monkeypatch.setattr(registry, "maps", [registry.maps[0], entries(group)])
    monkeypatch.setattr(READERS, "found", {**readers, **Entries("readers").found})
    for operation in Entries("operations").found.keys() - OPERATIONS.keys():
        monkeypatch.setitem(OPERATIONS, operation, Entries("operations")[operation])
