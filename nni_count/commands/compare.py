"""Comparison: runs of several strategies and seeds become a table, with what can be said from it and what cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import tukey_hsd

from nni_count.architecture import read_architecture
from nni_count.comparing.experiments import (
    DATABASE,
    NNITrial,
    find_experiment,
    read_experiment,
    read_export,
    unfinished,
)
from nni_count.comparing.published import counterpart, notes
from nni_count.errors import RunError
from nni_count.pictures.comparisons import draw_comparison, draw_side_by_side
from nni_count.runs.files import write_text
from nni_count.runs.run import open_run
from nni_count.runs.tables import write_table

LEVEL = 0.05  # of significance, for all pairs together

FIGURES = ("mae", "rmse", "parameters", "flops", "search_seconds", "memory_mb")


@dataclass(frozen=True)
class Result:
    """What came of a trial; figures that are not known are NaN.

    Args:
        strategy: by which it searched.
        seed: of the run.
        figures: ``mae``, ``rmse``, ``parameters``, ``flops``, ``search_seconds``, ``memory_mb``.
        facts: how they were obtained, as ``result.json`` has them; empty where only NNI's figures are known.
        folder: its run folder, where it is on this machine.
    """

    strategy: str
    seed: Any
    figures: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def compare(runs: Sequence[str | Path], *, out: str | Path) -> str:
    """Set runs beside one another: strategies over seeds, and evaluations beside the published figures.

    Args:
        runs: run folders of ``nni-count trial`` or ``nni-count evaluate``; NNI experiments, live or finished, by id or
            folder; or what ``nnictl experiment export`` wrote.
        out: run folder; gets ``comparison.md``, and for trials ``comparison.csv`` (a strategy a row), ``runs.csv`` (a
            run a row), ``compare.png`` and ``cells.png`` (the best run of each strategy).

    Returns:
        The text of ``comparison.md``.

    Raises:
        RunError: a source is none of these, or has no finished trial.
    """
    results: list[Result] = []
    evaluations: dict[str, dict[str, Any]] = {}
    remarks: list[str] = []
    for source in map(str, runs):
        folder = Path(source)
        if (folder / "evaluation.json").is_file():
            evaluations[source] = _load(folder / "evaluation.json")
        elif (folder / "result.json").is_file():
            results.append(_of_folder(folder))
        else:
            found, left = _of_experiment(source, folder)
            results += found
            remarks += left
    # a run that is named twice, say by its folder and by its experiment, counts once
    results = list({result.folder.resolve() if result.folder else id(result): result for result in results}.values())
    run = open_run(out, "compare", {"runs": [str(source) for source in runs], "out": out})
    parts = []
    if results:
        parts.append(_compare_trials(results, run.folder) + "".join(f"\n{remark}\n" for remark in remarks))
    if evaluations:
        parts.append(beside_published(evaluations))
    text = "\n".join(parts)
    write_text(run.folder / "comparison.md", text)
    return text


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); run it again, or leave it out") from error
    return loaded


def _of_folder(folder: Path) -> Result:
    facts = _load(folder / "result.json")
    try:
        figures = {name: float(facts[name]) for name in FIGURES}
        return Result(facts["strategy"], facts["seed"], figures, facts, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder}/result.json: no result of nni-count trial that counts ({error!r})") from error


def _of_experiment(source: str, path: Path) -> tuple[list[Result], list[str]]:
    """The finished trials of an experiment, and a word on the others."""
    if path.is_file():
        trials = read_export(path)
    else:
        folder = path if (path / DATABASE).is_file() else find_experiment(source)
        if folder is None:
            raise RunError(
                f"{source}: neither a finished run of nni-count trial or evaluate, nor an NNI experiment of this "
                "machine (nnictl experiment list --all shows them), nor an exported one"
            )
        trials = read_experiment(folder)
    # after nnictl resume, NNI's grid proposes again what was running
    once = {str(sorted(trial.parameters.items())): trial for trial in reversed(trials) if _of_trial(trial)}
    finished = [result for trial in reversed(once.values()) if (result := _of_trial(trial))]
    others = ", ".join(unfinished(trials))
    if not finished:
        raise RunError(
            f"{source}: none of its {len(trials)} trials has finished ({others or 'none was started'}); "
            "wait for one, or mend what made them fail and run nnictl resume"
        )
    return finished, [f"{source}: {len(finished)} of {len(trials)} trials; left out: {others}."] if others else []


def _of_trial(trial: NNITrial) -> Result | None:
    folder = trial.folder / "run" if trial.folder else None
    if folder and (folder / "result.json").is_file():  # it may be there though NNI did not hear of it
        return _of_folder(folder)
    if trial.final is None:
        return None
    figures = {name: float(trial.final.get(name, np.nan)) for name in FIGURES}
    figures["mae"] = trial.final["default"]
    strategy = str(trial.parameters.get("strategy", "trial")).rpartition(".")[2]
    strategy = "random" if strategy == "Random" else strategy
    return Result(strategy, trial.parameters.get("seed"), figures)


def by_strategy(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each strategy, that with the smallest mean MAE first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.strategy, []).append(result)
    return dict(sorted(groups.items(), key=lambda group: float(np.mean([r.figures["mae"] for r in group[1]]))))


def told_apart(results: Sequence[Result]) -> list[tuple[str, str, float]]:
    """Pairs of strategies with the p-value of Tukey's HSD test of their mean MAEs, for all pairs at once.

    Strategies with a single run are left out; p is 1 where runs do not differ at all.
    """
    groups = {name: [r.figures["mae"] for r in group] for name, group in by_strategy(results).items() if len(group) > 1}
    if len(groups) < 2:
        return []
    with np.errstate(invalid="ignore"):  # no spread at all
        values = np.nan_to_num(tukey_hsd(*groups.values()).pvalue, nan=1.0)
    names = list(groups)
    return [(a, b, float(values[names.index(a), names.index(b)])) for a, b in combinations(names, 2)]


def verdict(results: Sequence[Result]) -> str:
    """In words, which strategies can be told apart with so many runs."""
    pairs = told_apart(results)
    single = [name for name, group in by_strategy(results).items() if len(group) < 2]
    lines = []
    if single:
        lines.append(f"One run alone says nothing about a strategy: {', '.join(single)}.")
    for apart, words in ((True, "Different"), (False, "Cannot be told apart with so many seeds")):
        chosen = [f"{a} and {b} (p = {p:.2g})" for a, b, p in pairs if (p < LEVEL) is apart]
        if chosen:
            lines.append(f"{words}: {', '.join(chosen)}.")
    if pairs:
        lines.append(f"(Tukey's HSD test of the mean MAEs, all pairs at once, at the level {LEVEL:.0%}.)")
    return " ".join(lines)


def space(network: dict[str, Any]) -> str:
    """The settings by which networks differ in size; that of a stem only where it is not the paper's."""
    named = {name: network.get(name) for name in ("cells", "width", "map_stride")}
    if network.get("stem_stride", 1) != 1:
        named["stem_stride"] = network["stem_stride"]
    return ", ".join(f"{name} {value}" for name, value in named.items())


