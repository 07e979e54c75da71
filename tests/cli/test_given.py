"""What a call gives is checked at once, under the names that it gave, before torch is imported."""

import subprocess
import sys

import pytest
import yaml

from nni_count.cli import main
from nni_count.cli.given import at_home, by_given_name, check, given

SEARCH = "search --data x --space AMSNetSpace --strategy GDAS --out {out}"


CALLS = {
    f"{SEARCH} --space.cells 4 --crops.size 20 --learning_rate -1 --seed -1 --strategy.temperature [1,-1]": (
        "space.cells: 4; give a whole number from 6 to 64",
        "crops.size: 20; give a multiple of 8",
        "learning_rate: -1;",
        "seed: -1; give a whole number from 0 to 4294967295",
        "strategy.temperature: [1,-1]; give a number above 0",
    ),
    f"{SEARCH} --strategy.k=0 --strategy PartialChannel": ("strategy.k: 0;",),
    "search --space Nothing --strategy no --task None --crop_sise 3 --max_epochs 0": (
        "space: 'Nothing' is unknown; known: AMSNetSpace",
        "strategy: 'no' is unknown; known: DARTS",
        "task: 'None' is unknown",
        "--crop_sise: unknown; did you mean --crop_size?",
        "max_epochs: 0;",
    ),
    "retrain --learning_rate .nan --batch_size many --network unet --network.levels 2 --task.sigma 0 --max_steps 1.5": (
        *("learning_rate: .nan;", "batch_size: many;", "network.levels: 2;", "task.sigma: 0;", "max_steps: 1.5;"),
    ),
    "retrain --gradient_clip .inf --recipe.betas [0.9,1] --average_decay 1 --cache_gb 1e400 --network none": (
        *("gradient_clip: .inf;", "recipe.betas: [0.9,1];", "average_decay: 1;", "cache_gb: 1e400;", "network: 'none'"),
    ),
    "trial --retrain.batch_size 0 --random.steps 0 --validation_fraction 1 --cost.weight -1": (
        *("retrain.batch_size: 0;", "random.steps: 0;", "validation_fraction: 1;", "cost.weight: -1;"),
    ),
    "demo --seed x": ("seed: x; give a whole number",),
    "retrain --learning_rate 1e-400": ("learning_rate: 1e-400; give a number above 0",),
    "retrain --crop_size 32 --crops.size 64": ("crop_size and crops.size: are one setting; give one of them",),
    "doctor --data.max_side 3": ("data.max_side: 3; give a whole number from 16",),
}


@pytest.mark.parametrize("line", CALLS)
def test_all_faults_are_told_at_once_by_the_names_that_were_given(tmp_path, capsys, line):
    assert main(line.format(out=tmp_path / "out").split()) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert all(fault in error for fault in CALLS[line]), error


def test_a_configuration_is_checked_likewise(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        "space: {class_path: search_spaces.amsnet.AMSNetSpace, init_args: {cells: 5}}\ncrops: {size: 12}\nseed: -3\n"
        "strategy: Nope\nbudget: {early_stop: {skips: 0}}\n"
    )
    assert main(["search", "--config", str(tmp_path / "c.yaml"), "--batch_size", "0"]) == 2
    error = capsys.readouterr().err
    for fault in (
        "space.cells: 5",
        "crops.size: 12",
        "seed: -3",
        "'Nope' is unknown",
        "early_stop.skips: 0",
        "batch_size: 0",
    ):
        assert fault in error
    for content in ("d: 2001-01-01", "[1]", "3: 4", "\xff", "a: &a [*a]", ""):
        (tmp_path / "c.yaml").write_text(content, encoding="latin-1")
        assert main(["search", "--config", str(tmp_path / "c.yaml")]) == 2
        assert f"config: {tmp_path}/c.yaml: " in capsys.readouterr().err
    assert main(["search", "--config", str(tmp_path)]) == 2
    assert main(["search", "--config"]) == 2


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("crops: {size: 64}\ncrop_size: 96\n", "crop_size and crops.size"),
        ("fold: 1\ndata: {path: x, fold: 2}\n", "data.fold and fold"),
        ("recipe: {learning_rate: 1}\nlearning_rate: 2\n", "learning_rate and recipe.learning_rate"),
    ],
)
def test_a_setting_under_two_names_in_one_file_is_refused(tmp_path, capsys, content, names):
    (tmp_path / "c.yaml").write_text(content)
    assert main(["retrain", "--config", str(tmp_path / "c.yaml")]) == 2
    assert f"{names}: are one setting; give one of them" in capsys.readouterr().err


