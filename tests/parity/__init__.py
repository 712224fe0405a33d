"""Comparison with reference numbers, one module a task; see :mod:`tests.test_parity`."""
