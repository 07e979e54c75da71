"""The loggers of a run: ``metrics.csv`` and ``tensorboard/`` in its folder."""

from __future__ import annotations

import csv
import os

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from nni_count.runs.run import Run


class _ContinuedWriter(ExperimentWriter):
    """Goes on with a ``metrics.csv`` that is there; Lightning would remove it when a run is resumed."""

    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])


def run_loggers(run: Run) -> list[Logger]:
    """Loggers that a resumed run continues; rows reach the file as they are logged."""
    table = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    table._experiment = _ContinuedWriter(table.log_dir)
    return [table, TensorBoardLogger(run.folder, name="", version="tensorboard")]
