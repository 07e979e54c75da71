"""Search spaces, declared with NNI's LayerChoice and InputChoice. They know nothing of how they are searched."""

from search_spaces.amsnet import AMSNetSpace

__all__ = ["AMSNetSpace"]
