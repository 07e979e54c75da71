"""Train and judge the rows of a table, and set what was measured beside what was published.

Run: python examples/paper/run.py examples/paper/table_2.yaml --data part_A_final --out runs/table_2

A table is a YAML file: ``common`` settings of ``nni-count retrain`` and, under ``rows``, what differs by row. Every row
is a run of ``nni-count retrain`` and one of ``nni-count evaluate`` in ``OUT/<row>/``; the configuration that did it
stands there. Rows that are done are skipped and an interrupted one goes on, so the same command continues. With
``--seeds 3`` each row is trained with the seeds 0, 1 and 2, and its figures are their means ± standard deviation.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nni_count.cli import main as nni_count
from nni_count.comparing.published import SHA, Published, counterpart, dataset_of, notes
from nni_count.model import load_model

FIGURES = {"mae": ".1f", "rmse": ".1f", "psnr": ".2f", "ssim": ".3f"}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    table = yaml.safe_load(options.table.read_text(encoding="utf-8"))
    title = table.get("title", options.table.stem)
    if options.results:
        print(_text_of(title, json.loads(options.results.read_text(encoding="utf-8"))))
        return 0
    rows = {name: {**table.get("common", {}), **row} for name, row in table["rows"].items()}
    unknown = [name for name in options.rows or () if name not in rows]
    if unknown:
        sys.exit(f"--rows: {unknown[0]!r} is unknown; known: {', '.join(rows)}")
    reports: dict[str, list[dict[str, Any]]] = {}
    failed = []
    for repeat in _repeats(options):
        for name in options.rows or rows:
            if name in failed:
                continue
            report = _row(name, rows[name], options, repeat)
            if report is None:  # its reason is on stderr; the other rows are worth having
                failed.append(name)
                continue
            reports.setdefault(name, []).append(report)
            _write(options.out, title, reports)
    if reports:
        print((options.out / "table.md").read_text(encoding="utf-8"))
        print(f"written to {options.out}")
    if failed:
        print(f"failed, see above: {', '.join(failed)}; the same command tries again", file=sys.stderr)
    return 2 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="the table, e.g. examples/paper/table_2.yaml")
    parser.add_argument("--data", help="folder of the data set, or synthetic")
    parser.add_argument("--out", type=Path, help="folder of all rows")
    parser.add_argument("--results", type=Path, help="print the table of a results.json, and train nothing")
    parser.add_argument("--max_time", help="to train each row, DD:HH:MM:SS; else as the table says")
    parser.add_argument("--architecture", type=Path, help="cells of all rows that have some; else the table's")
    parser.add_argument("--rows", nargs="+", help="only these rows, by name")
    parser.add_argument("--folds", type=int, default=1, help="5 for UCF_CC_50: each row is trained on every fold")
    parser.add_argument("--seeds", type=int, default=1, help="each row is trained with seeds 0, 1, ..., so many")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of retrain, for all rows")
    parser.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--validation", action="store_true", help="leave the test part alone: validation figures only")
    options = parser.parse_args(arguments)
    if not options.results and not (options.data and options.out):
        parser.error("give --data and --out, or --results")
    return options


def _repeats(options: argparse.Namespace) -> list[dict[str, int]]:
    """What differs between the trainings of a row: the fold, the seed."""
    folds = [{"fold": fold} for fold in range(1, options.folds + 1)] if options.folds > 1 else [{}]
    seeds = [{"seed": seed} for seed in range(options.seeds)] if options.seeds > 1 else [{}]
    return [{**fold, **seed} for fold in folds for seed in seeds]


def _row(
    name: str, settings: dict[str, Any], options: argparse.Namespace, repeat: Mapping[str, int]
) -> dict[str, Any] | None:
    """Train and judge a row as far as it is not done: its report, or None where a command failed."""
    folder = options.out / re.sub(r"\W+", "_", name).strip("_") / "_".join(f"{of}_{n}" for of, n in repeat.items())
    folder.mkdir(parents=True, exist_ok=True)
    model, test = folder / "retrain" / "model.safetensors", folder / "test"
    of_data = [f"--{text}" for text in options.set if text.startswith("data.")]
    common = [f"--data={options.data}", *of_data, f"--accelerator={options.accelerator}"]
    common += [f"--data.fold={repeat['fold']}"] if "fold" in repeat else []
    seed = [f"--seed={repeat['seed']}"] if "seed" in repeat else []
    if not model.is_file():
        (folder / "retrain.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        resume = ["--resume"] if (folder / "retrain" / "checkpoints" / "last.ckpt").is_file() else []
        if not resume:
            shutil.rmtree(folder / "retrain", ignore_errors=True)
        others = [*common, *_of_retraining(settings, options), *seed, f"--out={folder / 'retrain'}", *resume]
        if _call(["retrain", f"--config={folder / 'retrain.yaml'}", *others]):
            return None
    if options.validation:
        trained = load_model(model)
        return {
            "data": trained.facts["data"],
            "split": "validation",
            "network": {"name": trained.name, "settings": trained.network.settings},
            "model": trained.facts,
            "mae": trained.facts["validation_mae"],
            "parameters": trained.parameters,
        }
    if not (test / "evaluation.json").is_file():
        shutil.rmtree(test, ignore_errors=True)
        if _call(["evaluate", f"--model={model}", *common, f"--out={test}"]):
            return None
    report: dict[str, Any] = json.loads((test / "evaluation.json").read_text(encoding="utf-8"))
    return report


def _of_retraining(settings: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """What the command line says in place of a row's settings; its files as seen from here."""
    others = [f"--{text}" for text in options.set if not text.startswith("data.")]
    if "architecture" in settings:
        found = options.architecture or (options.table.parent / settings["architecture"]).resolve()
        others.append(f"--architecture={found}")
    if options.max_time:
        others += ["--max_epochs=null", "--max_steps=null", f"--max_time={options.max_time}"]
    return others