def caption(results: Sequence[Result]) -> str:
    """Data and budgets of the runs, and whether they were the same for all."""
    known = [result.facts for result in results if result.facts]
    if not known:
        return "Budgets: not known, only the figures that NNI has."
    facts = {
        "data": [fact["data"] for fact in known],
        "judged on held-out training images": [fact["images"] for fact in known],
        "retrained on images": [fact["retraining"]["training_images"] for fact in known],
        "for steps": [fact["retraining"]["steps"] for fact in known],
        "space": [space(fact["network"]) for fact in known],
    }
    words = [f"{name}: {' or '.join(map(str, sorted(set(values))))}" for name, values in facts.items()]
    seeds = {name: sorted({str(r.seed) for r in group}) for name, group in by_strategy(results).items()}
    words.append(
        f"seeds {', '.join(next(iter(seeds.values())))} each"
        if len(set(map(tuple, seeds.values()))) == 1
        else "seeds " + "; ".join(f"{name} {', '.join(of)}" for name, of in seeds.items())
    )
    drawn = [fact["evaluations"] for fact in known if "evaluations" in fact]
    if drawn:
        words.append(f"random: {np.mean(drawn):.1f} architectures a run trained briefly in its search time")
    different = [name for name, values in facts.items() if len(set(values)) > 1]
    if len(set(map(tuple, seeds.values()))) > 1:
        different.append("seeds")
    if different:
        words.append(f"NOT the same for all: {', '.join(different)}")
    return "; ".join(words) + "."


