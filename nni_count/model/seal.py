"""A checksum within a model's file, of all its bytes but its own: a bit that changed is no weight."""

from __future__ import annotations

import hashlib

#: what stands in the place of the checksum while it is made
BLANK = "0" * 64


def sealed(data: bytes, beside: bytes = b"") -> bytes:
    """The bytes of a file with their checksum in the place of :data:`BLANK`; ``beside`` is what belongs to it."""
    return data.replace(BLANK.encode(), _sum(data, beside).encode())


def check_seal(checksum: str | None, data: bytes, beside: bytes = b"") -> None:
    """Refuse bytes that are not those that were sealed with a ValueError; earlier versions wrote no checksum."""
    if checksum not in (None, BLANK) and _sum(data.replace(checksum.encode(), BLANK.encode()), beside) != checksum:
        raise ValueError("bad checksum: it is not what was written")


def _sum(data: bytes, beside: bytes) -> str:
    return hashlib.sha256(data + beside).hexdigest()
