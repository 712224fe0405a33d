"""A live page on runs; see ``--help``."""

from g2sd_mm.cli.watch import main

if __name__ == '__main__':
    main()
