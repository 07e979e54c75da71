"""Readers, a layout a file."""
