"""The GPU run: rehearsed on the CPU to its end, and what it does with bad input and with parts that fail."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import write_shanghaitech
from small_space import SmallSpace

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import gpu
from on_gpu import measure, needs
from on_gpu.judging import judge
from on_gpu.results import Results
from on_gpu.search import BESIDE, METHODS
from on_gpu.sizes import PAPER, SMALLEST
from on_gpu.table import tables

from nni_count.data.readers.shanghaitech import ShanghaiTech
from nni_count.model import load_model

OUT_OF_MEMORY = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has a total capacity of 40.00 GiB"
)
FACTS = {"device": "X", "date": "2026-01-01", "command": "gpu.py", "rehearsal": False, "versions": {"torch": "2"}}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("on_gpu.search.AMSNetSpace", SmallSpace)
        code = gpu.main(["--rehearse", "--out", str(out)])
    return code, out, json.loads((out / "results.json").read_text())


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results.json", dict(FACTS), time.monotonic())


def written(results):
    return json.loads(results.path.read_text())["parts"]


def test_the_rehearsal_measures_all_parts(rehearsed):
    code, out, content = rehearsed
    parts = content["parts"]
    assert (code, {part["state"] for part in parts.values()}) == (0, {"done"}), json.dumps(parts)
    assert [row["method"] for row in parts["search"]["rows"]] == list(METHODS)
    assert all(row["milliseconds"] > 0 and row["peak_gib"] > 0 and row["hours"] > 0 for row in parts["search"]["rows"])
    assert [(row["ours"], row["beside"]) for row in parts["search"]["ratios"]] == BESIDE
    timed = [(row["network"], row["batch"]) for row in parts["inference"]["rows"]]
    assert timed == [(name, batch) for batch in SMALLEST.batches for name in SMALLEST.networks]
    assert all(row["images_a_second"] > 0 for row in parts["inference"]["rows"])
    retraining = parts["retraining"]
    assert {"raw", "average"} >= {retraining["chosen"]["weights"]}
    assert retraining["trainings"][0]["steps"] == retraining["curve"][-1]["step"] > 0
    assert retraining["test"]["images"] == 3
    assert set(retraining["test"]["maps"]) == {"csrnet", "truth-peak", "map-size"}
    model = load_model(out / "model.safetensors")
    assert model.parameters == retraining["parameters"]
    assert model.facts["validation_mae"] == retraining["chosen"]["validation_mae"]


def test_its_tables_can_be_printed_again(rehearsed, capsys):
    _, out, content = rehearsed
    assert gpu.main(["--table", str(out / "results.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Rehearsal at the smallest sizes; none of this is a figure.")
    for name in [*METHODS, *SMALLEST.networks, "PartialChannel beside NNI DARTS, as it ships: ", "(truth-peak)"]:
        assert f"{name}" in printed
    assert f": {content['parts']['retraining']['curve'][-1]['step']} steps in " in printed
    assert f"MAE {content['parts']['retraining']['test']['constant_mae']:.1f}" in printed


def test_the_readme_has_the_tables_of_the_run_on_a_gpu(capsys):
    folder = Path(gpu.__file__).parent
    assert gpu.main(["--table", str(folder / "on_gpu" / "h200.json")]) == 0
    assert capsys.readouterr().out.strip() in (folder / "README.md").read_text()


def test_a_run_cut_off_while_it_judges_has_the_errors_of_the_counts(rehearsed):
    _, __, content = rehearsed
    whole = content["parts"]["retraining"]["test"]
    counts = {name: whole[name] for name in ("images", "mae", "rmse", "constant_mae")}
    content = {
        **content,
        "parts": {"retraining": {**content["parts"]["retraining"], "test": counts, "state": "running"}},
    }
    printed = tables(content)
    assert f"| {whole['mae']:.1f} | {whole['rmse']:.1f} | – | – (not measured) |" in printed
    assert "**cut off before its end**" in printed


def test_counts_are_judged_before_maps(rehearsed, tmp_path):
    write_shanghaitech(tmp_path / "data")
    counts, all_figures = judge(load_model(rehearsed[1] / "model.safetensors"), ShanghaiTech(tmp_path / "data"), 1)
    assert "psnr" not in counts
    assert "psnr" in all_figures
    assert counts["mae"] == all_figures["mae"]


def test_the_paper_s_size_is_the_paper_s():
    assert (PAPER.cells, PAPER.width, PAPER.crop, PAPER.batch) == (6, 256, 128, 8)
    assert PAPER.image == (768, 1024)
    assert PAPER.batches == (1, 8)
    assert list(PAPER.networks)[:2] == ["AMSNet M=8, C=512", "AMSNet M=8, C=256"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "{data}"], "out: give a folder"),
        (["--data", "{data}", "--out", "{new}", "--minutes", "2"], "minutes: 2; give 3 or more"),
        (["--data", "{data}", "--out", "{new}", "--minutes", "nan"], "minutes: nan; give 3 or more"),
        (["--data", "{data}", "--out", "{new}", "--width", "100"], "width: 100; give a multiple of 16"),
        (["--data", "{data}", "--out", "{data}"], "is not empty; choose another --out"),
        (["--out", "{new}"], "data: give the folder of ShanghaiTech A"),
        (["--data", "{data}", "--out", "{new}"], "device: PyTorch finds no CUDA device here; --rehearse"),
        (["--rehearse", "--data", "{data}", "--out", "{new}"], "no ShanghaiTech A, which has 300 and 182: found 8 "),
        (["--rehearse", "--data", "{empty}", "--out", "{new}"], "holds neither train_data nor test_data"),
        (["--rehearse", "--data", "{new}", "--out", "{new}"], "no such folder or archive"),
        (["--table", "{new}"], "cannot be read"),
        (["--table", "{text}"], "no JSON"),
        (["--length", "3"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_computed(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    places = {name: tmp_path / name for name in ("new", "empty", "text")}
    places["empty"].mkdir()
    places["text"].write_text("no")
    places["data"] = write_shanghaitech(tmp_path / "data", size=32)
    assert gpu.main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not places["new"].exists()


def test_missing_packages_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name in ("nni", "schema") else object())
    assert gpu.main(["--rehearse", "--out", str(tmp_path / "new")]) == 2
    assert "not installed here: nni==3.0, schema; pip install" in capsys.readouterr().err


def test_out_of_memory_is_reported_with_the_size_and_the_next_row_runs(results):
    with results.part("search", 1e9) as part:
        for method in ("large", "small"):
            with part.row("rows", method=method) as row:
                if method == "large":
                    raise OUT_OF_MEMORY
                row["milliseconds"] = 1
    large, small = written(results)["search"]["rows"]
    assert (large["asked"], large["error"]) == ("12.50 GiB", "out of memory: asked for 12.50 GiB")
    assert small == {"method": "small", "milliseconds": 1}
    assert results.failed


def test_a_part_that_fails_says_so_and_the_next_runs(tmp_path, monkeypatch, capsys):
    def fails(error):
        def part(*_):
            raise error

        return part

    monkeypatch.setattr(measure, "search", fails(OUT_OF_MEMORY))
    monkeypatch.setattr(measure, "inference", fails(ValueError("no network\nat all")))
    monkeypatch.setattr(measure, "retraining", lambda part, *_: part.set(network="N"))
    monkeypatch.setattr(measure, "tables", lambda content: "printed")
    assert gpu.main(["--rehearse", "--out", str(tmp_path / "out")]) == 1
    parts = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    assert [part["state"] for part in parts.values()] == ["failed", "failed", "done"]
    assert parts["search"]["asked"] == "12.50 GiB"
    assert parts["inference"]["error"] == "ValueError: no network"
    assert parts["inference"]["traceback"][-1] == "at all"
    assert parts["retraining"]["network"] == "N"
    assert "printed" in capsys.readouterr().out


def test_a_run_cut_off_leaves_what_was_measured(results):
    def cut_off():
        with results.part("search", 1e9) as part:
            with part.row("rows", method="first") as row:
                row["milliseconds"] = 1
            with part.row("rows", method="second"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert written(results)["search"] == {"state": "running", "rows": [{"method": "first", "milliseconds": 1}]}
    content = json.loads(results.path.read_text())
    content["parts"]["search"] |= {"cells": 6, "width": 256, "crop": 128, "batch": 8, "epochs": 80, "images": 1201}
    content["parts"]["search"]["rows"] = [{"method": "first", "error": "out of memory: asked for 12.50 GiB"}]
    content["parts"]["retraining"] = {"state": "running"}
    assert "| first | out of memory: asked for 12.50 GiB |" in tables(content)


def test_a_part_takes_nothing_new_when_its_time_is_over(results):
    with results.part("search", 0.0) as part, part.row("rows", method="late") as row:
        part.need()
        row["milliseconds"] = 1
    assert written(results)["search"]["rows"] == [{"method": "late", "error": "no time was left"}]
