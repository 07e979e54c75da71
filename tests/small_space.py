"""AMSNet's space with two nodes in a cell and four operations on an edge, for tests that only need a space: half
the time of a search, or less.
"""

from dataclasses import replace

from nni_count.architecture import EXTRACTION
from nni_count.ops import NONE, SKIP
from search_spaces import AMSNetSpace
from search_spaces.extraction import SearchedExtraction
from search_spaces.fusion import SearchedFusion

FEW = (NONE, SKIP, "conv_1x1", "sep_conv_3x3")


class FewExtraction(SearchedExtraction):
    kind = replace(EXTRACTION, nodes=2)
    operations = FEW


class FewFusion(SearchedFusion):
    operations = FEW


class SmallSpace(AMSNetSpace):
    extraction_cell = FewExtraction
    fusion_cell = FewFusion
