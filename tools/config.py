"""Print a config; see ``--help``."""

from g2sd_mm.cli.config import main

if __name__ == '__main__':
    main()
