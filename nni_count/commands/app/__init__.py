"""A page on this machine to count, label and improve in, without programming."""

from __future__ import annotations

import os
import socket
import warnings
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from nni_count.errors import ModelError, Note, SettingError
from nni_count.model.named import LEARNT, OURS, find_model
from nni_count.runs.ranges import Range, check
from nni_count.tasks.task import Task

HERE = "127.0.0.1"


def app(
    *,
    model: str | Path | None = None,
    folder: str | Path = "runs/app",
    port: Annotated[int, Range(0, 65535)] = 7860,
    host: str = HERE,
    task_class: type[Task] | None = None,
) -> None:
    """Open a page in which photos and clips are counted, heads are labelled, and the model is improved on them.

    It ends with Ctrl-C. What is dropped on it stays on this machine; nothing is asked of other ones.

    Args:
        model: a ``model.safetensors``, what ``nni-count export`` made of one, or a name: ``crowds`` or ``cells``, which
            come with the package and learnt from synthetic images alone, or ``hf://owner/name`` of the Hugging Face
            Hub. ``crowds`` where none is given.
        folder: gets ``labels``, a data set for ``--data``: the labelled photos with their points for LabelMe; and
            ``models``, a run folder for each improvement. What a page of before left there is taken up.
        port: of the page, ``http://127.0.0.1:7860``; 0 for one that is free.
        host: the address that it is answered at. Whoever reaches another one than 127.0.0.1 can use the page.
        task_class: the class of the model's task, by dotted path, where it is of no installed package: a model file has
            nothing imported.

    Raises:
        SettingError: the port is in use, the folder is a file, the model counts nothing, or Gradio is not installed.
        ModelError: the model is missing or damaged.
    """
    check(app, {"port": port})
    if model is None:
        warnings.warn(Note(f"no --model is given: {OURS[0]} is taken, {LEARNT}"), stacklevel=2)
    given = {str(name): find_model(name) for name in (OURS if model is None else [model])}
    for path in given.values():
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give a model.safetensors, or what nni-count export wrote")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise SettingError(f"folder: {folder} is a file; give a folder, which is made where there is none")
    with _door(host, port) as door:
        try:
            import gradio  # noqa: F401 - before what is slow to import
        except ImportError as error:
            raise SettingError(
                f"app: needs {error.name}, which is not installed; pip install 'nni-count[app]' brings it"
            ) from error
        from nni_count.commands.app.page import serve  # brings torch

        serve(given, Path(folder), door)


def _door(host: str, port: int) -> socket.socket:
    """The socket that the page is answered at, which no other program has."""
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.create_server(address[:2], family=kind)
    except OSError as error:
        what = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise SettingError(
            f"port: {port} of {host} cannot be had ({what}); choose another --port, or --host"
        ) from error
    address = door.getsockname()[0]
    if not ip_address(address).is_loopback:
        warnings.warn(
            f"host: {host}: whoever reaches this machine can use the page, and see what is dropped", stacklevel=3
        )
    return door
