"""What the tests share: small architectures, small data sets in their genuine layout, and the real data."""

import gc
import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.io import savemat

from nni_count.architecture import EXTRACTION, FUSION, Architecture, CellKind
from nni_count.data.synthetic import CrowdStream
from nni_count.ops import OPERATIONS, POOLINGS

# the networks here are so small that threads only wait for one another; those of commands in processes of their own too
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def random_architecture(seed: int, operations: tuple[str, ...] = tuple(OPERATIONS)) -> Architecture:
    """Two edges a node, operations and poolings at random."""
    rng = random.Random(seed)

    def cell(kind: CellKind) -> dict[int, dict[int, str]]:
        return {
            node: {source: rng.choice(operations) for source in sorted(rng.sample(range(node), 2))}
            for node in kind.computed
        }

    return Architecture(
        cell(EXTRACTION),
        cell(FUSION),
        tuple(rng.choices(list(POOLINGS), k=3)),
        {"cells": 6, "width": 16, "map_stride": 4},
    )


LIGHT = ("conv_1x1", "sep_conv_3x3", "dil_conv_3x3", "skip")


@pytest.fixture
def architecture() -> Architecture:
    return random_architecture(0, LIGHT)


def write_mat(path: Path, points: np.ndarray) -> None:
    """A ground-truth file as ShanghaiTech's: ``image_info{1}.location``."""
    inner = np.empty((1, 1), dtype=[("location", object), ("number", object)])
    inner[0, 0] = (np.asarray(points, float), np.array([[len(points)]]))
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = inner
    savemat(path, {"image_info": cell})


def write_shanghaitech(
    root: Path, train: int = 8, test: int = 3, size: int = 64, points_folder: str = "ground-truth"
) -> Path:
    """A small set of synthetic crowds in ShanghaiTech's layout."""
    for folder, number, start in (("train_data", train, 0), ("test_data", test, 1000)):
        (root / folder / "images").mkdir(parents=True)
        (root / folder / points_folder).mkdir()
        samples = CrowdStream(size=(size, size), people=(3, 12)).take(number, start)
        for index, sample in enumerate(samples, 1):
            cv2.imwrite(str(root / folder / "images" / f"IMG_{index}.jpg"), sample.read()[:, :, ::-1])
            write_mat(root / folder / points_folder / f"GT_IMG_{index}.mat", sample.points)
    return root


@pytest.fixture
def shanghaitech(tmp_path: Path) -> Path:
    return write_shanghaitech(tmp_path / "part_X")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data; tests that need it say so when they skip."""
    root = Path(os.environ.get("NNI_COUNT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip("real data not found; set NNI_COUNT_DATA to its folder")
    return root


#: files whose tests wait for processes, or learn; one of them at the end would leave the other workers idle
LONG = {
    "test_engines",
    "test_fused",
    "test_multi_trial",
    "test_own_data",
    "test_own_operation",
    "test_search",
    "test_several_processes",
    "test_strategy_contract",
    "test_together",
    "test_verification",
}


def pytest_configure(config):
    config.option.loadscopereorder = False  # workers take files in the order below, not by their number of tests


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)


def pytest_collection_finish():
    """What was imported is not looked through again whenever a network has been built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


RENDER = Figure.savefig


def not_rendered(figure, path, **_):
    """A figure takes half a second to render, so that only tests that look at one do, marked ``rendered``."""
    cv2.imwrite(str(path), np.zeros((1, 1, 3), np.uint8))


def pytest_runtest_setup(item):
    """Weights that a test draws are the same whichever tests came before it; figures are made, but not rendered."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    Figure.savefig = RENDER if item.get_closest_marker("rendered") else not_rendered
