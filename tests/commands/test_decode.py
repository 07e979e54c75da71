"""A run folder of a stranger is data: what it names is neither imported nor called before it is known to be a space."""

import sys

import pytest
import small_space  # noqa: F401 - a run names it
import torch

from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.commands.decode import decode
from nni_count.commands.search import search
from nni_count.errors import Interrupted, NNICountError, RunError, SettingError
from nni_count.ops import SKIP
from nni_count.runs.plain import dump_yaml
from nni_count.searching.settings import Decoding, SearchBudget, Verification
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops
from search_spaces import AMSNetSpace
from search_spaces.extraction import SearchedExtraction
from search_spaces.fusion import SearchedFusion
from strategies import ENAS, GDAS, PartialChannel

SPACE = "search_spaces.amsnet.AMSNetSpace"


@pytest.fixture
def run(tmp_path):
    """Writes a run folder with this space and this content of the last epoch."""

    def write(space, found=None, folder=tmp_path / "run"):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text("# nni-count search\n" + dump_yaml({"space": space}))
        state = {"callbacks": {"AfterEpoch": {"found": found or {"sample": {}}}}, "state_dict": torch.zeros(10_000)}
        torch.save(state, folder / "checkpoints/last.ckpt")
        return folder

    return write


def test_nothing_that_a_folder_names_is_called(run, tmp_path, capsys, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / "their_space.py").write_text(f"open({str(ran)!r}, 'w')\nfrom search_spaces import AMSNetSpace as Own")
    monkeypatch.syspath_prepend(str(tmp_path))
    for space, message in (
        ({"class_path": "os.system", "init_args": {"command": f"touch {ran}"}}, "os.system: is no ModelSpace"),
        ({"class_path": "collections.OrderedDict"}, "is no ModelSpace"),
        ({"class_path": "their_space.Own"}, "give --space_class their_space.Own, or import it before"),
        ({"class_path": "unittest.__main__.main"}, "nothing is imported because a file names it"),
        ({"class_path": ["os.system"]}, "nothing is imported"),
        ({"class_path": SPACE, "init_args": {"cells": 90_000}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"width": 1 << 20}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"taps": [4, "5", None]}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"widht": 64}}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": 3}, "its space cannot be built"),
        ({"class_path": SPACE, "init_args": {"width": 16}}, "of another space"),
        ("AMSNetSpace", "holds no run of a search"),
        (None, "holds no run of a search"),
    ):
        line = ["decode", "--run", str(run(space)), "--out", str(tmp_path / "out")]
        assert main(line) == 2, space
        error = capsys.readouterr().err
        assert message in error, error
        assert len(error) <= 500 + 1
    assert not ran.exists()
    assert "their_space" not in sys.modules
    assert main([*line[:3], *line[3:], "--space_class", "their_space.Own"]) == 2
    assert ran.exists()  # named by the user


def test_a_damaged_folder_is_one_line(run, tmp_path):
    folder = run({"class_path": SPACE, "init_args": {"width": 16}})
    for name, contents in {
        "config.yaml": (b"", b"\xff", b"[1]", b"space: 3", b"space: {class_path: 3}", b"d: 2001-01-01"),
        "checkpoints/last.ckpt": (b"", b"text", b"cos\nsystem\n(S'true'\ntR.", b"PK\x03\x04"),
    }.items():
        whole = (folder / name).read_bytes()
        for content in contents:
            (folder / name).write_bytes(content)
            with pytest.raises(NNICountError):
                decode(run=folder, out=tmp_path / "out")
        (folder / name).write_bytes(whole)
    for found in (3, [], {"callbacks": 3}, {"callbacks": {"AfterEpoch": None}}):
        torch.save(found, folder / "checkpoints/last.ckpt")
        with pytest.raises(RunError, match="no checkpoint of a search"):
            decode(run=folder, out=tmp_path / "out")


class TwoExtraction(SearchedExtraction):
    operations = (SKIP, "conv_1x1")


class TwoFusion(SearchedFusion):
    operations = (SKIP, "conv_1x1")


class TwoOperations(AMSNetSpace):
    extraction_cell = TwoExtraction
    fusion_cell = TwoFusion


SMALL = {
    "data": {"path": "synthetic", "train": 6, "test": 1, "size": 48},
    "crops": Crops(size=32, batch_size=2),
    "compute": Compute(accelerator="cpu"),
    "decoding": Decoding("perturbation", validation_images=0),
    "seed": 3,
}
ONE_STEP = SearchBudget(max_epochs=1, limit_train_batches=1, verify=Verification(4))
LABELS = {
    *(f"extraction_{node}_{source}" for node in range(2, 6) for source in range(node)),
    *(f"fusion_{node}_{source}" for node in (3, 4) for source in range(node)),
    *("extraction_3", "extraction_4", "extraction_5", "fusion_3", "fusion_4"),  # node 2 keeps both of its edges
}


