"""A real candidate of a multi-trial search, whose training takes a second."""

from nni_count.searching.multi_trial.candidate import Candidate
from nni_count.tasks.counting import Counting
from nni_count.training.settings import Crops, Recipe


def short_training(parts, epochs):
    """Both halves and epochs of two steps → a candidate."""
    crops = Crops(32, 1, cache_gb=0.1)
    settings = {"limit_batches": 2, "concurrency": 1, "accelerator": "cpu", "seed": 0}
    return Candidate(*parts, task=Counting(), recipe=Recipe(), crops=crops, epochs=epochs, **settings)
