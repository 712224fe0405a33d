"""What frozen features are worth; see ``--help``."""

from g2sd_mm.cli.probe import main

if __name__ == '__main__':
    main()
