"""What every loss of points is asked, and each one's formula."""

import numpy as np
import pytest
import torch
from samples import synthetic_crowds
from scipy.optimize import linear_sum_assignment
from scipy.stats import poisson

from nni_count.errors import SettingError
from nni_count.losses import LOSSES, create_loss
from nni_count.losses.blocks import Blocks, read_blocks, spread_blocks
from nni_count.losses.dm_count import transport_cost
from nni_count.losses.poisson import poisson_loss
from nni_count.losses.scene import Scene
from nni_count.losses.zero_inflated import zero_inflated_loss
from nni_count.networks import create, initialise
from nni_count.tasks.counting import Counting
from nni_count.training.batches import crop_loader
from nni_count.training.objective import Objective
from nni_count.training.settings import Crops

NAMES = [name for name, kind in LOSSES.items() if getattr(kind, "needs_points", False)]
VALUES = (1.0, 2.0, 3.0, 5.0, 8.0)
#: such that a gradient that leaves the potentials out is the whole one
EXACT = {"dm_count": {"regularisation": 400.0, "iterations": 60}}


def loss_of(name):
    return LOSSES[name](**EXACT.get(name, {}))


def scene(maps, points, stride=8, cells=2):
    """Of logits ``(M, 1 + n, h, w)``; the first channel is the density too."""
    blocks = read_blocks(maps, maps.new_tensor(VALUES), stride * cells, stride)
    return Scene(maps[:, 0], torch.as_tensor(points, dtype=maps.dtype).reshape(-1, 3), stride, blocks)


def logits(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def heads(number, width, height, owner=0, seed=0):
    drawn = np.random.default_rng(seed).random((number, 2)) * (width, height)
    return [(owner, x, y) for x, y in drawn]


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_right_for_nobody_for_one_and_for_several(name):
    points = [*heads(5, 40, 24), *heads(1, 40, 24, owner=1)]  # the third map has nobody
    for density in (logits(3, 6, 3, 5).abs() + 0.05, logits(3, 6, 3, 5)):
        density.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda maps: loss_of(name)(scene(maps, points)), density, atol=1e-4, fast_mode=True
        )


@pytest.mark.parametrize("name", NAMES)
def test_it_stays_where_image_and_points_move_together(name):
    """By whole blocks, with an empty margin."""
    points = torch.tensor([[0, *xy] for xy in ((33.0, 50.0), (60.5, 41.0), (34.0, 50.0), (70.0, 79.5))])
    found = []
    for right, down in ((0, 0), (2, 1), (-1, 2), (1, -2)):
        maps = torch.full((1, 6, 16, 16), -30.0)
        maps[:, 0] = 30.0 if name == "zip" else 0.0
        maps[:, :, 4 + 2 * down : 10 + 2 * down, 4 + 2 * right : 10 + 2 * right] = logits(1, 6, 6, 6).float()
        moved = points + torch.tensor([0, 16.0 * right, 16.0 * down])
        found.append(LOSSES[name]()(scene(maps, moved)).item())
    assert found == pytest.approx([found[0]] * 4, rel=1e-4)


@pytest.mark.parametrize("name", ["bayesian", "dm_count", "poisson"])
@pytest.mark.parametrize("stride", [2, 8, 32])
def test_the_points_themselves_are_the_least(name, stride):
    """In the middle of their cells, one of them twice; ``zip`` is asked below."""
    places = [(1, 1), (5, 2), (3, 6), (6, 6), (6, 6)]
    truth = torch.zeros(1, 8, 8)
    for x, y in places:
        truth[0, y, x] += 1
    points = torch.tensor([[0, (x + 0.5) * stride, (y + 0.5) * stride] for x, y in places])
    loss = LOSSES[name](**({"cell": stride} if name != "poisson" else {"block": stride}))
    if name == "bayesian":
        loss.sigma = stride / 4  # so that heads do not overlap
        loss.background = 0.4

    def cost(density):
        return loss(Scene(density, points, stride)).item()

    assert cost(truth) == pytest.approx(0, abs=0.02)
    for wrong in (0.8 * truth, 1.2 * truth, truth.roll(3, 2), truth + 0.02, torch.full((1, 8, 8), 5 / 64), 0 * truth):
        assert cost(wrong) > cost(truth) + 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (24, 17)])
