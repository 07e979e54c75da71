"""Packages that are installed for a test, as pip does: modules, and beside them the entry points that they bring."""

import sys

from nni_count.data import READERS
from nni_count.losses import LOSSES
from nni_count.networks import NETWORKS
from nni_count.ops import OPERATIONS
from nni_count.plugins import Entries
from nni_count.tasks.counting import COUNT_METRICS


def install(site, monkeypatch, files, entry_points):
    """Write a package into a new folder and put that on the path; registries are read anew, as by a process that begins
    now.

    Args:
        site: the folder.
        monkeypatch: pytest's, which undoes it.
        files: path within the folder → text.
        entry_points: text of its ``entry_points.txt``.
    """
    readers = dict(READERS.found)
    (top,) = {name.partition("/")[0].removesuffix(".py") for name in files}
    about = f"{top}-1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {top}\nVersion: 1\n"
    for name, text in {**files, f"{about}/METADATA": metadata, f"{about}/entry_points.txt": entry_points}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    for module in [module for module in sys.modules if module.partition(".")[0] == top]:
        monkeypatch.delitem(sys.modules, module)
    for part in (part for registry in (LOSSES, NETWORKS, COUNT_METRICS) for part in registry.maps):
        if isinstance(part, Entries):
            monkeypatch.setattr(part, "found", Entries(part.group).found)
    monkeypatch.setattr(READERS, "found", {**readers, **Entries("readers").found})
    for operation in Entries("operations").found.keys() - OPERATIONS.keys():
        monkeypatch.setitem(OPERATIONS, operation, Entries("operations")[operation])
