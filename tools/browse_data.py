"""Look at augmented training images; see ``--help``."""

from g2sd_mm.cli.browse_data import main

if __name__ == '__main__':
    main()
