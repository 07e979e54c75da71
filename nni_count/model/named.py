"""Models by name: those that come with the package, and those of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from nni_count.errors import ModelError
from nni_count.model.header import first_line

#: in ``shipped/``, where their card is; the first one is taken where none is named
OURS = ("crowds", "cells")
LEARNT = "which learnt from synthetic images alone: of real photos expect large errors, and train one of your own"


def find_model(name: str | Path) -> Path:
    """The file of a model: one of :data:`OURS`; ``hf://owner/name``, whose ``model.safetensors`` is downloaded once, or
    the file that is named behind it; else the path as it is.

    Raises:
        ModelError: it cannot be downloaded, or is a word that names neither a file nor a model.
    """
    word = re.fullmatch(r"[A-Za-z]\w*", str(name)) and not Path(name).exists()
    if word and str(name) in OURS:
        return Path(__file__).parent / "shipped" / f"{name}.safetensors"
    if word:
        raise ModelError(f"{name}: no such file, and no model of that name; known: {', '.join(OURS)}, hf://owner/name")
    hub = re.fullmatch(r"hf:/{1,2}([^/]+/[^/]+)/?(.*)", str(name))  # a Path has one of the two
    if hub is None:
        return Path(name)
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(hub[1], hub[2] or "model.safetensors"))
    except ImportError as error:
        raise ModelError(f"{name}: needs {error.name}; pip install 'nni-count[hub]' brings it") from error
    except Exception as error:  # of the hub, of the network and of the disk
        remedy = "check the name, go online once, or give a file"
        raise ModelError(f"{name}: cannot be downloaded ({first_line(error)}); {remedy}") from error
