import pytest
from samples import strip
from torch import nn

from nni_count.ops import OPERATIONS
from strategies.convolutions import is_taken


def operation(norm=None, relu=None, **settings):
    usual = {"padding": 1, "bias": False}
    convolution = nn.Conv2d(8, 8, settings.pop("size", 3), **{**usual, **settings})
    return nn.Sequential(relu or nn.ReLU(), convolution, norm or nn.BatchNorm2d(8, affine=False))


def test_what_is_made_of_convolutions_is_taken():
    found = [name for name, some in OPERATIONS.items() if is_taken(some.build(8, False))]
    assert found == [name for name in OPERATIONS if name not in ("skip", "none")]
    assert not any(is_taken(some.build(8, True)) for some in OPERATIONS.values())
    assert is_taken(strip(8, False))
    assert is_taken(operation())


@pytest.mark.parametrize(
    "other",
    [
        operation(bias=True),
        operation(groups=8),
        operation(groups=2),
        operation(padding_mode="reflect"),
        operation(padding=2),
        operation(stride=2),
        operation(size=2, padding="same"),
        operation(norm=nn.BatchNorm2d(8, affine=False, momentum=0.01)),
        operation(norm=nn.BatchNorm2d(8, affine=False, track_running_stats=False)),
        operation(norm=nn.InstanceNorm2d(8)),
        operation(relu=nn.ReLU(inplace=True)),
        operation(relu=nn.GELU()),
        nn.Sequential(*strip(8, False)[:2], nn.Conv2d(8, 8, 1, groups=8, bias=False), nn.BatchNorm2d(8, affine=False)),
        nn.Sequential(*strip(8, False), nn.ReLU()),
        strip(8, False)[1],
    ],
    ids=str,
)
def test_anything_else_is_not(other):
    assert not is_taken(other)
