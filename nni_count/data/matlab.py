"""MATLAB files, read with errors that name them."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from nni_count.errors import DataError


def load_mat(path: Path, key: str) -> Any:
    """The variable ``key`` of a MATLAB file (version 5).

    Raises:
        DataError: the file is corrupt or has no such variable.
    """
    try:
        contents = loadmat(path, variable_names=[key])
        names = [key] if key in contents else [name for name, *_ in _names(path)]
    except Exception as error:  # scipy raises whatever the damaged bytes lead to
        raise DataError(
            f"{path}: not a readable .mat file ({type(error).__name__}); restore the original file"
        ) from error
    if key not in contents:
        raise DataError(
            f"{path}: has no variable {key!r} (found: {', '.join(names) or 'none'}); is it another data set's?"
        )
    return np.asarray(contents[key])


def _names(path: Path) -> list[tuple[str, Any, str]]:
    from scipy.io import whosmat

    found: list[tuple[str, Any, str]] = whosmat(path)
    return found
