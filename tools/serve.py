"""A web page to try a student on; see ``--help``."""

from g2sd_mm.cli.serve import main

if __name__ == '__main__':
    main()
