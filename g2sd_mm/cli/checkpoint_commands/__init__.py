"""The sub-commands of ``tools/checkpoint.py``."""
