"""The loggers of a run: ``metrics.csv`` and ``tensorboard/`` in its folder."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from nni_count.errors import RunError
from nni_count.runs.run import Run
from nni_count.runs.tables import write_table


class _ContinuedWriter(ExperimentWriter):
    """Goes on with a ``metrics.csv`` that is there; Lightning would remove it when a run is resumed.

    Rows of the steps that a resumed run does again are taken out.
    """

    reached: int  # the last step of the rows that were there

    def _check_log_dir_exists(self) -> None:
        earlier = self._read()
        self.reached = max((int(row["step"]) for row in earlier), default=-1)
        self.metrics_keys = sorted(earlier[0]) if earlier else []

    def _read(self) -> list[dict[str, str]]:
        """The rows that are there; the last one may have been torn by a kill or a full disk."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return []
        *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
        table = csv.DictReader(lines)
        try:
            found = list(table)
            header = list(table.fieldnames or ["step"])
        except csv.Error as error:
            raise RunError(f"{path}: is no table ({error}); remove it") from error
        if "step" not in header:
            raise RunError(f"{path}: has no column step in its first line; remove it")
        rows = [row for row in found if _is_whole(row)]
        if torn or len(rows) < len(found) or header != sorted(header):  # the order in which Lightning goes on
            write_table(path, rows, sorted(header))
        return rows

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        super().log_metrics(metrics_dict, step)
        if self.metrics[-1]["step"] <= self.reached:
            self._take_out(self.metrics[-1])

    def _take_out(self, again: dict[str, Any]) -> None:
        def stays(row: dict[str, str]) -> bool:
            step = int(row["step"])
            return step < again["step"] or (step == again["step"] and {n for n, v in row.items() if v} != {*again})

        rows = self._read()
        kept = [row for row in rows if stays(row)]
        if len(kept) < len(rows):
            write_table(self.metrics_file_path, kept, list(rows[0]))

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        write_table(self.metrics_file_path, self._read(), fieldnames)


def _is_whole(row: dict[Any, Any]) -> bool:
    return None not in row and None not in row.values() and re.fullmatch("[0-9]{1,18}", row["step"]) is not None


def run_loggers(run: Run) -> list[Logger]:
    """Loggers that a resumed run continues; rows reach the file as they are logged."""
    table = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    table._experiment = _ContinuedWriter(table.log_dir)
    return [table, TensorBoardLogger(run.folder / "tensorboard", name="", version="")]
