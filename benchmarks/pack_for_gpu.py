"""What ``gpu.py`` needs on a machine without internet: ShanghaiTech A in archives, and NNI without its Node part.

Run: python benchmarks/pack_for_gpu.py --data part_A_final --out packed
Then there: PYTHONPATH=packed/site python benchmarks/gpu.py --data packed/data_1.tar packed/data_2.tar --out runs/gpu

Run it where NNI-Count is installed: the packages are copied from there, without compiled parts, so that they suit
another version of Python. All files are copied as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1]))

from on_gpu.needs import NEEDED, OF_NNI
from on_gpu.pack import archives, packages

from nni_count.errors import NNICountError, RunError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of ShanghaiTech A")
    parser.add_argument("--out", required=True, help="gets site/ and data_1.tar …")
    parser.add_argument("--megabytes", type=float, default=60, help="of an archive at the most")
    options = parser.parse_args(arguments)
    try:
        out = Path(options.out)
        if out.exists():
            raise RunError(f"{out}: is there already; choose another --out")
        made = archives(Path(options.data), out, most=int(1e6 * options.megabytes))
        packages(out / "site")
    except NNICountError as error:
        print(f"pack_for_gpu: error: {error}", file=sys.stderr)
        return 2
    for archive in made:
        print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    size = sum(path.stat().st_size for path in (out / "site").rglob("*") if path.is_file())
    print(f"{out / 'site'}: {size / 1e6:.1f} MB, for PYTHONPATH")
    print(f"to be installed there: {' '.join(sorted({**NEEDED, **OF_NNI}.values()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
