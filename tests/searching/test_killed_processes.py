"""A search by two processes of which any is killed ends, and goes on to the α of one that was not."""

import random
import time

import pytest
import torch
from training.test_together import command, kill, wait_for_checkpoint

STRATEGIES = ("DARTS", "GumbelDARTS", "GDAS", "PartialChannel", "ENAS", "RandomOneShot", "Proxyless")


def search(folder, strategy, out, *more):
    width = 64 if strategy == "PartialChannel" else 16
    return command(
        folder, "search", "--data", "synthetic", "--data.train", 8, "--data.size", 48, "--space", "AMSNetSpace",
        "--space.width", width, "--space.map_stride", 4, "--strategy", strategy, "--devices", 2, "--accelerator", "cpu",
        "--max_epochs", 3, "--limit_train_batches", 4, "--crop_size", 32, "--batch_size", 1, "--validation_images", 2,
        "--out", out, *more,
    )  # fmt: skip


def learned(out):
    """All that a search has learned; statistics of norms are each process's own."""
    state = torch.load(out / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
    return {name: value for name, value in state.items() if "running" not in name and "batches_tracked" not in name}


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["first", "second", "both"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, strategy, killed):
    whole = search(tmp_path, strategy, tmp_path / "whole")
    assert whole.wait(300) == 0, whole.stderr.read()
    out = tmp_path / "killed"
    process = search(tmp_path, strategy, out)
    wait_for_checkpoint(out)
    time.sleep(random.Random(f"{strategy} {killed}").uniform(0, 6))
    kill(process, killed)
    resumed = search(tmp_path, strategy, out, "--resume")
    assert resumed.wait(300) == 0, resumed.stderr.read()
    one, other = learned(tmp_path / "whole"), learned(out)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6, msg=name)
