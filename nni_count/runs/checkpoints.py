"""Checkpoints that are whole, the one before kept beside the last, and damage told before anything is read."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from nni_count.errors import NNICountError, RunError
from nni_count.runs.files import whole
from nni_count.runs.memory import is_for_memory
from nni_count.runs.run import Run, differences

PREVIOUS = "previous.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints here. Its own way copies over the only one there is.

    Args:
        run: whose settings they keep; one that was begun with others is refused.
    """

    begun: int | None = None  # the step of the one that was read

    def __init__(self, run: Run | None = None):
        super().__init__()
        self.settings = run.settings if run else {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write it beside its place; the one that was there becomes ``previous.ckpt``."""
        path = Path(path)
        data = io.BytesIO()
        # into a file, it tells of a full one in words of its own
        torch.save({**checkpoint, "settings": self.settings}, data)
        with whole(path) as temporary:
            temporary.write_bytes(data.getbuffer())
            if path.is_file():
                _keep(path, path.with_name(PREVIOUS))

    def load_checkpoint(self, path: str | Path, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """Read it.

        Raises:
            RunError: it is damaged, and the message names the state that can be used; or it is of another run.
        """

        def read() -> dict[str, Any]:
            found = super(WholeCheckpoints, self).load_checkpoint(path, *arguments, **settings)
            if not isinstance(found, dict) or type(found.get("global_step")) is not int:
                raise ValueError("no state of a training")
            return found

        found: dict[str, Any] = read_checkpoint(Path(path), read)
        for name, was, now in differences(found.get("settings", {}), self.settings):
            raise RunError(f"{path}: is of a run with {name} {was!r}, not {now!r}; put back the one of this run")
        self.begun = found["global_step"]
        return found


def read_checkpoint(path: Path, read: Callable[[], Any]) -> Any:
    """What ``read`` reads from a checkpoint without damage."""
    fault = damage(path)
    if fault is None:
        try:
            return read()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # the unpickler raises whatever the bytes make it raise
            fault = f"it holds something else: {str(error).strip().partition(chr(10))[0][:200]}"
    raise _damaged(path, fault)


@contextmanager
def restoring(trainer: Any, path: Path) -> Iterator[None]:
    """Whatever a checkpoint of another content leads to, until the first step that a trainer takes from it has ended,
    is a :class:`RunError` as of :func:`read_checkpoint`.
    """
    try:
        yield
    except (NNICountError, OSError):
        raise
    except Exception as error:
        begun = getattr(trainer.strategy.checkpoint_io, "begun", None)
        holding = bool(trainer._checkpoint_connector._loaded_checkpoint)  # Lightning does until all is taken over
        first = trainer.global_step == begun and isinstance(error, (TypeError, LookupError, AttributeError, ValueError))
        if begun is None or not (holding or first) or is_for_memory(error):
            raise
        raise _damaged(path, f"it holds another state: {error!r:.200}") from error


def _damaged(path: Path, fault: str) -> RunError:
    earlier = path.with_name(PREVIOUS)
    remedy = f"remove {path.parent.parent} and start again"
    if earlier.is_file() and damage(earlier) is None:
        remedy = f"the state before it is whole: mv {earlier} {path}, then the same command again"
    return RunError(f"{path}: is damaged ({fault}); {remedy}")


def damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, by the checksums that it holds; None if nothing."""
    try:
        with zipfile.ZipFile(path) as file:
            torn = file.testzip()
    except OSError:
        raise
    except Exception as error:  # flipped bits make zipfile raise more than BadZipFile
        return str(error) or type(error).__name__
    return None if torn is None else f"bad checksum of {torn}"


def _keep(path: Path, previous: Path) -> None:
    """Give a file a second name, which takes no room, or copy it where the file system has no such names."""
    with whole(previous) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
