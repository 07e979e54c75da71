"""A table of trained architectures: how it is drawn, trained, grown and checked. ``docs/table.md`` says what it is."""
