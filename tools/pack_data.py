"""Pack a folder of images into one file; see ``--help``."""

from g2sd_mm.cli.pack_data import main

if __name__ == '__main__':
    main()
