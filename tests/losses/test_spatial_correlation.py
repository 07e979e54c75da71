import pytest
import torch

from nni_count.losses.spatial_correlation import spatial_correlation_loss


def test_scl_is_the_cosine_of_each_sample():
    target = torch.rand(2, 1, 8, 8)
    assert spatial_correlation_loss(5 * target, target).item() == pytest.approx(0, abs=1e-4)
    estimate = target.clone()
    estimate[1] *= -1  # one sample right, one opposite
    assert spatial_correlation_loss(estimate, target).item() == pytest.approx(1, abs=1e-4)
