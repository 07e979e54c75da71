"""The commands, a file each: typed functions, public from Python and behind ``nni-count COMMAND``."""
