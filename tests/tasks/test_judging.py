import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from samples import synthetic_crowds
from torch import nn

from nni_count.data.pixels import normalise
from nni_count.networks.network import Network
from nni_count.tasks.counting import Counting
from nni_count.tasks.judging import judge


class Ones(Network):
    """Answers one unit a pixel, and three while it is trained."""

    multiple, map_stride = 8, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image):
        return torch.ones_like(image[:, :1]) * (3 if self.training else 1)


def judged(task, samples):
    return judge(Ones().train(), task, samples, [normalise(sample.read()) for sample in samples])


def test_it_is_the_main_metric_of_whole_images_as_they_are_evaluated():
    samples = synthetic_crowds(3, size=(33, 41), people=(2, 8))
    expected = np.mean([abs(33 * 41 / 100 - sample.count) for sample in samples])
    assert judged(Counting(), samples) == pytest.approx(expected, rel=1e-5)


def test_a_metric_that_no_image_has_is_not_a_number():
    @dataclass(frozen=True)
    class Nothing(Counting):
        def summarise(self, rows, prior):
            return {"mae": None}

    assert math.isnan(judged(Nothing(), synthetic_crowds(1, size=(32, 32))))
