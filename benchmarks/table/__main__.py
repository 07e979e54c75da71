"""``python -m benchmarks.table grow|pack|unpack|report|predictors|supernets``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: each process trains with one thread


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table", description="The table of trained architectures."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    grow = commands.add_parser("grow", help="train the rows that are missing; goes on where it was stopped")
    grow.add_argument("--rows", type=Path, required=True, help="folder of the rows, a file each")
    grow.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    grow.add_argument("--processes", type=int, default=1, help="that train, each with one thread")
    grow.add_argument("--most", type=int, help="rows to train now")
    pack = commands.add_parser("pack", help="make the table's file from the rows")
    pack.add_argument("--rows", type=Path, required=True)
    pack.add_argument("--out", type=Path, help="the package's own by default")
    unpack = commands.add_parser("unpack", help="write a table's rows as files, for grow to go on with")
    unpack.add_argument("--rows", type=Path, required=True)
    unpack.add_argument("--table", type=Path, help="the package's own by default")
    report = commands.add_parser("report", help="how well the table's recipe ranks")
    report.add_argument("--table", type=Path, help="the package's own by default")
    predictors = commands.add_parser("predictors", help="what predicts an architecture's error")
    predictors.add_argument("--table", type=Path, help="the package's own by default")
    predictors.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    supernets = commands.add_parser("supernets", help="what trained spaces, and their α, tell of the error")
    supernets.add_argument("--table", type=Path, help="the package's own by default")
    supernets.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    supernets.add_argument("--runs", type=Path, required=True, help="folder of the searches; those that are whole stay")
    supernets.add_argument("--epochs", type=int, default=24, help="of each search, of 20 steps")
    given = parser.parse_args(arguments)

    from nni_count.errors import NNICountError

    try:
        if given.command == "grow":
            from benchmarks.table.growing import grow as grow_rows

            grow_rows(
                given.rows,
                given.data,
                most=given.most,
                processes=given.processes,
                say=lambda line: print(line, flush=True),
            )
        elif given.command == "pack":
            from benchmarks.table.packing import pack as pack_rows

            print(pack_rows(given.rows, given.out))
        elif given.command == "unpack":
            from benchmarks.table.packing import unpack as unpack_rows

            print(unpack_rows(given.rows, given.table))
        elif given.command == "supernets":
            from benchmarks.table.supernets import lines as supernet_lines
            from nni_count.comparing.trained import open_table

            print("\n".join(supernet_lines(open_table(given.table), given.data, given.runs, given.epochs)))
        else:
            from benchmarks.table import predictors as predicting
            from benchmarks.table import report as reporting
            from nni_count.comparing.trained import open_table

            table = open_table(given.table)
            told = reporting.lines(table) if given.command == "report" else predicting.lines(table, given.data)
            print("\n".join(told))
    except NNICountError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
