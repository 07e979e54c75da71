"""What every loss of maps by name is asked; those of points: test_losses_of_points.py."""

import pytest
import torch
from samples import synthetic_crowds

from nni_count.data.pixels import normalise
from nni_count.losses import LOSSES, create_loss
from nni_count.losses.scale_pyramid import ScalePyramidLoss
from nni_count.losses.spatial_abstraction import SpatialAbstractionLoss
from nni_count.networks import create, initialise
from nni_count.tasks.counting import Counting

MAPS = [name for name, kind in LOSSES.items() if not getattr(kind, "needs_points", False)]
#: those that do not fix a map's values by themselves go with one that does
SETTINGS = {**{name: name for name in MAPS}, "scl": {"mse": 1, "scl": 0.1}, "count": {"mse": 1, "count": 1}}

ALL = [*(LOSSES[name]() for name in MAPS), ScalePyramidLoss(normalised=True)]
#: those of them that are defined for a single pixel, and the others without their pools
SHALLOW = [loss for loss in ALL if not isinstance(loss, (ScalePyramidLoss, SpatialAbstractionLoss))]
SHALLOW += [ScalePyramidLoss([], normalised=True), SpatialAbstractionLoss(0)]


def named(loss):
    return type(loss).__name__


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", [(9, 13), (24, 17)])
def test_maps_of_odd_sizes_have_a_loss_whose_gradient_reaches_every_pixel(name, size):
    estimate, target = (torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    estimate.requires_grad_()
    create_loss(name)(estimate, target).backward()
    assert (estimate.grad != 0).all()


@pytest.mark.parametrize("loss", ALL, ids=named)
def test_a_right_map_costs_nothing_and_the_gradient_is_right(loss):
    estimate, target = (torch.rand(2, 1, 9, 12, dtype=torch.float64) for _ in range(2))
    assert loss(target, target).item() == pytest.approx(0, abs=1e-12)
    assert loss(estimate, target) > 0
    assert torch.autograd.gradcheck(loss, (estimate.requires_grad_(), target))


@pytest.mark.parametrize("loss", SHALLOW, ids=named)
@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize(("estimated", "true"), [(0, 0), (0, 1), (1, 0)])
def test_maps_without_people_and_of_one_pixel_have_a_loss_and_a_gradient(loss, size, estimated, true):
    estimate = torch.full((2, 1, size, size), float(estimated), requires_grad=True)
    value = loss(estimate, torch.full((2, 1, size, size), float(true)))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(estimate.grad).all()
    assert (value.item() == pytest.approx(0, abs=1e-6)) == (estimated == true)


@pytest.mark.parametrize("name", MAPS)
def test_mixed_precision_leaves_the_loss_precise(name):
    """In bfloat16 the variances of large values fall below zero, and SSIM had an infinite loss."""
    estimate, target = (20 + torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    expected = create_loss(name)(estimate, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = create_loss(name)(estimate, target)
    assert found == expected
    assert create_loss(name)(estimate.bfloat16(), target).dtype == torch.float32


@pytest.mark.parametrize("name", MAPS)
def test_four_images_are_learnt_by_heart(name):
    torch.manual_seed(0)
    network, task, loss = create("mcnn"), Counting(), create_loss(SETTINGS[name])
    initialise(network)
    samples = synthetic_crowds(4, size=(32, 32), people=(2, 8))
    images = torch.stack([normalise(sample.read()) for sample in samples])
    targets = torch.stack([torch.from_numpy(task.target(sample, (32, 32), 4)) for sample in samples])
    people = task.estimate(targets, 4).sum((1, 2, 3))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(150):
        output = network(images)
        if (task.estimate(output, 4).sum((1, 2, 3)) - people).abs().sum() < 0.05 * people.sum():
            return
        optimizer.zero_grad()
        loss(output, targets).backward()
        optimizer.step()
    pytest.fail("the count is off by more than 5% after 150 steps")
