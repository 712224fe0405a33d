"""Reproduce a table: suites of training runs, their results, and what came out of them."""
