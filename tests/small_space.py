"""AMSNet's space with four operations on an edge, for tests that only need a space: a third of the time."""

from nni_count.ops import NONE, SKIP
from search_spaces import AMSNetSpace
from search_spaces.extraction import SearchedExtraction
from search_spaces.fusion import SearchedFusion

FEW = (NONE, SKIP, "conv_1x1", "sep_conv_3x3")


class FewExtraction(SearchedExtraction):
    operations = FEW


class FewFusion(SearchedFusion):
    operations = FEW


class SmallSpace(AMSNetSpace):
    extraction_cell = FewExtraction
    fusion_cell = FewFusion
