import pytest
import torch

from nni_count.losses.count import count_loss


def test_the_count_term_is_the_square_of_the_mean_densitys_error():
    estimate, target = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    estimate[0, 0, 1, 2] = 8.0  # half a unit a pixel too many
    target[1, 0] = 1.0
    assert count_loss(estimate, target).item() == pytest.approx((0.5**2 + 1) / 2)
