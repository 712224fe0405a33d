"""Measure training speed and memory; see ``--help``."""

from g2sd_mm.cli.benchmark import main

if __name__ == '__main__':
    main()
