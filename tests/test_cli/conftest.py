"""Commands as a person calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from g2sd_mm.cli import checkpoint


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run the command; gives (exit code, stdout, stderr)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr('sys.argv', ['checkpoint.py', *map(str, arguments)])
        code = 0
        try:
            checkpoint.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call
