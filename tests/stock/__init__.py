"""Stock configs of the three libraries, through everything that this project does with a config.

``python -m tests.stock`` runs the whole matrix and writes ``docs/compatibility.md``.
"""
