"""Results as tables: strategies beside one another, and evaluations beside published figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nni_count.comparing.published import counterpart, notes
from nni_count.comparing.results import COSTS, NONE, Result, by_strategy


def strategy_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row a strategy, the best first: means of all figures, deviations of how good the networks are, and the best."""
    return [_row(name, group) for name, group in by_strategy(results).items()]


def _row(name: str, group: list[Result]) -> dict[str, Any]:
    row: dict[str, Any] = {"strategy": name, "runs": len(group)}
    for figure in group[0].figures:
        values = [result.figures[figure] for result in group]
        row[f"{figure}_mean"] = float(np.mean(values))
        if figure not in COSTS:
            row[f"{figure}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    row["verification_seconds_mean"] = float(np.mean([(r.facts.get("verification") or NONE)["seconds"] for r in group]))
    best = min(group, key=lambda result: result.rank)
    row[f"{best.metric}_best"] = best.figure
    return row


def run_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row a run, in the order of :func:`strategy_rows`."""
    return [
        {"strategy": r.strategy, "seed": r.seed, **r.figures, "folder": r.folder or ""}
        for group in by_strategy(results).values()
        for r in group
    ]


def strategy_table(results: Sequence[Result]) -> str:
    """:func:`strategy_rows` as Markdown."""
    metric = results[0].metric
    others = [name for name in results[0].figures if name not in (metric, *COSTS)]
    names = ["strategy", "runs", metric.upper(), "best", *map(str.upper, others)]
    names += ["parameters", "FLOPs", "search", "memory"]
    lines = [f"| {' | '.join(names)} |\n|" + "---|" * len(names) + "\n"]
    for row in strategy_rows(results):
        cells = [row["strategy"], f"{row['runs']}", _spread(row, metric), _number(row[f"{metric}_best"])]
        cells += [*(_spread(row, name) for name in others), f"{row['parameters_mean']:,.0f}"]
        cells += [f"{row['flops_mean'] / 1e9:.2f} G", f"{row['search_seconds_mean']:.0f} s"]
        if row["verification_seconds_mean"]:
            cells[-1] += f" + {row['verification_seconds_mean']:.0f} s verified"
        lines.append(f"| {' | '.join(cells)} | {row['memory_mb_mean']:.0f} MB |\n")
    return "".join(lines)


def _spread(row: dict[str, Any], figure: str) -> str:
    mean, deviation = row[f"{figure}_mean"], row[f"{figure}_std"]
    return _number(mean) if np.isnan(deviation) else f"{_number(mean)} ± {_number(deviation, mean)}"


def _number(value: float, beside: float | None = None) -> str:
    """A figure with as many digits as it is read with; a deviation with those of what it stands ``beside``."""
    return f"{value:.1f}" if abs(value if beside is None else beside) >= 1 else f"{value:.3g}"


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
        "candidates verified": [(fact.get("verification") or NONE)["candidates"] for fact in known],
    }
    words = [f"{name}: {' or '.join(map(str, sorted(set(values), key=str)))}" for name, values in facts.items()]
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
    here = "-" if measured is None else _number(measured)
    return here if published is None else f"{here} ({published:g})"
