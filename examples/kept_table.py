"""The command line of a table whose figures are kept beside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def print_table(help: str | None, kept: Path, collect: Callable[[Path], Rows], table: Callable[[Rows], str]) -> None:
    """Print the rows of the folders that were named, or those that are kept.

    Args:
        help: what ``--help`` says.
        kept: the JSON file of the kept rows, which ``--write`` makes.
        collect: a folder → its rows.
        table: rows → what is printed.
    """
    parser = argparse.ArgumentParser(description=help, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {kept.name}")
    arguments = parser.parse_args()
    rows = [row for folder in arguments.folders for row in collect(folder)]
    rows = rows if arguments.folders else json.loads(kept.read_text())
    if arguments.write:
        kept.write_text(json.dumps(rows, indent=2) + "\n")
    print(table(rows))
