"""Look through a data set for what would stop or spoil training; see ``--help``."""

from g2sd_mm.cli.check_data import main

if __name__ == '__main__':
    main()
