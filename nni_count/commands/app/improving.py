"""A model that goes on learning from the labelled photos, and what that gains on photos that are held out."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from pytorch_lightning.callbacks import ProgressBar

from nni_count.commands.evaluate import evaluate
from nni_count.commands.retrain import retrain
from nni_count.data import open_data
from nni_count.errors import DataError
from nni_count.model import load_model
from nni_count.training.settings import Budget, TrainingRecipe

FEWEST = 4  # photos, of which one is held out at least


class Improvement(NamedTuple):
    """The file of the new model, by what it is judged, such as ``mae``, on how many photos, the values before and
    after, whether that is better, and from how many photos it learned.
    """

    path: Path
    metric: str
    held_out: int
    before: float
    after: float
    better: bool
    learned: int


class Telling(ProgressBar):
    """Tells how far a training is by the clock, in the place of a bar at the terminal, and ends it when asked to."""

    def __init__(self, seconds: float, tell: Callable[[float, str], None], ended: Event):
        super().__init__()
        self.seconds, self.tell, self.ended = seconds, tell, ended

    def on_train_start(self, *_: Any) -> None:
        self.began = time.monotonic()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        passed = time.monotonic() - self.began
        left = max(0, round(self.seconds - passed))
        self.tell(min(1.0, passed / self.seconds), f"learning, step {trainer.global_step}, {left} s left")
        trainer.should_stop |= self.ended.is_set()


def improve(
    model: Path, labels: Path, models: Path, seconds: float, tell: Callable[[float, str], None], ended: Event
) -> Improvement:
    """Go on training a model on labelled photos.

    A fifth of the photos, drawn by their names, is held out: a photo stays where it is when others come. All others
    train, for so long, and the moving average of the weights at the end is kept.

    Args:
        model: to begin with, a ``model.safetensors``.
        labels: folder of the photos and their points.
        models: gets the run folder, with the new model.
        seconds: of training; judging comes on top.
        tell: is told the share that is done, and what is done.
        ended: set where it shall end early.

    Raises:
        DataError: there are too few photos, or nothing is marked.
        ModelError: the model cannot be trained, such as one that was exported.
    """
    tell(0, "judging the model as it is")
    begun = load_model(model)
    taken = {"max_side": begun.max_side, **begun.reading}
    data = {"path": str(labels), "format": "labelme", **{name: n for name, n in taken.items() if n is not None}}
    dataset = open_data(data)
    everything = dataset.samples("all")
    if len(everything) < FEWEST:
        raise DataError(f"{len(everything)} photos are labelled; label at least {FEWEST}, of which one is held out")
    if not any(len(sample.points) for sample in everything):
        raise DataError("nothing is marked in any photo; mark what is to be counted")
    learned, held_out = len(dataset.samples("train")), len(dataset.samples("test"))
    before = evaluate(model=begun, data=data)
    out = next(path for n in count(1) if not (path := models / f"improved_{n}").exists())
    tell(0, "learning")
    made = retrain(
        data=data,
        from_model=model,
        out=out,
        budget=Budget(max_time=duration(seconds)),
        recipe=TrainingRecipe(learning_rate=3e-4, validation_fraction=0),
        callbacks=[Telling(seconds, tell, ended)],
    )
    tell(1, "judging the new model")
    after = evaluate(model=made, data=data)
    metric, larger = before["main_metric"], before["larger_is_better"]
    was, now = float(before[metric]), float(after[metric])
    better = now > was if larger else now < was
    return Improvement(out / "model.safetensors", metric, held_out, was, now, better, learned)


def duration(seconds: float) -> str:
    """As Lightning writes it, ``DD:HH:MM:SS``."""
    whole = timedelta(seconds=max(1, round(seconds)))
    minutes, rest = divmod(whole.seconds, 60)
    return f"{whole.days:02}:{minutes // 60:02}:{minutes % 60:02}:{rest:02}"
