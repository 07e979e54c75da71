"""Settings that several commands share."""

import warnings

import pytest

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
