"""The searched fusion cell (NAS-Count, section 3.1.2): 7 edges of nine candidates, two nodes that keep edges.

The β of its three inputs choose single- or multi-path decoding, the macro level of the search.
Labels: ``fusion_3_0`` … ``fusion_4_3`` (α, node then source) and ``fusion_3``, ``fusion_4`` (β).
"""

from nni_count.architecture import FUSION
from search_spaces.cell import SearchedCell


class SearchedFusion(SearchedCell):
    kind = FUSION
