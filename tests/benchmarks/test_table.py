"""The table of trained architectures: its order, its trainings, the loop that grows it, its file and its report."""

import dataclasses
import json
import os

import cv2
import numpy as np
import pytest
import torch
from conftest import random_architecture
from made_up import made_up, table_of
from samples import synthetic_cells, synthetic_crowds
from torch import nn

from benchmarks.table import growing, supernets
from benchmarks.table import predictors as predicting
from benchmarks.table.__main__ import main
from benchmarks.table.architectures import draw_architectures, flops, parameters
from benchmarks.table.banks import Crops, Judged
from benchmarks.table.growing import LONGER_ONES, SEEDS, Grower, Job, grow, owner, plan
from benchmarks.table.packing import pack, unpack
from benchmarks.table.recipe import SETS, Recipe
from benchmarks.table.report import compared, lines
from benchmarks.table.training import Flat, network_of, train
from nni_count.comparing.statistics import correlation_interval, seed_noise, spearman
from nni_count.comparing.trained import open_table
from nni_count.data.pixels import normalise
from nni_count.errors import RunError, SettingError
from nni_count.searching.proxies import PROXIES
from nni_count.tasks.counting import Counting
from search_spaces import AMSNetSpace

TINY = Recipe(width=16, crop_size=32, batch_size=2, steps=20, crops=4, recalibration=4, judged=2)


@pytest.fixture(autouse=True, scope="module")
def _few_crowds():
    with pytest.MonkeyPatch.context() as patch:
        few = {**SETS["crowds"].folder, "train": 12}
        patch.setitem(SETS, "crowds", dataclasses.replace(SETS["crowds"], folder=few, trainings=2))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folders of the table's data sets, with a few small images each."""
    root = tmp_path_factory.mktemp("data")
    cells = root / SETS["cells"].folder
    cells.mkdir()
    for number, sample in enumerate(synthetic_cells(8, size=(64, 64)), 1):
        dots = np.zeros((64, 64), np.uint8)
        x, y = np.floor(sample.points).astype(int).T
        dots[y, x] = 255
        cv2.imwrite(str(cells / f"{number:03}cell.png"), sample.read()[:, :, ::-1])
        cv2.imwrite(str(cells / f"{number:03}dots.png"), dots)
    return root


@pytest.fixture(scope="module")
def prepared(data):
    cells = SETS["cells"]
    training, judging = cells.parts(data)
    return Crops(training, cells.task, cells.augmentation, TINY), Judged(judging, cells.task, TINY)


@pytest.fixture(scope="module")
def grown(data, tmp_path_factory):
    """A folder with the rows of one architecture, and what was said."""
    folder = tmp_path_factory.mktemp("rows")
    grow(folder, data, recipe=TINY, architectures=10, most=4, say=lambda _: None)
    return folder


def test_any_ten_architectures_have_one_of_every_tenth_by_parameters():
    drawn = draw_architectures(20, TINY)
    sizes = np.array([parameters(architecture, TINY) for architecture in drawn])
    tenths = np.argsort(np.argsort(sizes)) // 2
    assert sorted(tenths[:10]) == sorted(tenths[10:]) == list(range(10))
    assert drawn == draw_architectures(20, TINY) != draw_architectures(20, TINY, seed=1)
    bigger = sum(parameter.numel() for parameter in network_of(drawn[0], TINY).parameters())
    assert bigger == sizes[0]
    assert flops(drawn[int(sizes.argmax())], TINY) > flops(drawn[int(sizes.argmin())], TINY)


def test_rows_come_architecture_by_architecture_with_the_longer_ones_between():
    jobs = list(plan(400))
    short = [job for job in jobs if not job.longer]
    assert short[:4] == [Job(0, data, seed, False) for data in SETS for seed in SEEDS]
    assert len(set(short)) == len(short) == 400 * len(SETS) * len(SEEDS)
    assert [job.architecture for job in short] == sorted(job.architecture for job in short)
    longer = [place for place, job in enumerate(jobs) if job.longer]
    assert {jobs[place].architecture for place in longer} == set(range(LONGER_ONES))
    assert np.diff(longer).tolist() == [41] * (len(longer) - 1)
    assert len({job.file for job in jobs}) == len(jobs)


