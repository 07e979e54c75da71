"""The command line, and what can be refused before anything is imported."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nni_count.errors import RunError, SettingError

LEAST_MINUTES = 3.0


class Parser(argparse.ArgumentParser):
    """Whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; --help lists the settings")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The settings; ``command`` is what was typed."""
    parser = Parser(
        prog="python benchmarks/gpu.py", description="Measures on one CUDA device what only a GPU can show."
    )
    parser.add_argument("--data", nargs="+", default=[], help="ShanghaiTech A: folders or archives, which are joined")
    parser.add_argument("--out", help="folder that gets results.json and model.safetensors")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it, imports included")
    parser.add_argument("--width", type=int, default=512, help="C of the AMSNet that is retrained; 256: the light one")
    parser.add_argument("--rehearse", action="store_true", help="every line of it on a CPU, at the smallest sizes")
    parser.add_argument("--table", metavar="RESULTS", help="print the tables of a results.json, and nothing else")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options.command = shlex.join(["python", "benchmarks/gpu.py", *words])
    return options


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot work.

    Raises:
        SettingError: a setting is missing or out of its range.
        RunError: the folder is in use.
    """
    if not options.out:
        raise SettingError("out: give a folder for results.json")
    if not options.minutes >= LEAST_MINUTES:
        raise SettingError(f"minutes: {options.minutes:g}; give {LEAST_MINUTES:g} or more")
    if options.width < 64 or options.width % 16:
        raise SettingError(f"width: {options.width}; give a multiple of 16 from 64, e.g. 512 or 256")
    if not options.data and not options.rehearse:
        raise SettingError("data: give the folder of ShanghaiTech A, or its archives")
    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: is not empty; choose another --out")
