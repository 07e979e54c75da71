"""The tab *Count*: photos or a clip are dropped, and counted; regions are drawn by clicks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from nni_count.commands.app.counting import Counted, Photo
from nni_count.commands.app.parts import CLICKED, Models, Tab, Updates, labels_of, on
from nni_count.commands.app.view import Looking
from nni_count.data.images import IMAGE_SUFFIXES
from nni_count.data.video import VIDEO_SUFFIXES
from nni_count.errors import DataError
from nni_count.model import Estimator

BEGIN = "Drop photos, or a clip."
REGIONS = "Click corners on the picture to draw a region; from the third one on it is counted."


@dataclass
class Desk(Looking):
    """What one visitor has counted, and what of it is looked at."""

    counted: Counted | None = None
    photo: Photo | None = None

    def clear(self) -> None:
        if self.counted:
            self.counted.remove()
        self.counted = self.photo = self.image = self.centre = None


class CountTab(Tab):
    """Its components, and what answers them.

    Args:
        models: that can be chosen.
        chosen: the name of the one that counts.
        home: a temporary folder.
    """

    def __init__(self, models: Models, chosen: gr.Dropdown, home: Path):
        self.models, self.home = models, home
        desk = gr.State(Desk(), delete_callback=Desk.clear)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                kinds = sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
                drop = gr.File(label="Photos, or a clip", file_count="multiple", file_types=kinds, height=150)
                every = gr.Number(1, label="Seconds between the frames of a clip", minimum=0)
                self.number = gr.Markdown(BEGIN)
                self.which = gr.Dropdown([], label="Photo", visible=False)
                self.regions = gr.Markdown(REGIONS)
                with gr.Row():
                    undo, further = (
                        gr.Button(name, size="sm", min_width=60) for name in ("Undo corner", "Next region")
                    )
                self.tables = gr.File(label="Tables", file_count="multiple", interactive=False, visible=False)
            with gr.Column(scale=3):
                self.add_picture()
                self.video = gr.Video(label="Annotated", visible=False)
                self.plot = gr.Image(**CLICKED, visible=False)
        self.hidden = [self.which, self.tables, self.video, self.plot, self.overview]
        see, shown = [desk, self.times], [self.number, self.regions, self.picture, self.times, *self.hidden]
        self.answer(desk, shown)
        for event in (drop.upload, drop.clear, drop.delete, chosen.change):
            on(event, self.count, [desk, drop, every, chosen], shown)
        on(self.which.input, self.turn_to, [desk, self.which], shown)
        on(self.picture.select, self.corner, see, shown)
        on(undo.click, self.undo, see, shown)
        on(further.click, self.further, see, shown)

    def count(self, desk: Desk, uploads: list[str] | None, every: float, name: str) -> Updates:
        """Count what was dropped, and show the last photo of it."""
        desk.clear()
        nothing: Updates = {one: gr.update(visible=False) for one in self.hidden}
        nothing |= {self.picture: None, self.number: BEGIN, self.regions: REGIONS}
        if not uploads:
            return nothing
        desk.counted = counted = Counted(uploads, self.models[name], self.home, every)
        if counted.error:
            gr.Warning(escape(counted.error), duration=None)
        if not counted.rows:
            return nothing
        if counted.videos:
            videos, plots = ([str(path) for path in paths] for paths in counted.pictures)
            return {
                **nothing,
                self.number: f"## {len(counted.rows)} frames",
                self.tables: _files(counted),
                self.video: gr.update(value=videos[0], visible=True),
                self.plot: gr.update(value=plots[0], visible=True),
            }
        names = [
            (f"{photo}: {_told(counted.model, row)}", photo)
            for photo, row in zip(counted.names, counted.rows, strict=True)
        ]
        which = gr.update(choices=names, value=names[-1][1], visible=len(names) > 1)
        return {**nothing, self.which: which, **self.turn_to(desk, counted.names[-1])}

    def turn_to(self, desk: Desk, name: str) -> Updates:
        """Show a photo."""
        if desk.counted:
            desk.photo = Photo(desk.counted, name)
            desk.image, desk.centre = desk.photo.picture, None
        return {self.times: 1, **self.see(desk, 1)}

    def see(self, desk: Desk, times: float) -> Updates:
        if desk.counted is None or desk.photo is None:
            return {}
        photo = desk.photo
        found = self.draw(desk, times, photo.points, [np.array(corners) for corners in photo.regions if corners])
        try:
            rows = desk.counted.in_regions(photo)
            told = "\n".join(f"- **{row['region']}**: {_told(photo.model, row)}" for row in rows)
        except DataError as error:
            told = escape(str(error))
        number = f"## {_told(photo.model, photo.row)}"
        return {**found, self.number: number, self.regions: told or REGIONS, self.tables: _files(desk.counted)}

    def corner(self, desk: Desk, times: float, click: gr.SelectData) -> Updates:
        """Add a corner to the last region of the photo."""
        if desk.photo:
            desk.photo.regions[-1].append(desk.view(times).pixels(click.index))
        return self.see(desk, times)

    def undo(self, desk: Desk, times: float) -> Updates:
        """Take back the last corner."""
        if desk.photo:
            if not desk.photo.regions[-1] and len(desk.photo.regions) > 1:
                desk.photo.regions.pop()
            del desk.photo.regions[-1][-1:]
        return self.see(desk, times)

    def further(self, desk: Desk, times: float) -> Updates:
        """Begin another region."""
        if desk.photo and desk.photo.regions[-1]:
            desk.photo.regions.append([])
        return self.see(desk, times)


def _files(counted: Counted) -> Any:
    return gr.update(value=[str(path) for path in counted.tables], visible=True)


def _told(model: Estimator, row: Mapping[str, Any]) -> str:
    """The numbers of a row, such as ``12.3 people``."""
    labels = labels_of(model)
    nouns = {model.task.noun: labels[0]} if len(labels) == 1 else {}
    numbers = {name: value for name, value in row.items() if isinstance(value, (int, float))}
    return ", ".join(f"{value:.1f} {nouns.get(name, name)}" for name, value in numbers.items())