def test_a_flat_network_learns_as_any_other():
    torch.manual_seed(0)
    plain, flat = (network_of(random_architecture(0), TINY) for _ in range(2))
    flat.load_state_dict(plain.state_dict())
    vector = Flat(flat)
    image = torch.randn(2, 3, 32, 32)
    for network, weights in ((plain, list(plain.parameters())), (flat, [vector.weights])):
        optimizer = torch.optim.Adam(weights, lr=0.01)
        for _ in range(2):
            optimizer.zero_grad(set_to_none=False)
            network(image).square().mean().backward()
            if network is flat:
                vector.clip(0.2)
            else:
                nn.utils.clip_grad_norm_(weights, 0.2)
            optimizer.step()
    for one, other in zip(plain.parameters(), flat.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_training_is_its_seed_and_learns(prepared):
    train_one = lambda seed, recipe: train(random_architecture(1), *prepared, SETS["cells"].task, seed, recipe)  # noqa: E731
    found, again, other = train_one(0, TINY), train_one(0, TINY), train_one(1, TINY)
    assert (found["loss"], found["counts"]) == (again["loss"], again["counts"])
    assert found["counts"] != other["counts"]
    assert found["steps"] == [10, 20]
    assert np.shape(found["counts"]) == (2, len(prepared[1].truths))
    assert len(found["loss"]) == 20
    assert np.mean(found["loss"][-3:]) < np.mean(found["loss"][:3])
    assert 0 < found["seconds"][0] < found["seconds"][1]
    assert train_one(0, dataclasses.replace(TINY, learning_rate=1e-9))["loss"] != found["loss"]


def test_the_longer_recipe_is_the_same_in_ten_times_the_steps():
    assert Recipe().longer == dataclasses.replace(Recipe(), steps=10 * Recipe().steps, judged=10)


class Brightness(nn.Module):
    """Answers the first colour of every cell, whatever lies around it."""

    map_stride, multiple = 4, 4

    def __init__(self):
        super().__init__()
        self.none = nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return nn.functional.avg_pool2d(image[:, :1], 4)


def test_networks_are_judged_on_the_middle_of_each_quarter():
    samples = [sample for size in ((64, 96), (40, 50)) for sample in synthetic_crowds(2, size=size, people=(9, 30))]
    task = Counting(density_scale=1)
    judged = Judged(samples, task, TINY)
    counts, unexplained = judged.judge(Brightness(), task)
    assert counts.shape == judged.truths.shape == (16,)
    first = samples[0].read()[0:32, 56:88]  # above and to the right: the middle is at 16 and 72
    assert counts[1] == pytest.approx(float(normalise(first)[0].sum()), rel=1e-4)
    x, y = samples[0].points.T
    assert judged.truths[1] == ((x >= 56) & (x < 88) & (y < 32)).sum() > 0
    assert judged.local.reshape(16, -1).sum(1) == pytest.approx(judged.truths)
    bright = np.stack([normalise(crop[None])[0, 0].numpy() for crop in judged.images]).reshape(16, 2, 16, 2, 16)
    assert unexplained == pytest.approx(1 - np.corrcoef(bright.sum((2, 4)).ravel(), judged.local)[0, 1] ** 2, abs=1e-4)


def test_growing_goes_on_where_it_was_stopped(data, grown):
    files = {path: path.stat().st_mtime_ns for path in grown.glob("0*.json")}
    assert sorted(path.name for path in files) == sorted(job.file for job in list(plan(10))[:4])
    said = []
    grow(grown, data, recipe=TINY, architectures=10, most=1, processes=2, say=said.append)
    assert said == ["1 rows to train"]  # the process that trained it spoke for itself
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (grown / list(plan(10))[4].file).is_file()


def test_a_row_that_was_stopped_is_trained_anew(data, grown, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    grower = Grower(grown, data, draw_architectures(10, TINY), TINY)
    monkeypatch.setattr(growing, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        grower.row(Job(7, "cells", 0, False))
    assert not list(grown.glob("*0007*"))
    growing._work(grower, [Job(7, "cells", 0, False)], None, os.getpid(), print)  # its parent is another: it ends


def test_one_owner_and_one_recipe_a_folder(data, grown):
    with owner(grown), pytest.raises(RunError, match="another process grows it"):
        grow(grown, data, recipe=TINY, architectures=10)
    with pytest.raises(RunError, match="another recipe"):
        grow(grown, data, recipe=dataclasses.replace(TINY, learning_rate=1e-4), architectures=10)
    with pytest.raises(RunError, match="10 architectures, not 20"):
        grow(grown, data, recipe=TINY, architectures=20)
    with pytest.raises(SettingError, match="processes"):
        grow(grown, data, processes=0)


def test_the_file_keeps_what_the_rows_say(grown, tmp_path):
    path = tmp_path / "table.npz"
    assert "1 architectures" in pack(grown, path) or "2 architectures" in pack(grown, path)
    table = open_table(path)
    assert table.data == ("cells", "crowds")
    assert table.recipe["steps"] == 20
    for row in table.rows:
        kept = json.loads((grown / Job(row.number, row.data, row.seed, row.longer).file).read_text())
        assert (row.parameters, row.flops) == (kept["parameters"], kept["flops"])
        for name in ("counts", "loss", "seconds"):
            np.testing.assert_allclose(getattr(row, name), kept[name], rtol=1e-3, atol=1e-6)
        assert row.steps.tolist() == kept["steps"]
        errors = np.abs(np.array(kept["counts"]) - kept["truths"]).mean(1)
        np.testing.assert_allclose(row.curve, errors, rtol=2e-3)
        assert row.mae == row.curve[-1]
        assert row.parameters == parameters(row.architecture, TINY)
    assert [row.seed for row in table.of(table.architectures[0])] == [0, 1, 0, 1]


def test_what_was_packed_is_unpacked_and_grown_on(data, grown, tmp_path, monkeypatch):
    table, again, rows = tmp_path / "table.npz", tmp_path / "again.npz", tmp_path / "rows"
    pack(grown, table)
    unpack(rows, table, recipe=TINY, architectures=10)
    assert {path.name for path in rows.glob("0*")} == {path.name for path in grown.glob("0*")}
    pack(rows, again)
    for one, other in zip(open_table(table).rows, open_table(again).rows, strict=True):
        for name in ("counts", "loss", "seconds", "unexplained", "truths", "steps"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    said = []
    grow(rows, data, recipe=TINY, architectures=10, most=0, say=said.append)
    assert said == ["0 rows to train"]
    (first := sorted(rows.glob("0*"))[0]).unlink()
    assert "1 rows written" in unpack(rows, table, recipe=TINY, architectures=10)
    assert first.is_file()
    with pytest.raises(RunError, match="another recipe"):
        unpack(tmp_path / "other", table, recipe=dataclasses.replace(TINY, steps=40), architectures=10)


def test_a_row_is_the_mean_of_its_trainings(data, grown, prepared, monkeypatch):
    monkeypatch.setitem(SETS, "cells", dataclasses.replace(SETS["cells"], trainings=3))
    row = Grower(grown, data, draw_architectures(10, TINY), TINY).row(Job(9, "cells", 1, False))
    (grown / Job(9, "cells", 1, False).file).unlink()
    architecture = draw_architectures(10, TINY)[9]
    alone = [train(architecture, *prepared, SETS["cells"].task, seed, TINY) for seed in (3, 4, 5)]
    for name in ("loss", "counts", "unexplained"):
        np.testing.assert_allclose(row[name], np.mean([one[name] for one in alone], 0), rtol=1e-3, atol=1e-5)
    assert row["steps"] == alone[0]["steps"]
    assert row["seconds"][-1] > 1.5 * min(one["seconds"][-1] for one in alone)


def test_rows_that_are_damaged_are_named(tmp_path, capsys):
    assert main(["pack", "--rows", str(tmp_path)]) == 2
    (tmp_path / Job(0, "cells", 0, False).file).write_text("{")
    assert main(["pack", "--rows", str(tmp_path)]) == 2
    assert "0000-cells-0-short.json: is no row" in capsys.readouterr().err


def test_the_report_tells_agreement_from_noise(tmp_path):
    generator = np.random.default_rng(0)
    quality = generator.uniform(5, 50, 40)
    alike = made_up(40, np.stack([quality, quality * 1.1], 1).tolist())
    longer = made_up(20, quality[:20, None].tolist(), longer=True)
    noisy = made_up(40, generator.uniform(5, 50, (40, 2)).tolist(), data="crowds")
    table = table_of(tmp_path / "t.npz", alike + longer + noisy, 40)
    text = lines(table)
    agreement = [line for line in text if "seed 0 with seed 1" in line]
    assert "1.00   95% in [1.00, 1.00]   (40 architectures)" in agreement[0]
    assert abs(float(agreement[3].split(": ")[1].split()[0])) < 0.4
    assert any("both seeds with ten times the length: 1.00" in line and "(20 arch" in line for line in text)
    assert any("both seeds with ten times the length: 0 architectures are too few" in line for line in text)
    assert sum("surrogate" in line and "of 40 architectures; on those held out" in line for line in text) == 2
    apart = np.where(np.arange(40) % 2, 1.1, 1 / 1.1)
    between, within = seed_noise(
        np.stack([quality, 3 * quality * apart], 1)
    )  # a seed that is worse for all is no noise
    assert within == pytest.approx(np.log(1.1) / np.sqrt(2), rel=0.02)
    assert between > 0.3
    assert seed_noise(generator.uniform(5, 50, (40, 2)))[1] > 0.3


def test_proxies_and_beginnings_are_set_beside_the_error(data, tmp_path):
    rows = made_up(5, [[1 + place, 2 + place] for place in range(5)])
    told = predicting.lines(table_of(tmp_path / "t.npz", rows, 5), data)
    assert told[0] == "cells:"
    assert all(any(name in line for line in told) for name in PROXIES if name != "flops")
    assert next(line for line in told if "parameters" in line).startswith("  parameters: -1.00")  # as made up
    assert "1 steps of the other seed, 2 s: 1.00" in told[-1]
    assert main(["predictors", "--table", str(tmp_path / "none.npz"), "--data", str(data)]) == 2


def test_trained_spaces_are_asked_for_every_architecture(data, tmp_path, monkeypatch):
    monkeypatch.setattr(supernets, "STEPS", 1)
    monkeypatch.setattr(
        supernets, "STRATEGIES", {name: supernets.STRATEGIES[name] for name in ("RandomOneShot", "GDAS")}
    )
    table = table_of(tmp_path / "t.npz", made_up(4, [(0.5, 0.4), (0.3, 0.4), (0.2, 0.1), (0.9, 0.8)]), 4)
    told = supernets.lines(table, data, tmp_path / "runs", epochs=1)
    assert [line.partition(": ")[0] for line in told] == [
        *("cells:", "  its path in RandomOneShot's space", "  its path in GDAS's space", "  α and β of GDAS"),
    ]
    assert all("(4 architectures)" in line for line in told[1:])
    again = supernets.lines(table, data, tmp_path / "runs", epochs=1)  # of the searches that are there
    assert again == told


def test_what_a_space_says_is_of_the_architectures_own_choices(tmp_path):
    space, cells = AMSNetSpace(width=16, map_stride=4), random_architecture(0)
    sample = space.sample(cells)
    even = {
        label: dict.fromkeys(choice if isinstance(choice, list) else [choice], 0.5) for label, choice in sample.items()
    }
    assert supernets.surprise(space, cells, even) == pytest.approx(np.log(2))
    assert supernets.surprise(space, cells, {}) == 0


def test_rank_correlation_and_its_interval():
    generator = np.random.default_rng(0)
    one = generator.normal(size=100)
    other = one + generator.normal(size=100)
    assert spearman(one, np.exp(one)) == pytest.approx(1)
    assert spearman(one, -one) == pytest.approx(-1)
    low, high = correlation_interval(one, other)
    assert low < spearman(one, other) < high
    assert 0.05 < high - low < 0.4
    assert "3 architectures are too few" in compared("x", {0: 1, 1: 2, 2: 3}, {0: 1, 1: 2, 2: 3})
