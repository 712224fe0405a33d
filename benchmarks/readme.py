"""``python -m benchmarks.readme``: write what README.md and docs/ show of the recorded results."""

from __future__ import annotations

from pathlib import Path

from g2sd_mm.bench.reports.readme import from_results

from .speed.stages import ROOT
from .speed.table import speed_table


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Every file of a checkout that shows results, with what it should hold."""
    return from_results(root, speed_table)


if __name__ == '__main__':
    for path, content in pages().items():
        path.write_text(content)
