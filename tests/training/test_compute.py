"""Settings that several commands share."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from nni_count.errors import SettingError
from nni_count.networks import devices
from nni_count.training import compute
from nni_count.training.compute import Compute


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_bfloat16_on_a_processor_without_it_is_warned_of(monkeypatch, accelerator):
    monkeypatch.setattr(devices, "processor", lambda: {"avx512_bf16": False})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="slower than 32-true here"):
        Compute(accelerator, precision="bf16-mixed").warn()


@pytest.mark.parametrize(
    ("precision", "accelerator", "capable"),
    [("32-true", "cpu", {"avx512_bf16": False}), ("bf16-mixed", "gpu", {"avx512_bf16": False}),
     ("bf16-mixed", "cpu", {"avx512_bf16": True}), ("bf16-mixed", "cpu", {})],
)  # fmt: skip
def test_nothing_is_said_where_it_is_fast_or_not_known(monkeypatch, precision, accelerator, capable):
    monkeypatch.setattr(devices, "processor", lambda: capable)
    monkeypatch.setattr(compute, "find_device", lambda accelerator: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Compute(accelerator, precision=precision).warn()


def test_what_the_processor_is_capable_of_is_plain():
    assert all(isinstance(name, str) for name in devices.processor())


def test_an_unknown_precision_is_refused():
    with pytest.raises(SettingError, match="precision: '16-mixed' is unknown"):
        Compute("cpu", precision="16-mixed")


@pytest.mark.parametrize("accelerator", ["tpu", "CPU", "", "cpu:0"])
def test_an_accelerator_that_is_not_here_is_refused(accelerator):
    with pytest.raises(SettingError, match=r"accelerator: .* is not here; choose among auto, cpu"):
        Compute(accelerator).warn()


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (nn.Conv2d(20, 8, 3, padding=2, dilation=2), True),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), True),
        (nn.Conv2d(20, 20, 3, padding=1), False),
        (nn.Conv2d(32, 32, 3, padding=2, dilation=2), False),
        (nn.Conv2d(12, 20, 3, padding=2, dilation=2), False),
    ],
)
def test_a_precision_by_which_a_network_would_learn_wrongly_is_refused(monkeypatch, layer, wrong):
    monkeypatch.setattr(devices, "_is_wrong", lambda: True)
    for precision, accelerator in (("32-true", "cpu"), ("bf16-mixed", "gpu")):
        Compute(accelerator, precision=precision).check(nn.Sequential(layer))
    with pytest.raises(SettingError, match="gradients of 0, a dilated") if wrong else nullcontext():
        Compute("cpu", precision="bf16-mixed").check(nn.Sequential(layer))
    monkeypatch.setattr(devices, "_is_wrong", lambda: False)
    Compute("cpu", precision="bf16-mixed").check(nn.Sequential(layer))


@pytest.mark.parametrize(("channels", "groups"), [(20, 1), (17, 1), (8, 8), (4, 1), (16, 1), (48, 1)])
def test_what_is_not_refused_learns_by_bfloat16_as_by_single_precision(channels, groups):
    layer = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, groups=groups, bias=False)
    layer.to(memory_format=torch.channels_last)
    found = []
    for low in (False, True):
        torch.manual_seed(0)
        images = torch.randn(2, channels, 48, 48).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            layer(images).float().square().sum().backward()
        found.append(layer.weight.grad.clone())
        layer.weight.grad = None
    right = torch.allclose(*found, rtol=0, atol=0.05 * float(found[0].abs().max()))
    assert right or devices.badly_learnt(nn.Sequential(layer))
