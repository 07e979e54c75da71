"""Whatever an error advises in the form of an option or a command works when it is tried."""

import ast
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from conftest import LIGHT, random_architecture
from data.layouts import HEIGHT, WIDTH, write
from docs.pages import ROOT
from docs.test_how_it_works import PACKAGES
from PIL import Image

from nni_count.architecture import write_architecture
from nni_count.cli import COMMANDS, main
from nni_count.cli.help import rows
from nni_count.errors import SettingError
from nni_count.networks import create, initialise
from nni_count.searching.warm_up import WarmUp
from nni_count.training.names import dotted
from nni_count.training.settings import Budget

ON = "--crop_size 32 --batch_size 2 --accelerator cpu --max_steps 1"
SMALL = f"--data synthetic --data.train 6 --data.test 2 --data.size 32 {ON}"
CLASSES = "nni_count.tasks.classes.CountingClasses"
MCNN = f"retrain {SMALL} --network mcnn --out"
SEARCH = (
    "--data synthetic --data.train 12 --data.size 32 --crop_size 32 --batch_size 2 --accelerator cpu --max_epochs 1"
)
SEARCH += " --space AMSNetSpace --space.width 16 --space.map_stride 4 --limit_train_batches 1"
ALL = "--model {model} --split all"
#: what is said → a call that leads to it, and what it advises; ``new`` is a folder that is not there yet
TRIED = {
    r"needs the cells that a search found; give --architecture FILE": (
        f"retrain {SMALL} --out {{new}}",
        f"retrain {SMALL} --out {{new}} --architecture {{cells}}",
    ),
    r"takes no cells; leave out --architecture": (f"{MCNN} {{new}} --architecture {{cells}}", f"{MCNN} {{new}}"),
    r"^check the path or give --data.format|; check the path or give --data.format": (
        f"evaluate --data {{bare}} {ALL}",
        f"evaluate --data {{bare}} {ALL} --data.format voc",
    ),
    r"fits .*; say which with --data.format": (
        f"evaluate --data {{two}} {ALL}",
        f"evaluate --data {{two}} {ALL} --data.format voc",
    ),
    r"data: .* without a path; give --data FOLDER": (
        "doctor --data.max_side 100",
        "doctor --data.max_side 100 --data {csv}",
    ),
    r"say which is meant with --data.page \(predict: --page\) 1 to": (
        "predict {pages}/images/a.tif --model {model}",
        "predict {pages}/images/a.tif --model {model} --page 2",
        f"evaluate --data {{pages}} {ALL}",
        f"evaluate --data {{pages}} {ALL} --data.page 1",
    ),
    r"has 16 bits.* say which value is white with --data.white \(predict: --white\), such as": (
        "predict {deep}/images/a.png --model {model}",
        "predict {deep}/images/a.png --model {model} --white 4095",
        f"evaluate --data {{deep}} {ALL}",
        f"evaluate --data {{deep}} {ALL} --data.white 4095",
    ),
    r"both annotate the part .*; name the one that is meant with --data.annotations": (
        "evaluate --data {coco} --model {model} --split train",
        "evaluate --data {coco} --model {model} --split train --data.annotations a_train",
    ),
    r"says neither train, .*; name those that are meant with --data.annotations": (
        "evaluate --data {coco_all} --model {model} --split train",
        "evaluate --data {coco_all} --model {model} --split train --data.annotations a_train",
    ),
    r"no file of annotations fits; check --data.annotations": (
        f"evaluate --data {{two}} {ALL} --data.format coco --data.annotations x",
        f"evaluate --data {{two}} {ALL} --data.format coco --data.annotations instances",
    ),
    r"is no points, box or ellipse; .* give another label with --data.label": (
        f"evaluate --data {{cvat}} {ALL}",
        f"evaluate --data {{cvat}} {ALL} --data.label head",
    ),
    r"is no point, rectangle or circle; .* give another label with --data.label": (
        f"evaluate --data {{labelme}} {ALL}",
        f"evaluate --data {{labelme}} {ALL} --data.label head",
    ),
    r"give data that has them .*, or leave --task out": (
        f"retrain --data {{csv}} {ON} --network mcnn --out {{new}} --task {CLASSES} --task.classes [a]",
        f"retrain --data {{csv}} {ON} --network mcnn --out {{new}}",
    ),
    r"task.classes: none; give the labels to count, which nni-count doctor lists": (
        f"{MCNN} {{new}} --task {CLASSES} --task.classes []",
        "doctor --data {two} --data.format voc",
    ),
    r"give --data.frame stored if they were set on the stored pixels": (
        f"evaluate --data {{mirrored}} {ALL}",
        f"evaluate --data {{mirrored}} {ALL} --data.frame stored",
    ),
    r"give --data.frame shown if they were set on the photo": (
        f"evaluate --data {{turned}} {ALL}",
        f"evaluate --data {{turned}} {ALL} --data.frame shown",
    ),
    r"moved to the border \(--data.outside clamp, drop or keep\)|{} \(--data.outside": (
        f"evaluate --data {{outside}} {ALL}",
        f"evaluate --data {{outside}} {ALL} --data.outside keep",
    ),
    r"is not empty; choose another --out(, or|{})|^, or continue that run with --resume": (
        f"{MCNN} {{used}}",
        f"{MCNN} {{used}} --resume",
    ),
    r"is not empty; choose another --out($|{})": (
        "doctor --data {csv} --out {used}",
        "doctor --data {csv} --out {new}",
    ),
    r"holds no run to resume; leave out --resume": (f"{MCNN} {{new}} --resume", f"{MCNN} {{new}}"),
    r"holds a run of .*, not of .*; choose another --out": (f"{MCNN} {{evaluation}} --resume", f"{MCNN} {{new}}"),
    r"cannot be read .*; begin the run again in another --out": (
        f"{MCNN} {{broken}} --resume",
        f"{MCNN} {{new}}",
    ),
    r"cannot be read; restore it, or begin again in another --out": (
        f"{MCNN} {{torn}} --resume",
        f"{MCNN} {{new}}",
    ),
    r"was begun with .*; restore it, or begin again in another --out": (
        f"{MCNN} {{changed}} --resume",
        f"{MCNN} {{new}}",
    ),
    r"cannot be written .*; choose another --out": (f"{MCNN} {{model}}/out", f"{MCNN} {{new}}"),
    r"nni-count .* --help lists the settings": ("doctor --data {csv} --foo 3", "doctor --help"),
    r"--.*.help: nothing of .* has settings of that name; see --help": ("doctor --foo.help", "doctor --help"),
    r"retrain: .*\(nni-count retrain --help lists them\)": (
        f"trial {SEARCH} --strategy DARTS --retrain.foo 1 --out {{new}}",
        "retrain --help",
    ),
    r"give a model.safetensors that nni-count retrain wrote": (
        "predict {csv}/images --model {cells}",
        "predict {csv}/images --model {model}",
    ),
    r"holds no result of nni-count trial or evaluate .*; leave it out": (
        "compare {odd_evaluation} --out {new}",
        "compare {evaluation} --out {new}",
    ),
    r"result.json: no result of nni-count trial .*; leave it out": (
        "compare {odd_trial} --out {new}",
        "compare {evaluation} --out {new}",
    ),
    r"--.*: unknown; did you mean --": ("doctor --dat {csv}", "doctor --data {csv}"),
    r"^--.*help: .* is unknown; known:|--space.help: .* is unknown": (
        "search --space.help Foo",
        "search --space.help AMSNetSpace",
    ),
}
#: what is said → the test in which the advice is followed
ELSEWHERE = {
    r"interrupted after step .*; continue with --resume|^continue with --resume|; continue with --resume if the run": (
        "commands/test_retrain.py::test_an_interrupted_run_continues_to_the_same_model"
    ),
    r"stopped before the end of its first epoch; continue it with --resume": (
        "commands/test_search.py::test_an_interrupted_first_epoch_can_be_resumed"
    ),
    r"interrupted; --resume begins epoch": "commands/test_search.py::test_an_interrupted_first_epoch_can_be_resumed",
    r"interrupted in its decoding by perturbation; continue with --resume, or nni-count decode": (
        "commands/test_decode.py::test_a_search_decodes_by_perturbation_as_decode_does_later"
    ),
    r"are not here, or come from a class; give --data": (
        "commands/test_decode.py::test_what_cannot_be_perturbed_is_said_before_anything_is_computed"
    ),
    r"--precision int8 finds its ranges in images; give --data with it": "commands/test_export.py::test_eight_bits",
    r"give what nni-count export wrote": ("model/test_exported.py::test_commands_take_it_as_they_take_the_model"),
    r"no --model is given": "model/test_named.py::test_predict_says_which_it_takes",
    r"are written into --out; give that folder too": (
        "commands/test_predict.py::test_maps_are_kept_where_they_are_asked_for"
    ),
    r"Trainings tell more: --verify.candidates 8": (
        "searching/test_verification.py::test_a_search_ends_with_the_best_of_its_candidates"
    ),
    r"interrupted in its verification; continue with --resume": (
        "searching/test_verification.py::test_a_search_ends_with_the_best_of_its_candidates"
    ),
    r"interrupted after .* trials; continue with --resume": (
        "searching/multi_trial/test_multi_trial.py::test_a_search_is_interrupted_cleans_up_and_is_resumed"
    ),
    r"stopped after .* trials; start nni-count work again|has not been heard of for .* waiting for its --resume": (
        "searching/multi_trial/test_engines.py::test_workers_outlive_a_killed_search_and_what_they_end_is_counted"
    ),
    r"interrupted; nni-count trial --config .*/config.yaml --resume goes on": (
        "commands/test_trial.py::test_an_interrupted_trial_goes_on_to_the_same_result"
    ),
    r"^the state before it is whole: mv": "runs/test_checkpoints.py::test_every_damage_is_told_and_the_remedy_works",
    r"the last good checkpoint is kept. Lower --learning_rate": (
        "commands/test_retrain.py::test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint"
    ),
    r"the checkpoint of the epoch before is kept. Lower --learning_rate": (
        "commands/test_search.py::test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint"
    ),
    r"give --space with that of the table": (
        "searching/multi_trial/test_simulation.py::test_a_table_of_another_space_is_refused"
    ),
    r"nni-count search --strategy.help .* lists them": (
        "cli/test_given.py::test_the_settings_of_one_thing_are_told_by_its_short_name"
    ),
    r"where you know it, give --.*_class .*, or import it before": (
        "tasks/test_task.py::test_a_model_file_imports_nothing_and_runs_nothing_but_a_task"
    ),
    r"the network has no head for bins; give --task.bins": "commands/test_retrain.py::test_bins_and_a_loss_are_options",
    r"architecture differ is not known": "commands/test_compare.py::test_what_chance_in_a_training_hides_is_said",
    r"remove it, and --resume does that part again": (
        "commands/test_trial.py::test_a_damaged_state_of_a_part_is_told_and_the_remedy_works"
    ),
    r"cannot be had .*; choose another --port, or --host|what nni-count export wrote$": (
        "commands/test_app.py::test_what_is_in_the_way_is_told_before_anything_heavy_is_imported"
    ),
    r"correct --trials.slurm, or wait until it takes jobs": (
        "searching/multi_trial/test_engines.py::test_slurm_that_takes_no_job_is_a_line"
    ),
    r"start it by torchrun, by srun": "training/test_meeting.py::test_which_of_the_processes_this_is",
    r"write one with nnictl experiment export": "commands/test_compare.py::test_an_exported_experiment_is_read",
}
#: settings that are advised without a value → the commands that may say so
SETTINGS = {
    r"lower --batch_size, --crop_size or --cache_gb": ("retrain", "search", "trial"),
    r"lower --data.max_side": ("evaluate", "doctor"),
    r"with --data.max_side": ("evaluate", "doctor", "retrain", "search", "trial"),
    r"lower --num_workers": ("retrain", "search", "trial"),
    r"run it again in another --out": ("demo", "decode", "evaluate", "predict", "compare", "doctor"),
    r"give a time, --random.seconds, or a number of architectures, --random.evaluations": ("trial",),
    r"raise --max_epochs": ("search", "trial"),
    r"; lower --learning_rate": ("search",),
    r"or --precision 32-true": ("retrain", "search", "trial"),
    r"train longer, with --frozen_norms 0.4, on more images": ("retrain",),
}
#: made by these functions alone, as a command would on its way → as they advise
MADE = {
    r"AMSNet's .* needs the cells that a search found; give --architecture FILE": (
        lambda cells: create("ablation", encoder="amsnet"),
        lambda cells: create("ablation", cells, encoder="amsnet"),
    ),
    r"weights are for 3 channels, .*; choose --network.pretrained false": (
        lambda cells: create("csrnet", in_channels=1, pretrained=True),
        lambda cells: create("csrnet", in_channels=1, pretrained=False),
    ),
    r"could not be downloaded .*; go online once, or choose --network.pretrained false": (
        lambda cells: create("csrnet", pretrained=True),
        lambda cells: create("csrnet", pretrained=False),
    ),
    r"give a file with --network.trunk_weights, or": (
        lambda cells: initialise(create("amsnet", cells, width=16, trunk="efficientnet_lite0")),
        lambda cells: initialise(create("amsnet", cells, width=16, trunk="efficientnet_lite0", trunk_weights="none")),
    ),
    r"would leave none in which α is trained; .* or a share of the search such as 0.5, or raise --max_epochs": (
        lambda cells: WarmUp(2, 2, None),
        lambda cells: (WarmUp(2, 3, None), WarmUp(0.5, 2, Budget().timer())),
    ),
}
#: advise nothing of ours, or are no errors
OTHERS = (
    r"^usage: |^  --|^nni-count \{\}|^# nni-count|Names are those of a configuration|key value|--require",
    r"nnictl resume|nnictl's",
    r"neither a finished run|holds trials with other figures|and nni-count compare reads them there|with --out FOLDER",
)


