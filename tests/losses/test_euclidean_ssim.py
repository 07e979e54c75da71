import torch

from nni_count.losses.euclidean_ssim import euclidean_ssim_loss, mean_ssim


def test_ssim_is_that_of_gaussian_windows_cut_off_at_the_border():
    one, other = torch.rand(6, 14, dtype=torch.float64), torch.rand(6, 14, dtype=torch.float64)
    rows, columns = torch.arange(6.0)[:, None], torch.arange(14.0)[None]
    similarities = []
    for y in range(6):
        for x in range(14):
            inside = ((rows - y).abs() <= 5) & ((columns - x).abs() <= 5)
            window = inside * torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2)).double()
            window /= window.sum()
            a, b = (window * one).sum(), (window * other).sum()
            spread = (window * (one - a) ** 2).sum() + (window * (other - b) ** 2).sum()
            joint = (window * (one - a) * (other - b)).sum()
            likeness = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
            similarities.append(likeness * (2 * joint + 9e-4) / (spread + 9e-4))
    one, other = one[None, None], other[None, None]
    expected = torch.stack(similarities).mean()
    torch.testing.assert_close(mean_ssim(one, other), expected)
    mse = ((one - other) ** 2).mean()
    torch.testing.assert_close(euclidean_ssim_loss(one, other, 0.5), mse + 0.5 * (1 - expected))
