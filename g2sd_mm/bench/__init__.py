"""The bench above the library: suites of runs, reports of their results, analyses of networks."""
