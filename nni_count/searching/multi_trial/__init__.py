"""Strategies that try one architecture after another, through the training service of NNI."""
