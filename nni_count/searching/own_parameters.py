"""Each trial of an experiment gets its own settings, however many run at once.

NNI 3.0's manager keeps the settings of new trials in one queue and hands the first ones to whichever trial asks first
(``training_service/v3/compat.js``), but files what a trial reports under the trial. So with two trials at once, or
behind one that died before it asked, figures stand under settings of another. Whose are whose the manager knows.
"""

from __future__ import annotations

import json
import os
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from nni_count.errors import RunError
from nni_count.searching.nni import TrialCommandChannelV3, nni, set_default_trial_command_channel

PATIENCE = 30.0  # seconds: the manager writes down a trial just after it has started it

# the manager is on this machine or near it, where a proxy for the web would look for it in vain
_open = build_opener(ProxyHandler({})).open


class OwnParameters(TrialCommandChannelV3):
    """What NNI's trials ask and report through, but the parameters are those of the trial that asks.

    Args:
        channel: its address, from NNI.
    """

    def __init__(self, channel: str | None = None) -> None:
        self.address = channel or os.environ["NNI_COUNT_CHANNEL"]
        super().__init__(self.address)

    def receive_parameter(self) -> dict[str, Any] | None:
        given: dict[str, Any] | None = super().receive_parameter()  # asked for all the same: it empties the queue
        if given is None:
            return None
        own = parameters_of(os.environ["NNI_TRIAL_JOB_ID"], _manager(self.address))
        if own["parameter_id"] == given["parameter_id"]:
            return given
        print("NNI handed out the settings of another trial; this one takes its own", flush=True)
        return own


#: stands before the command of a trial whose program is NNI's, so that it makes an :class:`OwnParameters`
FOR_NNI = (
    "NNI_COUNT_CHANNEL=$NNI_TRIAL_COMMAND_CHANNEL "
    f"NNI_TRIAL_COMMAND_CHANNEL=import://{OwnParameters.__module__}.{OwnParameters.__name__}"
)


def ask_for_own_parameters() -> None:
    """From now on ``nni.get_next_parameter`` gives this trial's own.

    Where NNI has another channel (``reuseMode``, Kubernetes), it writes them into the trial's folder: none goes astray.
    """
    channel = os.environ.get("NNI_TRIAL_COMMAND_CHANNEL", "")
    if channel.startswith("http"):
        set_default_trial_command_channel(OwnParameters(channel))


def parameters_of(trial: str, manager: str) -> dict[str, Any]:
    """The record of a trial's parameters, as NNI's manager has it.

    Raises:
        RunError: the manager cannot be reached, or does not know the trial.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with _open(f"{manager}/api/v1/nni/trial-jobs/{trial}", timeout=10) as answer:
                own: dict[str, Any] = nni.load(json.load(answer)["hyperParameters"][0])
                return own
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            if time.monotonic() > end:
                raise RunError(
                    f"{manager}: NNI's manager does not say which settings are those of trial {trial} ({error!r}), so "
                    "that its figures might stand under others; let this machine reach it (nniManagerIp)"
                ) from error
        time.sleep(1)


def _manager(channel: str) -> str:
    """The address of the manager; on a remote machine the keeper of the trials there knows it.

    Raises:
        RunError: the keeper's file is not where it should be.
    """
    if os.environ.get("NNI_PLATFORM") != "remote":
        return channel.rpartition("/env/")[0]
    place = Path(os.environ["NNI_OUTPUT_DIR"]).parents[1]  # of this machine in this experiment
    try:
        files = place.glob("trial_keeper*/trial_keeper_config.json")  # another one after each nnictl resume
        newest = max(files, key=lambda file: file.stat().st_mtime)
        told: str = json.loads(newest.read_text(encoding="utf-8"))["managerCommandChannel"]
    except (OSError, ValueError, LookupError) as error:
        raise RunError(f"{place}: NNI's trial keeper has not left there where its manager is ({error!r})") from error
    return "http" + told.removeprefix("ws").rpartition("/platform/")[0]