@pytest.fixture
def candidates(monkeypatch):
    """What is to be verified, which is not trained here."""
    found = []
    monkeypatch.setattr("nni_count.commands.search.verify", lambda given, *_: found.extend(given) or given[0])
    return found


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.fixture
def one_batch(monkeypatch):
    monkeypatch.setattr("nni_count.searching.perturbation.BATCHES", 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "strategy", [ENAS, *(pytest.param(one, marks=pytest.mark.slow) for one in (PartialChannel, GDAS))]
)
def test_a_search_decodes_by_perturbation_as_decode_does_later(
    strategy, tmp_path, capsys, one_batch, candidates, monkeypatch
):
    run = tmp_path / "run"
    space = TwoOperations(width=64 if strategy is PartialChannel else 16, stem_stride=4, map_stride=4)
    with monkeypatch.context() as stopped, pytest.raises(Interrupted, match="continue with --resume, or nni-count dec"):
        stopped.setattr("nni_count.searching.perturbation.Removals.costs", interrupt)
        search(space=space, strategy=strategy(), out=run, budget=ONE_STEP, **SMALL)
    found = search(space=space, strategy=strategy(), out=run, budget=ONE_STEP, resume=True, **SMALL)
    assert read_architecture(run / "architecture.yaml") == found
    assert found.provenance["decode"] == "perturbation"
    assert "26/26 " in capsys.readouterr().out
    costs = found.provenance["perturbation"]["removal_costs"]
    assert set(costs) == LABELS  # the poolings of the loss make no difference
    sample = space.sample(found)
    for node in ("extraction_4", "fusion_4"):
        assert sample[node] == sorted(costs[node])

    assert candidates[0] == found
    assert len(candidates) == 4
    assert len({str(one.extraction) + str(one.fusion) for one in candidates}) > 1

    again = decode(run=run, out=tmp_path / "again", rule="perturbation", accelerator="cpu", space_class=TwoOperations)
    assert again == found
    assert read_architecture(tmp_path / "again" / "architecture.yaml") == found
    paper = decode(run=run, out=tmp_path / "paper")
    assert "perturbation" not in paper.provenance
    assert paper.pooling == found.pooling


def test_what_cannot_be_perturbed_is_said_before_anything_is_computed(run, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def refused(match, error=RunError, **settings):
        with pytest.raises(error, match=match):
            decode(**{"run": folder, "out": out, "rule": "perturbation", **settings})
        assert not out.exists()

    folder = run({"class_path": "small_space.SmallSpace", "init_args": {"width": 16}})
    config = folder / "config.yaml"
    before = config.read_text()

    def strategy(name, data="synthetic", seed="3"):
        crops = "{size: 32, batch_size: 2, cache_gb: 1, num_workers: 0, augmentation: {}}"
        task = "{class_path: nni_count.tasks.counting.Counting}"
        text = f"strategy: {{class_path: {name}}}\ntask: {task}\ncrops: {crops}\nseed: {seed}\ndata: {data}\n"
        config.write_text(before + text)

    refused("config.yaml is damaged")
    for damaged in ("3", "{}", "{class_path: 3}"):
        config.write_text(f"{before}strategy: {damaged}\n")
        refused("strategy|damaged", NNICountError)
    strategy("strategies.multi_trial.Random")
    refused("Random trains no space")
    strategy("os.system")
    refused("is no Strategy", SettingError)
    strategy("strategies.gdas.GDAS")
    refused("joint reads no images", SettingError, rule="joint", data="synthetic")
    refused("holds no trained space of this kind")
    refused("accelerator", SettingError, accelerator="tpu")
    refused("rule: 'both'.*perturbation", SettingError, rule="both")
    for gone in (tmp_path / "gone", "{class_path: os.system, init_args: {}}", "their_data.Images", "3", "{path: [1]}"):
        strategy("strategies.gdas.GDAS", gone)
        refused("give --data")
        refused("holds no trained space of this kind", data="synthetic")  # as it says
    strategy("strategies.gdas.GDAS", seed="often")
    refused("config.yaml is damaged")
    strategy("strategies.gdas.GDAS")
    (folder / "images.json").write_text('[{"a.jpg": "1"}, {"b.jpg": "2"}]')
    refused("was begun with a.jpg, which is no longer among the training images")
