"""The doctor: everything that is wrong with a data set, at once, before anything is trained on it."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data import READERS, SYNTHETIC, DataSetting, open_data
from nni_count.data.dataset import Dataset
from nni_count.data.health import examination
from nni_count.data.health.checks import Finding, check_counts
from nni_count.data.health.examination import Look, Pair
from nni_count.data.health.near_duplicates import BITS, LIMIT
from nni_count.data.sample import Sample, is_outside
from nni_count.errors import DataError, shortened
from nni_count.pictures.sheet import Panel, draw_sheet
from nni_count.runs.files import write_text
from nni_count.runs.run import open_run

SHOWN = 18  # images on the page; at most half of them because something was found
PAIRS = 12  # pairs on the page of near-duplicates
LEGEND = "those with findings first; right: the framed detail; red: a point outside, or more than one in its place"
LABELS = 30  # of a part in the table
EXAMPLES = 5  # warnings of a kind in the table; faults are all shown

#: kinds of findings in the order of the table, as a person reads them
KINDS = {
    "layout": "layout",
    "files": "files missing or broken",
    "unreadable": "images that cannot be read",
    "left": "left out",
    "nobody": "no points at all",
    "turned": "photos turned by their camera",
    "swapped": "x and y swapped",
    "relative": "coordinates that are not pixels",
    "outside": "points outside their image",
    "corner": "all points in one corner",
    "line": "all points on one line",
    "coincident": "points on one another",
    "copied": "points of another image",
    "count": "counts far from those of the other images",
    "duplicate": "the same image twice",
    "near-duplicate": "near-duplicates in two parts",
    "transparent": "transparent pixels",
    "extra": "image files in no part",
}


def doctor(*, data: DataSetting, out: str | Path | None = None) -> dict[str, Any]:
    """Look at every image and point of a data set, and list all that is wrong or odd.

    Faults make images or points unusable: missing and broken files, points in a wrong unit or order. Warnings need a
    person's eye: single points outside, points on one another, on a line or in a corner, copied points, odd counts,
    duplicates, near-duplicates of one part in another, image files that belong to no part.

    Args:
        data: folder of a data set, ``synthetic`` or ``synthetic-cells``; with settings of its reader as
            ``{"path": ..., "format": "csv"}``. Points outside their image are kept, to be seen.
        out: folder for ``doctor.json`` and ``thumbnails.png``, and where there are near-duplicates for
            ``near_duplicates.png`` and ``near_duplicates.txt`` (training images, one a line, as paths from the data's
            root). Without it, nothing is written.

    Returns:
        What ``doctor.json`` holds: ``data``, ``layout`` (null where no reader fits), ``splits`` with their figures,
        ``faults`` and ``warnings`` (each with ``kind``, ``where``, ``message``), ``near_duplicates``, and
        ``other_files`` than the images, counted by the shape of their path.

    Raises:
        DataError: there is no such folder. All that is wrong within the folder is in the answer instead.
    """
    dataset, findings = _open(data)
    where = dataset.root if dataset else data["path"] if isinstance(data, Mapping) else str(data)
    run = open_run(out, "doctor", {"data": data}) if out is not None else None
    everything: list[Sample] = []
    looks: list[Look] = []
    splits: dict[str, dict[str, Any]] = {}
    for split, samples, faults in _parts(dataset) if dataset else ():
        good, unreadable = examination.look_at(split, samples)
        splits[split] = examination.figures(samples, good)
        said = {finding.message for finding in findings}  # where we draw the parts, each meets the faults of all
        findings += [finding for finding in faults + unreadable if finding.message not in said]
        everything += samples
        looks += good
    pairs = examination.pairs_across(looks, list(splits))
    for look in looks:
        findings += examination.check_look(look, dataset.turned if dataset else {})
    findings += check_counts([look.where for look in looks], [look.sample.count for look in looks])
    findings += examination.check_duplicates(looks)
    findings += examination.check_pairs_across(pairs, {split: facts["images"] for split, facts in splits.items()})
    others = _others(Path(where), dataset, everything)
    if dataset:
        findings += examination.check_extra(others, findings, len(looks))
    findings.sort(key=lambda finding: (list(KINDS).index(finding.kind), -finding.amount))
    report = {
        "data": dataset.name if dataset else str(where),
        "layout": f"{_format(dataset)}: {dataset.layout}" if dataset else None,
        "splits": splits,
        "faults": [_plain(finding) for finding in findings if finding.fault],
        "warnings": [_plain(finding) for finding in findings if not finding.fault],
        "near_duplicates": [pair.to_dict() for pair in pairs],
        "other_files": {shape: len(paths) for shape, paths in others.items()},
    }
    if run:
        write_text(run.folder / "doctor.json", json.dumps(report, indent=2) + "\n")
        if looks:
            heading = f"{report['data']}: {min(len(looks), SHOWN)} of {len(looks)} images, {LEGEND}"
            draw_sheet(_panels(looks, findings), run.folder / "thumbnails.png", heading=heading)
        if dataset and pairs:
            _write_pairs(pairs, dataset.root, run.folder)
    return report


def table(report: dict[str, Any]) -> str:
    """A report as a person reads it."""
    lines = [f"{'data':<12}{report['data']}"]
    if report["layout"]:
        lines += [f"{'layout':<12}{report['layout']}", "", *_figure_lines(report["splits"])]
    else:
        lines += ["known layouts", *(f"  {name:<14}{reader.layout}" for name, reader in READERS.items())]
    others = sorted(report["other_files"].items(), key=lambda item: -item[1])
    shown = [f"  {shape} ({number})" for shape, number in others[:8]]
    more = [f"  … and {len(others) - 8} more kinds"] if len(others) > 8 else []
    lines += ["", "other files" if report["layout"] else "found", *(shown or ["  none"]), *more]
    for name in ("faults", "warnings"):
        lines += ["", f"{name}: {len(report[name]) or 'none'}"]
        for kind, group in itertools.groupby(report[name], lambda finding: finding["kind"]):
            found = list(group)
            limit = len(found) if name == "faults" else EXAMPLES
            lines.append(f"  {KINDS[kind]} ({len(found)})")
            lines += [f"    {finding['where']}: {finding['message']}" for finding in found[:limit]]
            if len(found) > limit:
                lines.append(f"    … and {len(found) - limit} more (all are in doctor.json, with --out FOLDER)")
    return "\n".join(lines)


def _figure_lines(splits: dict[str, dict[str, Any]]) -> Iterator[str]:
    form = "{:<12}{:>8}{:>10}{:>8}{:>9}{:>8}{:>12}{:>12}{:>7}{:>12}{:>9}"
    yield form.format("", "images", "points", "min", "mean", "max", "width", "height", "grey", "coincident", "outside")
    for split, facts in splits.items():
        sizes = ["–".join(str(side) for side in dict.fromkeys(facts[name])) for name in ("width", "height")]
        points = (f"{facts['points']:,}", facts["min"], f"{facts['mean']:.1f}", facts["max"])
        rest = (facts["greyscale"], facts["coincident"], facts["outside"])
        yield form.format(split, facts["images"], *points, *sizes, *rest)
    yield ""
    if not any(facts["labels"] for facts in splits.values()):
        yield f"{'labels':<12}none"
        return
    for split, facts in splits.items():
        labels = [f"{shortened(label, 60)} {number:,}" for label, number in facts["labels"].items()]
        more = f" … and {len(labels) - LABELS} more" if len(labels) > LABELS else ""
        yield f"{'labels':<12}{split}: {', '.join(labels[:LABELS]) or 'none'}{more}"


def _open(data: DataSetting) -> tuple[Dataset | None, list[Finding]]:
    """The data set, or none and why: the folder fits no reader, or several."""
    if isinstance(data, Dataset):
        return data, []
    settings = dict(data) if isinstance(data, Mapping) else {"path": data}
    path = settings.get("path")
    if path is None or not Path(path).is_dir() or str(path) in SYNTHETIC:
        return open_data(data), []
    try:
        return open_data({**settings, "outside": "keep"}), []
    except DataError as error:
        return None, [Finding("layout", "folder", str(error), fault=True)]


def _format(dataset: Dataset) -> str:
    return next((name for name, reader in READERS.items() if type(dataset) is reader), type(dataset).__name__)


def _parts(dataset: Dataset) -> Iterator[tuple[str, list[Sample], list[Finding]]]:
    """For each part its samples that are fine, and a finding for each fault of its files."""
    for split in dict.fromkeys((*dataset.splits, *dataset.lists)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            samples, errors = dataset.collect(split)
        findings = [Finding("files", split, str(error), fault=True) for error in errors]
        words = [str(word.message) for word in said if "lie outside" not in str(word.message)]  # found image by image
        findings += [Finding("left", split, word) for word in dict.fromkeys(words)]
        if samples and not any(sample.count for sample in samples):
            findings.append(Finding("nobody", split, f"none of {len(samples)} images has a point", fault=True))
        yield split, samples, findings


def _others(folder: Path, dataset: Dataset | None, samples: list[Sample]) -> dict[str, list[Path]]:
    """What else is in the folder; nothing where the samples come from no files."""
    if dataset is None:
        return examination.other_files(folder, [])
    used = [sample.path for sample in samples if sample.path]
    return examination.other_files(dataset.root, used) if used or not samples else {}


def _plain(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("kind", "where", "message")}


def _panels(looks: list[Look], findings: list[Finding]) -> Iterator[Panel]:
    """Images with findings, a kind after the other in turn, then others from the fewest points to the most."""
    places = {look.where: look for look in looks}
    notes: dict[str, list[str]] = {}
    for finding in findings:
        notes.setdefault(finding.where, []).append(finding.message)
    kinds = [list(group) for _, group in itertools.groupby(findings, lambda finding: finding.kind)]
    in_turn = [finding.where for turn in itertools.zip_longest(*kinds) for finding in turn if finding]
    odd = [places[where] for where in dict.fromkeys(in_turn) if where in places]
    plain = sorted((look for look in looks if look.where not in notes), key=lambda look: look.sample.count)
    odd = odd[: max(SHOWN // 2, SHOWN - len(plain))]
    spread = np.linspace(0, len(plain) - 1, min(SHOWN - len(odd), len(plain))).round().astype(int)
    for look in odd + [plain[place] for place in spread]:
        yield _panel(look, "; ".join(notes.get(look.where, [])))


def _panel(look: Look, note: str) -> Panel:
    labels = [f"{number} {label}" for label, number in examination.labels([look.sample]).items()]
    counted = ", ".join(labels) or f"{look.sample.count} points"
    title = f"{look.where} · {counted} · {look.width}×{look.height}"
    outside = is_outside(look.sample.points, look.width, look.height)
    return Panel(look.sample.read(), look.sample.points, outside, title, note)


def _write_pairs(pairs: list[Pair], root: Path, folder: Path) -> None:
    """The pairs side by side, and a list of the training images among them."""
    lines: list[str] = []
    for pair in pairs:
        if pair.first.split == "train":
            path = pair.first.sample.path
            inside = path is not None and path.is_relative_to(root)
            lines.append(path.relative_to(root).as_posix() if path and inside else pair.first.sample.name)
    write_text(folder / "near_duplicates.txt", "".join(f"{line}\n" for line in dict.fromkeys(lines)))
    doubtful = sorted(pairs, key=lambda pair: -pair.distance)[:PAIRS]
    panels = (_panel(look, _likeness(pair)) for pair in doubtful for look in (pair.first, pair.second))
    heading = f"{len(doubtful)} of {len(pairs)} near-duplicates, the most doubtful first"
    draw_sheet(panels, folder / "near_duplicates.png", heading=heading, columns=2)


def _likeness(pair: Pair) -> str:
    if pair.identical:
        return "identical"
    return f"{pair.distance} of {BITS} signs differ{', mirrored' * pair.mirrored} (alike up to {LIMIT})"
