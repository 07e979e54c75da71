"""Files that version 0.1 wrote are read as they were."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nni_count.architecture import read_architecture
from nni_count.model import load_model
from nni_count.networks import create

HEAVY = ("cv2", "PIL", "scipy", "h5py", "matplotlib", "torchvision", "torchmetrics", "pytorch_lightning", "nni")
FILES = Path(__file__).parent / "files"


def test_an_architecture():
    architecture = read_architecture(FILES / "architecture_0.1.yaml")
    assert architecture.extraction[4] == {1: "sep_conv_3x3", 3: "sep_conv_3x3"}
    assert architecture.pooling == ("avg_2x2", "max_6x6", "max_4x4")
    network = create("amsnet", architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3900


def test_a_model_counts_what_it_counted():
    model = load_model(FILES / "model_0.1.safetensors")
    image = (np.indices((40, 56)).sum(0) % 251).astype(np.uint8)
    image = np.repeat(image[:, :, None], 3, 2)
    assert model.density(image).sum() == pytest.approx(-1.4065381734981202, abs=1e-4)
    assert model.count(image) == 0  # nobody, since counts are never negative
    assert model.parameters == 3900


def test_a_model_counts_with_nothing_but_torch_imported():
    """What readers, figures and trainings need would take longer to import than torch itself."""
    code = (
        "import sys, numpy, nni_count\n"
        f"nni_count.load_model({str(FILES / 'model_0.1.safetensors')!r}).count(numpy.zeros((40, 56), numpy.uint8))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
