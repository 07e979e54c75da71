"""What only a GPU can show, as one command: search steps at the paper's size, inference, and a retraining.

Run: python benchmarks/gpu.py --data part_A_final --out runs/gpu --minutes 8

``--rehearse`` runs every line of it on a processor, at the smallest sizes. ``--table runs/gpu/results.json`` prints the
tables of a run. The checkout need not be installed, nor NNI: ``benchmarks/pack_for_gpu.py`` makes what is carried to a
machine without internet.
"""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()  # imports are part of the minutes

from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(1, str(Path(__file__).parents[1]))  # the checkout's own packages

from on_gpu.needs import check_imports  # noqa: E402
from on_gpu.options import check, parse  # noqa: E402
from on_gpu.table import read, tables  # noqa: E402

from nni_count.errors import NNICountError  # noqa: E402


def main(arguments: Sequence[str] | None = None, started: float | None = None) -> int:
    """0 when all parts were measured, 1 when one failed, 2 after an error that the user can mend."""
    try:
        options = parse(arguments)
        if options.table:
            print(tables(read(options.table)))
            return 0
        check(options)
        check_imports()
        from on_gpu.measure import measure  # takes seconds, and what it imports may be missing

        return measure(options, time.monotonic() if started is None else started)
    except NNICountError as error:
        print(f"gpu: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(started=STARTED))
