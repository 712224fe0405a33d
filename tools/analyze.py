"""What students share with their teacher, and what they bear; see ``--help``."""

from g2sd_mm.cli.analyze import main

if __name__ == '__main__':
    main()