def _compare_trials(results: list[Result], folder: Path) -> str:
    groups = by_strategy(results)
    rows = [_row(name, group) for name, group in groups.items()]
    write_table(folder / "comparison.csv", rows)
    write_table(
        folder / "runs.csv",
        [
            {"strategy": r.strategy, "seed": r.seed, **r.figures, "folder": r.folder or ""}
            for group in groups.values()
            for r in group
        ],
    )
    title = caption(results)
    draw_comparison({name: [r.figures for r in group] for name, group in groups.items()}, folder / "compare.png", title)
    best = {name: min(group, key=lambda r: r.figures["mae"]) for name, group in groups.items()}
    files = {name: r.folder / "search" / "architecture.yaml" for name, r in best.items() if r.folder}
    cells = {
        f"{name}, seed {best[name].seed}": read_architecture(path) for name, path in files.items() if path.is_file()
    }
    if cells:
        draw_side_by_side(cells, folder / "cells.png")
    header = "| strategy | runs | MAE | best | RMSE | parameters | FLOPs | search | memory |\n|" + "---|" * 9 + "\n"
    lines = [
        f"| {row['strategy']} | {row['runs']} | {_spread(row['mae_mean'], row['mae_std'])} | {row['mae_best']:.1f} "
        f"| {_spread(row['rmse_mean'], row['rmse_std'])} | {row['parameters_mean']:,.0f} "
        f"| {row['flops_mean'] / 1e9:.2f} G | {row['search_seconds_mean']:.0f} s | {row['memory_mb_mean']:.0f} MB |\n"
        for row in rows
    ]
    return header + "".join(lines) + f"\n{title}\n\n{verdict(results)}\n"


def _row(name: str, group: list[Result]) -> dict[str, Any]:
    row: dict[str, Any] = {"strategy": name, "runs": len(group)}
    for figure in FIGURES:
        values = [result.figures[figure] for result in group]
        row[f"{figure}_mean"] = float(np.mean(values))
        if figure in ("mae", "rmse"):
            row[f"{figure}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    row["mae_best"] = min(result.figures["mae"] for result in group)
    return row


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:.1f}" if np.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def beside_published(reports: dict[str, dict[str, Any]]) -> str:
    """Evaluations with the published figures of their networks, and where the two differ, as Markdown.

    Args:
        reports: name → what ``evaluation.json`` holds.
    """
    columns = ("mae", "rmse", "psnr", "ssim")
    lines = ["| run | network | data | MAE | RMSE | PSNR | SSIM | parameters |\n|---|---|---|---|---|---|---|---|\n"]
    remarks: list[str] = []
    for name, report in reports.items():
        row = counterpart(report)
        network = (report.get("network") or {}).get("name", "")
        cells = [_cell(report.get(column), None if row is None else getattr(row, column)) for column in columns]
        size = f"{report['parameters']:,}" + (f" ({row.parameters / 1e6:.2f}M)" if row and row.parameters else "")
        lines.append(f"| {name} | {network} | {report['data']}, {report['split']} | {' | '.join(cells)} | {size} |\n")
        if row is None:
            remarks.append(f"{name}: nothing is published of this network on these data.")
        else:
            remarks.append(f"{name}, beside {row.method} ({row.table}): " + "; ".join(notes(report, row)) + ".")
    return "".join(lines) + "\nIn brackets: published.\n\n" + "".join(f"- {remark}\n" for remark in remarks)


def _cell(measured: float | None, published: float | None) -> str:
    here = "-" if measured is None else f"{measured:.3g}" if measured < 1 else f"{measured:.1f}"
    return here if published is None else f"{here} ({published:g})"
