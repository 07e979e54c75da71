"""A row's training: a plain loop, since of a training of half a minute Lightning would be a large share."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.table.banks import Crops, Judged
from benchmarks.table.recipe import LOSS, LOSSES, Recipe
from nni_count.architecture import Architecture
from nni_count.losses import create_loss
from nni_count.networks import Network, create, initialise
from nni_count.tasks.counting import Counting


class Flat:
    """The weights of a network as one vector, whose parts the layers see: one call where there would be hundreds."""

    def __init__(self, network: nn.Module):
        parameters = list(network.parameters())
        self.weights = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.gradient = self.weights.grad = torch.zeros_like(self.weights)
        sizes = [parameter.numel() for parameter in parameters]
        parts = zip(self.weights.detach().split(sizes), self.gradient.split(sizes), strict=True)
        for parameter, (values, gradient) in zip(parameters, parts, strict=True):
            parameter.data, parameter.grad = values.view(parameter.shape), gradient.view(parameter.shape)

    def clip(self, norm: float) -> None:
        self.gradient.mul_((norm / (self.gradient.norm() + 1e-6)).clamp(max=1))


def rate(progress: float, warm_up: float) -> float:
    """The share of the largest learning rate, of a progress from above 0 to 1."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def network_of(architecture: Architecture, recipe: Recipe) -> Network:
    """The network of a row."""
    return create(
        "amsnet", architecture, width=recipe.width, stem_stride=recipe.stem_stride, map_stride=recipe.map_stride
    )


def train(
    architecture: Architecture, crops: Crops, judged: Judged, task: Counting, seed: int, recipe: Recipe
) -> dict[str, Any]:
    """Train an architecture and judge it as it learns.

    The loss is the same for all, three levels of averages, since pyramids with maxima count too many after so short a
    training, whatever the cells. ``seed`` draws the first weights and the order of the crops.

    Returns:
        ``loss``, its mean over each twentieth of the training; and of each time that it was judged: ``steps``,
        ``seconds`` (processor time of the training so far, judging left out), ``counts`` of the judged images, and
        ``unexplained``, see :meth:`Judged.judge`.
    """
    torch.manual_seed(seed)
    network = network_of(architecture, recipe)
    initialise(network)
    flat = Flat(network)
    average = flat.weights.detach().clone()
    optimizer = torch.optim.Adam([flat.weights], betas=(0.9, 0.99), fused=True)
    loss = create_loss(LOSS)
    order = crops.order(seed, recipe.steps * recipe.batch_size).reshape(recipe.steps, recipe.batch_size)
    points = {round(recipe.steps * (number + 1) / recipe.judged) for number in range(recipe.judged)}
    found: dict[str, Any] = {"loss": [], "steps": [], "seconds": [], "counts": [], "unexplained": []}
    losses: list[Tensor] = []
    seconds, start = 0.0, time.process_time()
    for step in range(1, recipe.steps + 1):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * rate(step / recipe.steps, recipe.warm_up)
        images, targets = crops.batch(order[step - 1])
        value = loss(network(images), targets)
        optimizer.zero_grad(set_to_none=False)
        value.backward()
        flat.clip(recipe.gradient_clip)
        optimizer.step()
        reach = 1 + min(step - 1, recipe.average_share * recipe.steps / 2)  # never to the first weights
        average.lerp_(flat.weights.detach(), 1 / reach)
        losses.append(value.detach())
        if len(losses) == recipe.steps // LOSSES:
            found["loss"].append(float(torch.stack(losses).mean()))
            losses.clear()
        if step in points:
            seconds += time.process_time() - start
            counts, unexplained = _judge(network, flat, average, crops, judged, task, recipe)
            found["steps"].append(step)
            found["seconds"].append(round(seconds, 2))
            found["counts"].append([float(f"{count:.5g}") for count in counts])
            found["unexplained"].append(unexplained)
            start = time.process_time()
    return found


def _judge(
    network: Network, flat: Flat, average: Tensor, crops: Crops, judged: Judged, task: Counting, recipe: Recipe
) -> tuple[np.ndarray, float]:
    """What the network answers with its averaged weights, and the batch norms' statistics taken anew."""
    raw = flat.weights.detach().clone()
    flat.weights.detach().copy_(average)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    with torch.inference_mode():
        for places in np.array_split(np.arange(recipe.recalibration), -(-recipe.recalibration // 16)):
            network(crops.batch(places)[0])
    for norm in norms:
        norm.momentum = 0.1
    found = judged.judge(network.eval(), task)
    network.train()
    flat.weights.detach().copy_(raw)
    return found
