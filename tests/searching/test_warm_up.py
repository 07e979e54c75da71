"""How long only the weights are trained: epochs, or a share of a search that may be bounded by time."""

from types import SimpleNamespace

import pytest

from nni_count.errors import SettingError
from nni_count.searching.warm_up import WarmUp


class Clock:
    """A timer of a search of 100 seconds, a second of which is ``now``; without a bound where ``total`` is None."""

    def __init__(self, total=100.0):
        self.total, self.now = total, 0.0

    def time_elapsed(self, _):
        return self.now

    def time_remaining(self, _):
        return None if self.total is None else self.total - self.now


def epochs_of_warm_up(length, epochs, clock, seconds_an_epoch=0.0, resumed_at=None):
    warm_up, module, warm = WarmUp(length, epochs, clock), SimpleNamespace(warmup_epochs=length), []
    for epoch in range(epochs):
        if epoch == resumed_at:
            state = warm_up.state_dict()
            warm_up = WarmUp(length, epochs, clock)
            warm_up.load_state_dict(state)
        clock.now = epoch * seconds_an_epoch
        warm_up.on_train_epoch_start(SimpleNamespace(current_epoch=epoch), module)
        warm.append(epoch < module.warmup_epochs)
    assert warm == sorted(warm, reverse=True)  # it never begins again
    return sum(warm)


@pytest.mark.parametrize("resumed_at", [None, 1, 3])
def test_epochs_and_shares(resumed_at):
    assert epochs_of_warm_up(0, 4, Clock(None), resumed_at=resumed_at) == 0
    assert epochs_of_warm_up(3, 4, Clock(None), resumed_at=resumed_at) == 3
    assert epochs_of_warm_up(0.5, 8, Clock(None), resumed_at=resumed_at) == 4
    assert epochs_of_warm_up(0.5, 80, Clock(), seconds_an_epoch=10, resumed_at=resumed_at) == 5  # half of the time


def test_alpha_is_never_left_untrained_unsaid():
    for length, epochs in ((1, 1), (40, 40), (0.5, 1), (0.95, 10)):
        with pytest.raises(SettingError, match=r"strategy\.warmup_epochs: .* would leave none in which α is trained"):
            WarmUp(length, epochs, Clock(None))
    with pytest.raises(SettingError, match=r"warmup_epochs: -1; give epochs, or a share"):
        WarmUp(-1, 9, Clock(None))
    warm_up = WarmUp(3, 9, Clock())
    warm_up.on_train_epoch_start(SimpleNamespace(current_epoch=0), SimpleNamespace())
    with pytest.warns(UserWarning, match="ended while it was warming up: α and β are as they were drawn"):
        warm_up.on_train_end(None, None)
