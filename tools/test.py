"""Evaluate weights; see ``--help``."""

from g2sd_mm.cli.test import main

if __name__ == '__main__':
    main()
