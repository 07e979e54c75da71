"""All that knows NNI: what a space must be, how it is searched, and how an architecture is read from it."""
