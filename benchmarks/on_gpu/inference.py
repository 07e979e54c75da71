"""Images a second and memory of networks on whole images, in bfloat16 with channels last."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch

from nni_count.architecture import read_architecture
from nni_count.networks import Network, create
from on_gpu.device import CPU, autotuned
from on_gpu.results import Part
from on_gpu.sizes import Sizes

#: the cells of all AMSNets here
ARCHITECTURE = Path(__file__).parents[2] / "examples" / "shanghaitech" / "architecture.yaml"


def build(kind: str, settings: dict[str, Any]) -> Network:
    """A network by name; those with cells have ours."""
    return create(kind, read_architecture(ARCHITECTURE) if kind == "amsnet" else None, **settings)


def inference(part: Part, device: CPU, sizes: Sizes) -> None:
    """A row for each network and batch; the batches one after the other, so that all networks have a row early."""
    part.set(height=sizes.image[0], width=sizes.image[1], precision="bfloat16")
    for batch in sizes.batches:
        for name, (kind, settings) in sizes.networks.items():
            with part.row("rows", network=name, batch=batch) as row:
                part.need()
                row.update(_measure(build(kind, settings), batch, device, sizes))


def _measure(network: Network, batch: int, device: CPU, sizes: Sizes) -> dict[str, Any]:
    device.release()
    torch.manual_seed(0)
    network = network.eval().to(device.name, torch.bfloat16).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, *sizes.image, device=device.name, dtype=torch.bfloat16)
    images = images.to(memory_format=torch.channels_last)
    with torch.inference_mode(), autotuned():
        network(images)  # tries algorithms, whose memory is not the network's
        device.release()
        device.forget_peak()
        times = device.times(lambda: network(images), sizes.warm_up, sizes.steps, sizes.seconds / 2)
    middle = statistics.median(times)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_a_second": round(1e3 * batch / middle, 1),
        "milliseconds": round(middle, 3),
        "smallest": round(min(times), 3),
        "largest": round(max(times), 3),
        "runs": len(times),
        "peak_gib": round(device.peak() / 2**30, 3),
    }
