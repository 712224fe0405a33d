"""Predict on image files; see ``--help``."""

from g2sd_mm.cli.infer import main

if __name__ == '__main__':
    main()