@pytest.mark.parametrize("stride", [1, 4, 16])
def test_whoever_is_there_it_is_a_number(name, size, stride):
    """Nobody, one on the border, a thousand at one place; estimates of any sign, none at all, and huge ones."""
    height, width = (stride * side for side in size)
    crowd = [(2, width / 2, height / 2)] * 1000
    points = [(1, np.nextafter(np.float32(width), 0), 0.0), *crowd]
    for scale in (0, 1, -1, 1e4):
        maps = (scale * logits(3, 6, *size, dtype=torch.float32)).requires_grad_()
        value = LOSSES[name]()(scene(maps, points, stride, max(1, 16 // stride)))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(maps.grad).all()


def test_the_bayesian_loss_is_its_formula():
    points = [(0, 10.0, 5.0), (0, 30.0, 20.0), (0, 31.0, 20.0)]
    density = logits(1, 6, 4, 5).abs()
    sigma, far = 8.0, 0.15 * 32
    expected = np.zeros(4)
    for row in range(4):
        for column in range(5):
            x, y = 8 * column + 4, 8 * row + 4
            away = [np.hypot(x - px, y - py) for _, px, py in points]
            odds = np.exp(-np.square([far - min(away), *away]) / (2 * sigma**2))
            expected += odds / odds.sum() * density[0, 0, row, column].item()
    found = LOSSES["bayesian"]()(scene(density, points))
    assert found.item() == pytest.approx(abs(expected[0]) + np.abs(1 - expected[1:]).sum())


def test_cells_smaller_than_a_loss_asks_for_are_summed():
    points = heads(9, 32, 24)
    fine = logits(1, 6, 24, 32)
    coarse = fine.unfold(2, 8, 8).unfold(3, 8, 8).sum((4, 5))
    for name, settings in (("bayesian", {"cell": 8}), ("dm_count", {}), ("poisson", {"block": 8})):
        one, other = (LOSSES[name](**settings)(scene(maps, points, s)) for maps, s in ((fine, 1), (coarse, 8)))
        torch.testing.assert_close(one, other)


def test_transport_costs_the_mean_square_of_the_distances():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 12, (2, 20, 2))
    maps = torch.zeros(2, 1, 12, 12, dtype=torch.float64)
    for image, places in zip(maps, (one, other), strict=True):
        for row, column in places:
            image[0, row, column] += 1 / 20
    squares = 64 * np.square(one[:, None] - other[None]).sum(2)
    exact = squares[linear_sum_assignment(squares)].mean()
    assert transport_cost(*maps, stride=8).item() == pytest.approx(exact, rel=0.15)
    assert transport_cost(*maps, 8, iterations=400).item() == pytest.approx(exact, rel=0.03)
    assert transport_cost(maps[0], maps[0], 8).item() == 0
    moved = maps[0].roll((1, 2), (1, 2))
    moved[:, :1] = moved[:, :, :2] = 0
    inside = maps[0].clone()
    inside[:, -1:] = inside[:, :, -2:] = 0
    share = inside.sum()
    assert transport_cost(inside / share, moved / share, 8).item() == pytest.approx(5 * 64, rel=0.01)


def test_the_poisson_loss_is_half_the_deviance_and_goes_on_below_a_half():
    rates, counts = torch.tensor([[[0.7, 2.0, 30.0, 4.0]]]), torch.tensor([[[1.0, 2.0, 25.0, 0.0]]])
    expected = sum(
        poisson.logpmf(y, max(y, 1e-300)) - poisson.logpmf(y, rate)
        for y, rate in zip(counts.flatten().tolist(), rates.flatten().tolist(), strict=True)
    )
    assert poisson_loss(rates, counts).item() == pytest.approx(expected, rel=1e-5)
    below = torch.linspace(-3, 1, 81)
    costs = torch.stack([poisson_loss(rate.view(1, 1, 1), torch.ones(1, 1, 1)) for rate in below])
    assert (costs.diff() < 0).all()
    assert (costs.diff().diff() > -1e-5).all()


def test_zip_is_a_probability_and_is_least_where_bins_and_emptiness_are_right():
    blocks = Blocks(logits(1, 1, 1), logits(1, 5, 1, 1, seed=1), torch.tensor(VALUES).double(), 1)
    each = [zero_inflated_loss(blocks, torch.full((1, 1, 1), y).double(), bins=0, count=0) for y in range(60)]
    assert torch.stack(each).neg().exp().sum().item() == pytest.approx(1)
    counts = torch.tensor([[[0.0, 3.0], [8.0, 0.0]]]).double()
    right = torch.full((1, 5, 2, 2), -20.0).double()
    right[0, 2, 0, 1] = right[0, 4, 1, 0] = right[0, 0, 0, 0] = right[0, 0, 1, 1] = 20
    empty = torch.where(counts > 0, -20.0, 20.0)
    least = zero_inflated_loss(Blocks(empty, right, blocks.values, 1), counts)
    expected = -sum(poisson.logpmf(y, y) for y in (3, 8))
    assert least.item() == pytest.approx(expected, abs=1e-4)
    for wrong in (
        Blocks(-empty, right, blocks.values, 1),
        Blocks(empty, right.roll(1, 1), blocks.values, 1),
        Blocks(empty / 20, right / 20, blocks.values, 1),
    ):
        assert zero_inflated_loss(wrong, counts) > least + 0.1


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_a_map_that_is_read_from_blocks_sums_to_them(stride):
    task = Counting(bins=VALUES)
    for height, width in ((1, 1), (5, 16), (37, 50)):
        rows, columns = -(-height // stride), -(-width // stride)
        output = logits(2, 6, rows, columns)
        blocks, maps = task.blocks(output, stride), task.read(output, stride)
        assert maps.shape == (2, 1, rows, columns)
        density = task.estimate(maps, stride)
        torch.testing.assert_close(density.sum((1, 2, 3)), blocks.expected.sum((1, 2)))
        torch.testing.assert_close(spread_blocks(blocks, (rows, columns))[:, None], density)
        assert len(np.unique(density[0].numpy().round(9))) <= blocks.expected[0].numel()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"bayesian": {"sigma": 0}}, r"loss.bayesian.sigma: 0; give a number above 0"),
        ({"bayesian": {"background": -1}}, r"loss.bayesian.background: -1"),
        ({"dm_count": {"iterations": 0}}, r"loss.dm_count.iterations: 0; give a number from 1"),
        ({"dm_count": {"regularisation": "much"}}, r"loss.dm_count.regularisation: 'much'"),
        ({"poisson": {"block": 2.5}}, r"loss.poisson.block: 2.5"),
        ({"zip": {"bins": float("nan")}}, r"loss.zip.bins: nan"),
        ({"poisson": {"blocks": 8}}, r"loss poisson: unknown setting 'blocks'; known: weight, block"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(setting, message):
    with pytest.raises(SettingError, match=message):
        create_loss(setting)


def test_maps_alone_are_not_enough():
    with pytest.raises(SettingError, match="loss sppl, poisson: needs the points of its maps"):
        create_loss({"sppl": 1, "poisson": 1})(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_a_mixture_weighs_maps_and_points():
    points = torch.tensor([[0, 3.0, 4.0]])
    density = torch.rand(1, 8, 8)
    loss = create_loss({"mse": 2, "bayesian": 0.1})
    here = Scene(density, points, 4)
    expected = 2 * density.square().mean() + 0.1 * LOSSES["bayesian"]()(here)
    torch.testing.assert_close(loss(density[:, None], torch.zeros(1, 1, 8, 8), here), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(density[:, None], torch.zeros(1, 1, 8, 8), here), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", ["mcnn", "switch_cnn"])
def test_four_images_are_learnt_by_heart(name, network):
    if network == "switch_cnn" and name != "zip":
        return  # the head is what it could stumble over
    torch.manual_seed(0)
    task = Counting(bins=(1, 2, 3, 4)) if name == "zip" else Counting()
    net = create(network, out_channels=task.out_channels)
    initialise(net)
    samples = synthetic_crowds(4, size=(32, 32), people=(2, 8))
    objective = Objective(task, create_loss(name), net.map_stride)
    objective.check(samples, 32)
    loader = crop_loader(samples, task, Crops(32, 4), stride=4, seed=0, limit_batches=1, with_points=True)
    ((images, targets, points),) = list(loader)
    people = task.estimate(targets, 4).sum((1, 2, 3))
    optimizer = torch.optim.Adam(net.parameters(), 4e-3)
    steps = 2 if network == "switch_cnn" else 200
    for step in range(steps):
        value = net.training_loss(images, targets, objective.of(images, points), step / steps)
        if network == "mcnn":
            found = task.estimate(task.read(net(images), 4), 4).sum((1, 2, 3))
            if (found - people).abs().sum() < 0.05 * people.sum():
                return
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert network == "switch_cnn", "the count is off by more than 5% after 200 steps"
