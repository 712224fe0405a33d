"""Inspect, convert and verify weights files; see ``--help``."""

from g2sd_mm.cli.checkpoint import main

if __name__ == '__main__':
    main()