def _call(line: list[str]) -> int:
    print("nni-count " + " ".join(line), flush=True)
    return nni_count(line)


def _write(out: Path, title: str, reports: Mapping[str, list[dict[str, Any]]]) -> None:
    """``table.md``, ``results.json`` and ``parameters.png`` of the rows so far."""
    means = {name: _mean(folds) for name, folds in reports.items()}
    (out / "results.json").write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(_text_of(title, means), encoding="utf-8")
    if len(means) > 1:
        _draw(means, out / "parameters.png")


def _text_of(title: str, means: Mapping[str, dict[str, Any]]) -> str:
    """The table, and what differs from the published figures."""
    lines = [f"# {title}", "", *_table(means), ""]
    for name, report in means.items():
        row = counterpart(report)
        if row is not None:
            lines += [f"{name}, published as {row.method} ({row.table}):", ""]
            lines += [*(f"- {note}" for note in notes(report, row)), ""]
    return "\n".join(lines)


def _mean(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """The first training's report with the mean figures of all."""
    first = repeats[0]
    if len(repeats) == 1:
        return first
    numbers = {
        name: float(np.mean([report[name] for report in repeats]))
        for name in (*FIGURES, "seconds_per_image", "group_mae")
        if all(report.get(name) is not None for report in repeats)
    }
    models = [report["model"] for report in repeats]
    trained = {name: float(np.mean([model[name] for model in models])) for name in ("seconds", "steps")}
    found = {
        "maes": [report.get("group_mae", report["mae"]) for report in repeats],
        "seeds": sorted({model["seed"] for model in models}),
    }
    return {**first, **numbers, **found, "model": {**first["model"], **trained}, "mae_interval": None}


def _table(reports: Mapping[str, dict[str, Any]]) -> list[str]:
    first = next(iter(reports.values()))
    protocol, scenes = first.get("map_protocol", "no maps"), list(first.get("groups", ()))
    head = [
        "",
        "parameters",
        "training",
        "MAE",
        "95% interval",
        "RMSE",
        f"PSNR ({protocol})",
        f"SSIM ({protocol})",
        "s/image",
    ]
    head += [f"MAE {scene}" for scene in scenes]
    head += [f"published {name}" for name in ("MAE", "RMSE", "PSNR", "SSIM", "parameters")]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, report in reports.items():
        facts, low_high = report["model"], report.get("mae_interval")
        mae = report.get("group_mae", report["mae"])
        seconds = report.get("seconds_per_image")
        cells = [
            name,
            f"{report['parameters']:,}",
            f"{facts['seconds'] / 60:.1f} min, {facts['steps']:,.0f} steps",
            f"{mae:.1f} ± {np.std(report['maes'], ddof=1):.1f}" if "maes" in report else f"{mae:.1f}",
            "" if low_high is None else f"{low_high[0]:.1f}–{low_high[1]:.1f}",
            *(_text(report.get(figure), form) for figure, form in list(FIGURES.items())[1:]),
            _text(seconds, ".2f"),
            *(f"{report['groups'][scene]['mae']:.1f}" for scene in scenes),
            *_published(counterpart(report)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if first.get("constant_mae") is not None:
        lines += ["", f"Always the training mean: MAE {first['constant_mae']:.1f}."]
    seeds = ", ".join(map(str, first.get("seeds", [first["model"]["seed"]])))
    return [*lines, "", f"{first['data']}, {first['split']} part; seed {seeds}."]


def _published(row: Published | None) -> list[str]:
    if row is None:
        return [""] * (len(FIGURES) + 1)
    size = "" if row.parameters is None else f"{row.parameters / 1e6:.2f}M"
    return [*(_text(getattr(row, figure), form) for figure, form in FIGURES.items()), size]


def _text(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _draw(reports: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Parameters against MAE (figure 5), the published points hollow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, report in reports.items():
        (shown,) = axes.plot(report["parameters"], report["mae"], "o")
        axes.annotate(
            name, (report["parameters"], report["mae"]), fontsize=8, xytext=(4, 4), textcoords="offset points"
        )
        row = counterpart(report)
        if row is not None and row.parameters and dataset_of(report["data"]) == SHA:
            axes.plot(row.parameters, row.mae, "o", markerfacecolor="none", color=shown.get_color())
    axes.set(xlabel="parameters", ylabel="MAE", xscale="log", title="measured (filled), published (hollow)")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
