"""Synthetic images whose points are known exactly, to learn, test and demonstrate on: crowds, and cells."""

from nni_count.data.synthetic.cells import CellStream
from nni_count.data.synthetic.crowds import LEVELS, CrowdStream, Level

__all__ = ["LEVELS", "CellStream", "CrowdStream", "Level"]
