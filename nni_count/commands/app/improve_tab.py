"""The tab *Improve*: the model goes on learning from what was labelled."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from nni_count.commands.app.improving import FEWEST, improve
from nni_count.commands.app.labelling import Labelling
from nni_count.commands.app.parts import Models, Updates, on


class ImproveTab:
    """Its components, and what answers them.

    Args:
        tab: that they are in.
        models: that can be improved.
        chosen: the name of the one that is, and then of the new one.
        folder: with ``labels``; gets ``models``.
        ended: set when the page ends.
    """

    def __init__(self, tab: gr.Tab, models: Models, chosen: gr.Dropdown, folder: Path, ended: Event):
        self.models, self.chosen, self.folder, self.ended = models, chosen, folder, ended
        self.about = gr.Markdown()
        minutes = gr.Slider(0.1, 60, 5, step=0.1, label="Minutes of learning, at most")
        begin = gr.Button("Improve the model on the labelled photos", variant="primary")
        self.came = gr.Markdown(min_height=120)
        on(tab.select, self.tell, [], [self.about])
        shown = [self.came, chosen, self.about]
        on(
            begin.click,
            self.improve,
            [chosen, minutes],
            shown,
            **{"trigger_mode": "once", "concurrency_id": "improve", "show_progress_on": self.came},
        )

    def tell(self) -> Updates:
        """How many photos there are to learn from."""
        number = len(Labelling(self.folder / "labels").names)
        few = f" At least {FEWEST} are needed." if number < FEWEST else ""
        return {
            self.about: f"**{number} labelled photos.**{few} A fifth of them is held out: on these the error is "
            "measured, before and after, and the model never learns from them."
        }

    def improve(self, name: str, minutes: float, progress: Any = gr.Progress()) -> Updates:  # noqa: B008 - Gradio's way
        """Improve the chosen model, and choose the new one where it is better."""
        came = improve(
            self.models.paths[name],
            self.folder / "labels",
            self.folder / "models",
            60 * minutes,
            lambda share, what: progress(share, desc=what),
            self.ended,
        )
        made, metric = came.path.parent.name, came.metric.upper()
        counts = (
            f"**{made}** is better, and counts from now on."
            if came.better
            else f"{made} is not better; **{name}** stays."
        )
        figures = f"| {metric}, {came.held_out} of the photos held out | |\n|---|---|\n"
        figures += (
            f"| before ({name}) | {came.before:.2f} |\n| after ({made}, {came.learned} photos) | {came.after:.2f} |"
        )
        value = made if came.better else name
        return {
            self.came: f"{figures}\n\n{counts}",
            self.chosen: gr.update(choices=[*self.models.paths], value=value),
            **self.tell(),
        }