def test_the_command_line_may_change_what_a_configuration_has_under_another_name(tmp_path):
    (tmp_path / "c.yaml").write_text("crops: {size: 64}\n")
    line = ["--config", str(tmp_path / "c.yaml"), "--crop_size", "96", "--crop_size", "32"]
    assert check("nni_count.commands.retrain.retrain", line)


def test_it_is_quick():
    code = (
        "import sys; from nni_count.cli import main\n"
        "main(['search', '--space', 'AMSNetSpace', '--space.cells', '4'])\n"
        "main(['search', '--space.help', 'AMSNetSpace'])\n"
        "sys.exit(len({'torch', 'nni', 'search_spaces'} & {*sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "space.cells: 4" in run.stderr
    assert "--space.width" in run.stdout


def test_the_home_folder_is_found_in_every_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at_home("~/x") == at_home(["~/x"])[0] == at_home({"a": {"b": "~/x"}})["a"]["b"] == f"{tmp_path}/x"
    assert at_home("--out=~/x") == f"--out={tmp_path}/x"
    assert at_home("{path: ~/x, fold: 2}") == f"{{path: {tmp_path}/x, fold: 2}}"
    for value in ("~", "a~/x", "~nobody-here/x", "x~", "--taps=~"):
        assert at_home(value) == value
    (tmp_path / "c.yaml").write_text("out: ~/x\ndata: {path: ~/d, train_list: ~/l}\narchitecture: ~/a.yaml\n")
    for line in (
        ["--config", "~/c.yaml"],
        ["--out=~/x", "--data", "{path: ~/d, train_list: ~/l}", "--architecture=~/a.yaml"],
    ):
        with pytest.raises(SystemExit):
            main(["retrain", *line, "--print_config"])
        told = yaml.safe_load(capsys.readouterr().out)
        assert told["out"] == f"{tmp_path}/x"
        assert told["data"] == {"path": f"{tmp_path}/d", "train_list": f"{tmp_path}/l"}
        assert told["architecture"] == f"{tmp_path}/a.yaml"


def test_settings_are_known_by_the_names_that_were_given():
    assert given(["--a", "-1", "--b=2", "--resume", "--c", "x"]) == {"a": "-1", "b": "2", "resume": "true", "c": "x"}
    assert by_given_name("network.width: 17; no", ["space.width", "seed"]) == "space.width: 17; no"
    assert by_given_name("crop_size: 17; no", ["crops.size"]) == "crops.size: 17; no"
    assert by_given_name("crop_size: 17; no", ["seed"]) == "crop_size: 17; no"
    assert by_given_name("max_steps: 0", ["max_steps", "retrain.max_steps"]) == "max_steps: 0"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("search --space.help AMSNetSpace", "--space.edges_per_node"),
        ("search --strategy.help PartialChannel", "--strategy.k"),
        ("search --strategy.help=gdas", "--strategy.temperature"),
        ("retrain --data.help VOC", "--data.test_fraction"),
        ("retrain --network.help unet", "--network.levels"),
        ("retrain --task.help Counting", "--task.sigma"),
        ("search --strategy.help", "--strategy.arc_learning_rate"),
    ],
)
def test_the_settings_of_one_thing_are_told_by_its_short_name(capsys, line, told):
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert told in out
    assert "--seed" not in out
    name = line.split()[1].partition("=")[0]
    assert main([line.split()[0], name, "Nothing"]) == 2
    assert "'Nothing' is unknown; known: " in capsys.readouterr().err
    assert main(["search", "--seed.help"]) == 2
