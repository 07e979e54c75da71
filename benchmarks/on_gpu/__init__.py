"""The parts of ``benchmarks/gpu.py``: what only a GPU can show, one idea a file."""
