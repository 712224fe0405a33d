"""Compare runs side by side; see ``--help``."""

from g2sd_mm.cli.compare import main

if __name__ == '__main__':
    main()
