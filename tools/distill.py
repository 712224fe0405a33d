"""From a folder of images to a deployed student; see ``--help``."""

from g2sd_mm.cli.distill import main

if __name__ == '__main__':
    main()
