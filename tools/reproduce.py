"""Reproduce a results table; see ``--help``."""

from g2sd_mm.cli.reproduce import main

if __name__ == '__main__':
    main()
