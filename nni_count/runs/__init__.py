"""Run folders, files that appear whole or not at all, and loggers."""
