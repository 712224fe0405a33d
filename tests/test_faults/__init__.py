"""A quick part of the campaign in ``benchmarks/faults``, and its full length in slow tests."""
