"""Comparison: runs of several strategies and seeds become a table, with what can be said from it and what cannot."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nni_count.architecture import read_architecture
from nni_count.comparing.results import Result, by_strategy, check_comparable, load_json, of_experiment, of_folder
from nni_count.comparing.statistics import verdict
from nni_count.comparing.tables import beside_published, caption, run_rows, strategy_rows, strategy_table
from nni_count.errors import ArchitectureError, RunError
from nni_count.pictures.comparisons import draw_comparison, draw_side_by_side
from nni_count.runs.files import write_text
from nni_count.runs.run import open_run
from nni_count.runs.tables import write_table


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
        RunError: no source is one of these with a finished trial, or two are judged by different metrics. Sources that
            are none are warned of and left out.
    """
    results: list[Result] = []
    evaluations: dict[str, dict[str, Any]] = {}
    remarks: list[str] = []
    faults: list[str] = []
    for source in map(str, runs):
        try:
            found, report, left = _read(source)
        except RunError as error:
            faults.append(str(error))
            continue
        results += found
        evaluations |= report
        remarks += left
    if not results and not evaluations:
        raise RunError("; ".join(faults) or "runs: name at least one")
    for fault in faults:
        warnings.warn(f"left out: {fault}", stacklevel=2)
        remarks.append(f"Left out: {fault}.")
    # a run that is named twice, say by its folder and by its experiment, counts once
    results = list({result.folder.resolve() if result.folder else id(result): result for result in results}.values())
    check_comparable(results)
    run = open_run(out, "compare", {"runs": [str(source) for source in runs], "out": out})
    parts = []
    if results:
        parts.append(_compare_trials(results, run.folder))
    if evaluations:
        parts.append(beside_published(evaluations))
    for word in _unlike(evaluations):
        warnings.warn(word, stacklevel=2)
        remarks.append(f"{word}.")
    parts += [f"{remark}\n" for remark in remarks]
    text = "\n".join(parts)
    write_text(run.folder / "comparison.md", text)
    return text


def _read(source: str) -> tuple[list[Result], dict[str, dict[str, Any]], list[str]]:
    """Trials, evaluations and remarks of a source, of which each can be told alone."""
    folder = Path(source)
    try:
        if (folder / "evaluation.json").exists():
            evaluation = {source: load_json(folder / "evaluation.json")}
            beside_published(evaluation)
            return [], evaluation, []
        if (folder / "result.json").exists():
            result = of_folder(folder)
            strategy_table([result])
            caption([result])
            return [result], {}, []
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunError(f"{source}: holds no result of nni-count trial or evaluate ({error!r}); leave it out") from error
    found, left = of_experiment(source, folder)
    return found, {}, left


def _unlike(evaluations: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Why figures of evaluations cannot be set side by side."""
    for name, report in evaluations.items():
        if report.get("trained_on"):
            yield f"{name}: {report['trained_on']} of its {report.get('images')} images were trained on"
    for what in ("split", "views"):
        values = {name: report[what] for name, report in evaluations.items() if what in report}
        if len(set(map(str, values.values()))) > 1:
            yield f"evaluations differ in {what}: {', '.join(f'{name} {value}' for name, value in values.items())}"


def _compare_trials(results: list[Result], folder: Path) -> str:
    write_table(folder / "comparison.csv", strategy_rows(results))
    write_table(folder / "runs.csv", run_rows(results))
    groups, title, metric = by_strategy(results), caption(results), results[0].metric
    figures = {name: [result.figures for result in group] for name, group in groups.items()}
    draw_comparison(figures, metric, folder / "compare.png", title)
    best = {name: min(group, key=lambda result: result.rank) for name, group in groups.items()}
    files = {name: r.folder / "search" / "architecture.yaml" for name, r in best.items() if r.folder}
    cells = {}
    for name, path in files.items():
        with suppress(ArchitectureError):  # it is drawn where it is there
            cells[f"{name}, seed {best[name].seed}"] = read_architecture(path)
    if cells:
        draw_side_by_side(cells, folder / "cells.png")
    return f"{strategy_table(results)}\n{title}\n\n{verdict(results)}\n"
