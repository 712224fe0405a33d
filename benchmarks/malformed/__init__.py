"""Malformed inputs for everything that reads a file or an option, and what comes of each.

A case is run in a process of its own (:mod:`.sandbox`). It passes if the tool takes the input, or
refuses it in one line with exit code 2. It fails if it hangs, if the process crashes, if the error
is any other (a traceback is kept for those), if several lines are printed, or if something is
written outside of the working folder.

``python -m benchmarks.malformed --out docs/results/malformed.json`` runs all of them.
"""
