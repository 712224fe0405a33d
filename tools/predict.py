"""Predict on pictures, folders and videos; see ``--help``."""

from g2sd_mm.cli.predict import main

if __name__ == '__main__':
    main()
