"""An image seen in several ways, whose maps are averaged."""

from __future__ import annotations

from itertools import product

from nni_count.errors import SettingError

#: how often an image is looked at → the quarter turns, and whether it is mirrored before
VIEWS = {1: [(0, False)], 2: [(0, False), (0, True)], 8: list(product(range(4), (False, True)))}


def check_views(views: int) -> None:
    """Refuse a number of views that is not known with a :class:`SettingError`."""
    if views not in VIEWS:
        raise SettingError(
            f"views: {views!r}; choose 1, 2 (mirrored as well) or 8 (mirrored and turned by quarters as well)"
        )
