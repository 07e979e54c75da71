"""The tables of a ``results.json``, as the README has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nni_count.errors import RunError


def read(path: str | Path) -> dict[str, Any]:
    """A ``results.json``; raises :class:`RunError` where it is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); give the results.json of a run") from error
    except ValueError as error:
        raise RunError(f"{path}: no JSON ({error}); give the results.json of a run") from error
    if not isinstance(content, dict) or content.get("benchmark") != "gpu" or "parts" not in content:
        raise RunError(f"{path}: no results of benchmarks/gpu.py; give the results.json of a run")
    return content


def tables(results: dict[str, Any]) -> str:
    """All that was measured, in Markdown."""
    parts = results["parts"]
    made = [_head(results)]
    for name, table in (("search", _search), ("inference", _inference), ("retraining", _retraining)):
        if name in parts:
            made.append(table(parts[name]))
            if "error" in parts[name]:
                made.append(f"**{name}: {parts[name]['error']}**")
    return "\n\n".join(made)


def _head(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    warning = "Rehearsal at the smallest sizes; none of this is a figure. " if results["rehearsal"] else ""
    return (
        f"{warning}{results['device']}, {results['date']}, `{results['command']}`, "
        f"{results['seconds'] / 60:.1f} minutes in all; {versions}."
    )


def _rows(head: str, rows: list[str]) -> str:
    line = "|".join(["---"] * (head.count("|") - 1))
    return "\n".join([head, f"|{line}|", *rows])


def _search(part: dict[str, Any]) -> str:
    rows = []
    for row in part.get("rows", []):
        if "error" in row:
            rows.append(f"| {row['method']} | {row['error']} | | | |")
            continue
        layout = "channels last" if row["channels_last"] else "contiguous"
        spread = f"{row['milliseconds']:.1f} ({row['smallest']:.1f}–{row['largest']:.1f})"
        how = f"{row['precision']}, {layout}"
        rows.append(f"| {row['method']} | {how} | {spread} | {row['peak_gib']:.2f} GiB | {row['hours']:.2f} |")
    sizes = f"M={part['cells']}, C={part['width']}, {part['batch']} crops of {part['crop']}"
    head = f"| {sizes} | | ms a step | peak | hours |"
    beside = [
        f"{row['ours']} beside {row['beside']}: {row['faster']:.1f}× faster, {row['less_memory']:.1f}× less memory"
        for row in part.get("ratios", [])
    ]
    note = (
        f"A step is both phases; hours are those of {part['epochs']} epochs over the two halves of {part['images']:,} "
        "images, loading left out."
    )
    return "\n\n".join(filter(None, [_rows(head, rows), "; ".join(beside), note]))


def _inference(part: dict[str, Any]) -> str:
    batches = list(dict.fromkeys(row["batch"] for row in part.get("rows", [])))
    names = list(dict.fromkeys(row["network"] for row in part.get("rows", [])))
    found = {(row["network"], row["batch"]): row for row in part.get("rows", [])}
    rows = []
    for name in names:
        known = [found.get((name, batch), {"error": "not measured"}) for batch in batches]
        parameters = next((f"{row['parameters']:,}" for row in known if "error" not in row), "")
        cells = [
            row["error"] if "error" in row else f"{row['images_a_second']:.1f}, {row['peak_gib']:.2f} GiB"
            for row in known
        ]
        rows.append(f"| {name} | {parameters} | {' | '.join(cells)} |")
    titles = " | ".join(f"batch {batch}" for batch in batches)
    head = f"| {part['height']}×{part['width']}, {part['precision']}: images a second, peak | parameters | {titles} |"
    return _rows(head, rows)


def _retraining(part: dict[str, Any]) -> str:
    made = []
    trainings, test, chosen = part.get("trainings", []), part.get("test"), part.get("chosen")
    for row in trainings:
        if "steps" in row:
            made.append(f"{_trained(part)}: {_training(row)}.")
        if "error" in row:
            made.append(f"**training: {row['error']}**")
    if test:
        head = "| test part, whole images | MAE | RMSE | PSNR | SSIM |"
        maps = test.get("maps", {"not measured": {"psnr": None, "ssim": None}})  # cut off after the counts
        rows = [
            f"| {part['network']} | {test['mae']:.1f} | {test['rmse']:.1f} | {_number(values['psnr'], '.2f')} | "
            f"{_number(values['ssim'], '.3f')} ({protocol}) |"
            for protocol, values in maps.items()
        ]
        made.append(_rows(head, rows))
        made.append(f"{test['images']} images; always the training mean: MAE {test['constant_mae']:.1f}.")
    if chosen:
        made.append(
            f"The {chosen['weights']} weights of step {chosen['step']:,} are kept, validation MAE "
            f"{chosen['validation_mae']:.1f}."
        )
    if part["state"] == "running":
        made.append("**cut off before its end**")
    curve = [
        f"| {row['seconds'] / 60:.1f} | {row['step']:,} | {_number(row['loss'], '.4f')} | "
        f"{row['validation_mae_raw']:.1f} | {row['validation_mae_average']:.1f} |"
        for row in part.get("curve", [])
        if "error" not in row
    ]
    if curve:
        made.append(_rows("| minutes | step | loss | validation MAE | of the average |", curve))
    return "\n\n".join(made)


def _trained(part: dict[str, Any]) -> str:
    return (
        f"{part['network']} ({part['parameters']:,} parameters, map stride {part['settings']['map_stride']}), "
        f"{part['batch']} crops of {part['crop']}{_scaled(part)}, {part['precision']}, Adam {part['learning_rate']:g}, "
        f"seed {part['seed']}"
    )


def _scaled(part: dict[str, Any]) -> str:
    least, most = part.get("scale", (1, 1))
    return "" if least == most else f" (enlarged {least:g} to {most:g} ×)"


def _training(row: dict[str, Any]) -> str:
    return (
        f"{row['steps']:,} steps in {row['seconds'] / 60:.1f} minutes, validations within; "
        f"{_number(row['step_milliseconds'], '.1f')} ms a step, "
        f"{_number(row['crops_a_second'], '.0f')} crops a second, {_number(row['waiting_share'], '.1%')} of the time "
        f"waiting for data, peak {row['peak_gib']:.2f} GiB"
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
