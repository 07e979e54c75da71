"""What can go wrong through a user's input, each with one line that says what, where and what to do."""

from __future__ import annotations

from typing import Any

LONGEST = 480  # of what an error says, so that with "nni-count: error: " before it a line has 500


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text without its middle where it is longer: its beginning names the place, its end the remedy."""
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


class NNICountError(Exception):
    """Base of all errors that a user can mend; the command line prints one line and exits with code 2."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class SettingError(NNICountError):
    """A setting has a value that cannot work, or names something unknown."""


class DataError(NNICountError):
    """A data set, an image or an annotation cannot be used."""


class Unread(DataError):
    """Some images could not be read; ``rows`` are of the others, as :func:`nni_count.predict` returns them."""

    def __init__(self, message: str, rows: list[dict[str, Any]]):
        super().__init__(message)
        self.rows = rows


class ArchitectureError(NNICountError):
    """An architecture file is not valid; the message names the place in the file."""


class ModelError(NNICountError):
    """A model file is truncated, foreign or of another version."""


class RunError(NNICountError):
    """An output folder cannot be used, or a run cannot be continued."""


class TrainingError(NNICountError):
    """Training cannot go on, for example because the loss is no longer a number."""


class Note(UserWarning):
    """What a user should know and need not mend; the command line prints one line on stderr."""


class Interrupted(NNICountError):
    """The user stopped a run; the message says how to continue it. The command line exits with code 130."""
