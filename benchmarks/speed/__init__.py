"""How fast training is, and how much memory it takes, next to a plain way of computing the same.

``stages`` and ``batches`` say what is trained and on what, ``formulation`` how this project
computes a step, and ``benchmarks/reference`` how the published code does. ``pairing``, ``memory``,
``arithmetic`` and ``pipeline`` measure; ``suite`` runs them and ``report`` writes them down.
``throughput`` measures whole steps of all that a suite of :mod:`g2sd_mm.bench.suites` trains.
"""
