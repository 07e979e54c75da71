"""Synthetic images whose points are known exactly, to learn, test and demonstrate on: crowds, and cells."""

from nni_count.data.synthetic.cells import CellStream, synthetic_cells
from nni_count.data.synthetic.crowds import LEVELS, CrowdStream, Level, synthetic_crowds

__all__ = ["LEVELS", "CellStream", "CrowdStream", "Level", "synthetic_cells", "synthetic_crowds"]