def advice():
    """All texts of the packages, but for docstrings, in which an option or a command stands."""
    for file in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inner |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [getattr(part, "value", None) if isinstance(part, ast.Constant) else "{}" for part in parts]
            text = "".join(part for part in texts if isinstance(part, str))
            if id(node) not in inner and " " in text and re.search(r"(?<![\w-])--[a-z{]|nni-count [a-z{]|nnictl", text):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", text


def test_no_advice_is_untried():
    """A new message that names an option or a command needs a line in one of the tables above."""
    tried = [*TRIED, *ELSEWHERE, *SETTINGS, *MADE, *OTHERS]
    untried = [f"{place}: {text}" for place, text in advice() if not any(re.search(one, text) for one in tried)]
    assert not untried, "\n".join(untried)
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), place


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders and files by the names that the calls have for them."""
    root = tmp_path_factory.mktemp("remedies")
    points = [np.array([[5.5, 6.5], [20, 30]]), *(np.array([[n + 9.0, 7], [30, n + 20]]) for n in range(4))]
    for name in ("csv", "pages", "deep", "turned", "outside"):
        write("csv", root / name, points)
    for layout in ("cvat", "labelme", "coco"):
        write(layout, root / layout, points)
    _add_images(root)
    _spoil_annotations(root, points)
    write_architecture(random_architecture(0, LIGHT), root / "cells.yaml")
    found = {path.name: path for path in root.iterdir() if path.is_dir()}
    assert main([*MCNN.split(), str(root / "used")]) == 0
    for name, file in (("broken", "config.yaml"), ("torn", "images.json")):
        shutil.copytree(root / "used", root / name)
        (root / name / file).write_text("[")
    shutil.copytree(root / "used", root / "changed")
    images = json.loads((root / "used" / "images.json").read_text())
    (root / "changed" / "images.json").write_text(json.dumps([dict.fromkeys(part, "other") for part in images]))
    names = ("used", "broken", "torn", "changed", "evaluation", "odd_evaluation", "odd_trial")
    found |= {name: root / name for name in names}
    found |= {"cells": root / "cells.yaml", "model": root / "used" / "model.safetensors"}
    evaluate = f"evaluate --data {root}/csv --model {found['model']} --out {root}/evaluation"
    assert main(evaluate.split()) == 0
    for name, file in (("odd_evaluation", "evaluation.json"), ("odd_trial", "result.json")):
        found[name].mkdir()
        (found[name] / file).write_text("{}")
    return found


def _add_images(root):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwritemulti(str(root / "pages" / "images" / "a.tif"), [noise, noise])
    cv2.imwrite(str(root / "deep" / "images" / "a.png"), noise.astype(np.uint16) * 16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(root / "turned" / "images" / "a.jpg", exif=exif)
    exif[0x0112] = 2
    (root / "mirrored").mkdir()
    rows = ["image,x,y,image_width,image_height"]
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.fromarray(noise).save(root / "mirrored" / name, exif=exif)
        rows.append(f"{name},3,4,{WIDTH},{HEIGHT}")
    (root / "mirrored" / "a.csv").write_text("\n".join(rows))
    cv2.imwrite(str(root / "outside" / "images" / "a.png"), noise)
    for name in ("pages", "deep", "turned", "outside"):
        (root / name / "points" / "a.csv").write_text(f"3,4\n{'900,4' if name == 'outside' else '9,4'}\n")


def _spoil_annotations(root, points):
    instances = root / "coco" / "annotations" / "instances.json"
    documents = write("voc", root / "bare", points).annotations
    for document in documents:  # of a root of another name
        document.write_text(document.read_text().replace("annotation>", "notes>"))
    shutil.copytree(root / "coco" / "images", root / "two" / "images")
    shutil.copy(instances, root / "two")
    (root / "two" / "Annotations").mkdir()
    for number, document in enumerate(documents):
        text = document.read_text().replace("notes>", "annotation>")
        (root / "two" / "Annotations" / f"{number:012d}.xml").write_text(text)
    shutil.copytree(root / "coco", root / "coco_all")
    shutil.copy(instances, root / "coco_all" / "annotations" / "a_train.json")
    shutil.copy(instances, instances.with_name("b_train.json"))
    instances.rename(instances.with_name("a_train.json"))
    document = root / "cvat" / "annotations.xml"
    other = '<polygon label="other" points="1,1;9,1;9,9"/></image>'
    document.write_text(document.read_text().replace("</image>", other, 1))
    document = sorted((root / "labelme").glob("*.json"))[0]
    content = json.loads(document.read_text())
    content["shapes"].append({"label": "other", "shape_type": "polygon", "points": [[1, 1], [9, 1], [9, 9]]})
    document.write_text(json.dumps(content))


@pytest.mark.parametrize("said", TRIED)
def test_what_is_advised_works(said, places, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = TRIED[said]
    for number, (wrong, advised) in enumerate(zip(calls[::2], calls[1::2], strict=True)):
        places = {**places, "new": tmp_path / f"new{number}"}
        main(wrong.format(**places).split())
        assert re.search(said, capsys.readouterr().err.strip(), re.MULTILINE), wrong
        shutil.rmtree(places["new"], ignore_errors=True)
        assert main(advised.format(**places).split()) == 0, capsys.readouterr().err
        assert not re.search(said, capsys.readouterr().err), advised


@pytest.mark.parametrize("said", MADE)
def test_what_functions_advise_works(said, architecture, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    wrong, advised = MADE[said]
    with torch.device("meta"):
        with pytest.raises(SettingError, match=said):
            wrong(architecture)
        advised(architecture)


def test_settings_that_are_advised_exist():
    for said, names in SETTINGS.items():
        for command in names:
            where = COMMANDS[command][0].replace(":", ".")
            known = {row.name for row in rows(where, ["--data=VOC"])}
            for option in re.findall(r"--([a-z_.]+)", said):
                assert {option, dotted(option, ())} & known, (command, option)
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
