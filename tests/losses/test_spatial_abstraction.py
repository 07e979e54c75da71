import pytest
import torch

from nni_count.errors import SettingError
from nni_count.losses.spatial_abstraction import spatial_abstraction_loss


def test_sal_compares_maxima_of_cascaded_pools():
    estimate, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    estimate[0, 0, 0, 0] = 2.0
    pooled = 4 / 4 + 4 / 1  # 2×2 cells, then one
    assert spatial_abstraction_loss(estimate, target, 2).item() == pytest.approx(4 / 16 + pooled)
    with pytest.raises(SettingError, match="4×4 cannot be halved 3 times"):
        spatial_abstraction_loss(estimate, target, 3)
