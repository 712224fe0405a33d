"""What is measured against; the tool that measures is ``tools/benchmark.py``."""
