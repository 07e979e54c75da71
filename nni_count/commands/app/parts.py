"""What the tabs of the page share: models by name, a picture to click on, and errors that are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from nni_count.commands.app.view import Looking
from nni_count.data.files import natural
from nni_count.errors import NNICountError
from nni_count.model import Estimator, load_model
from nni_count.networks.devices import find_device
from nni_count.tasks.counts import check_counts

#: components, and what becomes of them
Updates = dict[Any, Any]
#: of pictures that are clicked on
CLICKED: dict[str, Any] = {"interactive": False, "format": "jpeg", "show_label": False, "buttons": []}


class Models:
    """The models that can be chosen, by name: those that were given, the first one to begin with, and improved ones.

    Args:
        given: their files.
        made: folder of the runs that improve them.
    """

    def __init__(self, given: Mapping[str, Path], made: Path):
        self.given, self.made = given, made
        self._load = cache(lambda path: load_model(path, find_device()))
        self.first: Estimator = self._load(next(iter(given.values())))
        check_counts(self.first.task, "model")
        self.first.map(np.zeros((256, 256, 3), np.uint8))  # the first time takes longest

    @property
    def paths(self) -> dict[str, Path]:
        """The files of all of them."""
        made = sorted(self.made.glob("*/model.safetensors"), key=lambda path: natural(str(path)))
        return {**self.given, **{path.parent.name: path for path in made}}

    def __getitem__(self, name: str) -> Estimator:
        model: Estimator = self._load(self.paths[name])
        return model


def labels_of(model: Estimator) -> list[str]:
    """What a model counts."""
    return list(model.task.densities(np.zeros((model.task.out_channels, 1, 1), np.float32)))


class Tab:
    """A tab with a picture that is clicked on, a slider that enlarges it, and an overview that moves it."""

    def add_picture(self) -> None:
        """Put them where the page is made."""
        self.picture = gr.Image(**CLICKED, height=560, elem_classes="clicked")
        with gr.Row():
            about = "Click on the small picture to look there."
            self.times = gr.Slider(1, 16, 1, step=0.5, label="Zoom", info=about, scale=3)
            self.overview = gr.Image(**CLICKED, height=150, visible=False, elem_classes="clicked")

    def answer(self, desk: gr.State, shown: list[Any]) -> None:
        """Answer what is done with them; ``shown`` are the components that :meth:`see` changes."""
        on(self.overview.select, self.move, [desk, self.times], shown)
        on(self.times.input, self.see, [desk, self.times], shown, trigger_mode="always_last")

    def see(self, desk: Any, times: float) -> Updates:
        """Show what is on the desk as it is looked at now."""
        raise NotImplementedError

    def move(self, desk: Any, times: float, click: gr.SelectData) -> Updates:
        """Look at another place."""
        desk.move(click.index)
        return self.see(desk, times)

    def draw(self, desk: Looking, times: float, points: np.ndarray, lines: Sequence[np.ndarray] = ()) -> Updates:
        """What is seen of the image on the desk, with what is drawn upon it."""
        image = desk.image
        assert image is not None
        view, part = desk.view(times), times > 1
        overview = gr.update(value=view.overview(image) if part else None, visible=part)
        return {self.picture: view.draw(image, points, lines), self.overview: overview}


def on(
    event: Callable[..., Any], answer: Callable[..., Any], inputs: list[Any], outputs: list[Any], **how: Any
) -> None:
    """Let a method of a tab answer an event; what a user can mend is shown, in the words of our errors.

    While it is at work, further events of its tab wait, so that no click is lost and none overtakes another; ``how``
    says otherwise, in Gradio's words.
    """

    @wraps(answer)
    def told(*values: Any) -> Any:
        try:
            return answer(*values)
        except (NNICountError, OSError) as error:
            said = str(error) if isinstance(error, NNICountError) else f"{error.filename}: {error.strerror}"
            raise gr.Error(escape(said), duration=None, print_exception=False) from error

    usual = {"api_visibility": "private", "show_progress": "minimal", "trigger_mode": "multiple"}
    usual |= {"concurrency_id": type(getattr(answer, "__self__", None)).__name__}
    event(told, inputs, outputs, **{**usual, **how})
