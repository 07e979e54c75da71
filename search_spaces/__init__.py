"""Search spaces, declared with NNI's LayerChoice and InputChoice. They know nothing of how they are searched."""

import nni_count.oneshot  # noqa: F401 - first, since it imports NNI without its harmless warnings
from search_spaces.amsnet import AMSNetSpace

__all__ = ["AMSNetSpace"]
