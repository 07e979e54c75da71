"""The searched extraction cell (NAS-Count, section 3.1.1): 14 edges of nine candidates, four nodes that keep edges.

Labels: ``extraction_2_0`` … ``extraction_5_4`` (α, node then source) and ``extraction_2`` … ``extraction_5`` (β).
"""

from nni_count.architecture import EXTRACTION
from search_spaces.cell import SearchedCell


class SearchedExtraction(SearchedCell):
    kind = EXTRACTION
