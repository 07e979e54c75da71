"""The tab *Label*: heads are clicked, and saved with every click."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from nni_count.commands.app.labelling import Labelling
from nni_count.commands.app.parts import Models, Tab, Updates, labels_of, on
from nni_count.data.images import IMAGE_SUFFIXES
from nni_count.errors import DataError

BEGIN = "Drop photos, or choose one. Click a head to mark it, and a mark to take it back."


class LabelTab(Tab):
    """Its components, and what answers them.

    Args:
        tab: that they are in.
        models: whose points can be started from.
        chosen: the name of the one.
        folder: of the labels.
    """

    def __init__(self, tab: gr.Tab, models: Models, chosen: gr.Dropdown, folder: Path):
        self.models, labels = models, labels_of(models.first)
        desk = gr.State(Labelling(folder))
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                kinds = sorted(IMAGE_SUFFIXES)
                self.drop = gr.File(label="Photos", file_count="multiple", file_types=kinds, height=150)
                self.which = gr.Dropdown([], label="Photo", info="with the number of its marks")
                label = gr.Radio(labels, value=labels[0], label="A click marks", visible=len(labels) > 1)
                self.said = gr.Markdown(BEGIN)
                start = gr.Button("Start from the model's points")
                with gr.Row():
                    undo, nobody = (gr.Button(name, min_width=60) for name in ("Undo", "Nobody here"))
            with gr.Column(scale=3):
                self.add_picture()
        see, shown = [desk, self.times], [self.which, self.said, self.picture, self.overview, self.times]
        self.answer(desk, shown)
        on(tab.select, self.see, see, shown)
        on(self.drop.upload, self.add, [*see, self.drop], [*shown, self.drop])
        on(self.which.input, self.turn_to, [desk, self.which], shown)
        on(self.picture.select, self.click, [*see, label], shown)
        on(start.click, self.start, [*see, chosen], shown)
        on(undo.click, self.undo, see, shown)
        on(nobody.click, self.nobody, see, shown)

    def see(self, desk: Labelling, times: float) -> Updates:
        numbers = {name: desk.number(name) for name in desk.names}
        names = [(name if n is None else f"{name} ({n})", name) for name, n in numbers.items()]
        found: Updates = {self.which: gr.update(choices=names, value=desk.name or None)}
        if desk.image is None:
            return found
        saved = "not labelled yet" if numbers[desk.name] is None else "saved"
        return {**found, **self.draw(desk, times, desk.points), self.said: f"## {len(desk.marks)} marked\n{saved}"}

    def add(self, desk: Labelling, times: float, uploads: list[str] | None) -> Updates:
        """Take photos in, and show the first one."""
        added = []
        for upload in uploads or ():
            try:
                added.append(desk.add(upload))
            except DataError as error:
                gr.Warning(escape(str(error)), duration=None)
        return {**(self.turn_to(desk, added[0]) if added else self.see(desk, times)), self.drop: None}

    def turn_to(self, desk: Labelling, name: str) -> Updates:
        """Show a photo."""
        desk.open(name)
        return {**self.see(desk, 1), self.times: 1}

    def click(self, desk: Labelling, times: float, label: str, click: gr.SelectData) -> Updates:
        """Mark a head, or take a mark back."""
        desk.click(desk.view(times), click.index, label)
        return self.see(desk, times)

    def start(self, desk: Labelling, times: float, name: str) -> Updates:
        """Mark what the model sees."""
        desk.start_from(self.models[name])
        return self.see(desk, times)

    def undo(self, desk: Labelling, times: float) -> Updates:
        """Take back the last change."""
        desk.undo()
        return self.see(desk, times)

    def nobody(self, desk: Labelling, times: float) -> Updates:
        """Say that there is nobody in the photo."""
        desk.mark(())
        return self.see(desk, times)
